"""Trajectories measured by a protocol, one sequence at a time.

Every alignment is measured, because tables mix them; the protocol says which one is
reported. Documented rules, each counted in the result: frames missing at the start are
left out (`odometry/num_missing`); snippets that are predicted still or backward, or
stand still, are measured as published (`SnippetErrors.counts`); a drive too short for a
stretch of road has no t_err and no r_err, not 0.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from mdm_jax.evaluation import alignment, trajectory_files, trajectory_matching
from mdm_jax.evaluation import odometry_metrics as metrics_lib
from mdm_jax.evaluation.protocols import OdometryProtocol
from mdm_jax.evaluation.trajectory_matching import Matched


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """What was measured on a sequence.

    Attributes:
        name: of the sequence.
        metrics: by name, without the snippets' and without the prefix `odometry/`.
        snippets: errors of each.
        true: positions of all frames, metres.
        aligned: positions of the predicted frames, aligned as the protocol says; None
            where whole trajectories are not measured.
        segments: errors of stretches of road with that alignment; None likewise.
    """

    name: str
    metrics: dict[str, float]
    snippets: metrics_lib.SnippetErrors
    true: Float[np.ndarray, "n 3"]
    aligned: Float[np.ndarray, "m 3"] | None = None
    segments: metrics_lib.SegmentErrors | None = None


def measure(protocol: OdometryProtocol, matched: Matched) -> Measured:
    """Returns the errors of a sequence.

    Raises:
        ValueError: there are fewer than two poses, or the prediction never moves and
            needs a scale; names the sequence.
    """
    frames = matched.frames
    if len(frames) < 2:
        raise ValueError(f"sequence {matched.name}: needs two poses, got {len(frames)}")
    all_true, predicted = matched.true, matched.predicted
    if protocol.rebased:
        all_true = np.linalg.inv(all_true[frames[0]]) @ all_true
        predicted = metrics_lib.rebased(predicted)
    true = all_true[frames]
    snippets = metrics_lib.snippet_errors(
        true, predicted, frames, length=protocol.snippet_length
    )
    metrics: dict[str, float] = {
        "num_frames": len(frames),
        "num_missing": matched.num_missing,
        "path_length_m": float(metrics_lib.path_lengths(matched.true)[-1]),
    }
    if not protocol.alignment:
        return Measured(matched.name, metrics, snippets, all_true[:, :3, 3])
    aligned = predicted
    segments = None
    for kind in alignment.KINDS:
        try:
            similarity = alignment.align(predicted[:, :3, 3], true[:, :3, 3], kind)
        except ValueError as error:
            raise ValueError(f"sequence {matched.name}: {error}") from None
        poses = similarity.apply(predicted)
        stretches = metrics_lib.segment_errors(
            all_true,
            poses,
            frames,
            lengths=protocol.segment_lengths,
            step=protocol.segment_step,
        )
        values = _errors(true, poses, frames, stretches)
        metrics |= {f"alignment_{kind}/{key}": x for key, x in values.items()}
        if kind == protocol.alignment:
            metrics |= values | {
                "scale": similarity.scale,
                "num_segments": len(stretches.length),
            }
            aligned, segments = poses, stretches
    return Measured(
        matched.name,
        metrics,
        snippets,
        all_true[:, :3, 3],
        aligned[:, :3, 3],
        segments,
    )


def evaluate(
    protocol: OdometryProtocol,
    predictions: str | os.PathLike[str],
    truth: str | os.PathLike[str],
    *,
    times: str | os.PathLike[str] | None = None,
    allow_missing: bool = False,
) -> tuple[list[Measured], list[str]]:
    """Returns what was measured, and the names of sequences that are not predicted.

    Args:
        protocol: names every detail.
        predictions: a trajectory file or a folder of them.
        truth: likewise; sequences belong together by name.
        times: of the true frames, where predictions tell times and the truth does not:
            a file, or a folder with `<sequence>/times.txt`.
        allow_missing: leave out frames, and snippet files, that are not predicted.

    Raises:
        ValueError: see `trajectory_files` and `trajectory_matching`; or a snippet file is not predicted.
    """
    measured, unpredicted = [], []
    pairs = trajectory_matching.paired_files(predictions, truth)
    for name, (true_path, path) in pairs.items():
        if path is None:
            # A whole drive may not have been asked for; a snippet is a part of one.
            length = len(trajectory_files.read_trajectory(true_path).poses)
            if length <= protocol.snippet_length and not allow_missing:
                raise ValueError(
                    f"{true_path}: this snippet is not predicted; allow missing frames"
                    " to have it left out and reported"
                )
            unpredicted.append(name)
            continue
        times_path = None if times is None else pathlib.Path(times)
        if times_path is not None and times_path.is_dir():
            times_path = times_path / name / "times.txt"
        matched = trajectory_matching.match(
            name,
            trajectory_files.read_trajectory(true_path),
            trajectory_files.read_trajectory(path),
            times=times_path and trajectory_files.read_times(times_path),
            allow_missing=allow_missing,
        )
        measured.append(measure(protocol, matched))
    return measured, unpredicted


def result(sequences: Sequence[Measured]) -> dict[str, float]:
    """Returns the flat metrics of all sequences.

    Metrics are means over sequences, and of snippets over all snippets; counts and
    lengths are sums. Where there are several sequences, `odometry/<name>/` has those of
    each.

    Raises:
        ValueError: there is no sequence, or none has a snippet.
    """
    if not sequences:
        raise ValueError("no sequence to evaluate")
    flat: dict[str, float] = {"odometry/num_sequences": len(sequences)}
    for key in sequences[0].metrics:
        values = [one.metrics[key] for one in sequences]
        total = key.startswith("num_") or key == "path_length_m"
        flat[f"odometry/{key}"] = sum(values) if total else float(np.mean(values))
    flat |= _snippet_metrics([one.snippets for one in sequences], "odometry/")
    if len(sequences) > 1:
        for one in sequences:
            prefix = f"odometry/{one.name}/"
            flat |= {
                f"{prefix}{key}": value
                for key, value in one.metrics.items()
                if not key.startswith("alignment_")
            }
            flat |= _snippet_metrics([one.snippets], prefix)
    if not flat["odometry/num_snippets"] and sequences[0].aligned is None:
        raise ValueError(
            "no snippet to evaluate: no sequence has enough consecutive predicted frames"
        )
    return flat


def rows(sequences: Sequence[Measured]) -> list[dict[str, str | float]]:
    """Returns a row of numbers for each sequence, with its name."""
    return [
        {"name": one.name, **one.metrics, **_snippet_metrics([one.snippets], "")}
        for one in sequences
    ]


def by_length(sequences: Sequence[Measured]) -> list[dict[str, float]]:
    """Returns the mean errors of all stretches of each length, with their number."""
    segments = [one.segments for one in sequences if one.segments is not None]
    if not segments:
        return []
    length, translation, rotation = (
        np.concatenate([getattr(one, name) for one in segments])
        for name in ("length", "translation", "rotation")
    )
    table = []
    for one in np.unique(length):
        chosen = length == one
        table.append(
            {
                "length_m": float(one),
                "t_err_percent": 100 * float(np.mean(translation[chosen])),
                "r_err_deg_per_100m": 100
                * float(np.degrees(np.mean(rotation[chosen]))),
                "num_segments": int(chosen.sum()),
            }
        )
    return table


def _errors(
    true: np.ndarray,
    predicted: np.ndarray,
    frames: np.ndarray,
    stretches: metrics_lib.SegmentErrors,
) -> dict[str, float]:
    absolute = metrics_lib.absolute_error(true, predicted)
    steps = metrics_lib.step_errors(true, predicted, frames)
    degrees = np.degrees(steps.rotation)
    metrics = {f"ate_{key}_m": value for key, value in absolute.items()}
    metrics["t_err_percent"] = stretches.t_err_percent()
    metrics["r_err_deg_per_100m"] = stretches.r_err_deg_per_100m()
    for unit, values in (("m", steps.translation), ("deg", degrees)):
        some = values.size > 0
        # The KITTI codes quote the mean, those of TUM the root of the mean square.
        metrics[f"rpe_{unit}"] = float(np.mean(values)) if some else np.nan
        root = float(np.sqrt(np.mean(values**2))) if some else np.nan
        metrics[f"rpe_rmse_{unit}"] = root
    return metrics


def _snippet_metrics(
    snippets: Sequence[metrics_lib.SnippetErrors], prefix: str
) -> dict[str, float]:
    ate = np.concatenate([one.ate for one in snippets])
    rmse = np.concatenate([one.rmse for one in snippets])
    counts = [one.counts() for one in snippets]
    metrics: dict[str, float] = {
        f"{prefix}{name}": sum(one[name] for one in counts) for name in counts[0]
    }
    if ate.size:
        metrics |= {
            f"{prefix}snippet_ate_mean": float(np.mean(ate)),
            f"{prefix}snippet_ate_std": float(np.std(ate)),
            f"{prefix}snippet_rmse_mean_m": float(np.mean(rmse)),
            f"{prefix}snippet_rmse_std_m": float(np.std(rmse)),
        }
    return metrics
