"""Trajectories measured by a protocol, one sequence at a time.

Every alignment is measured, because published tables mix them, and the protocol decides
which one is reported. Exceptions are counted in the result: frames missing at the start
are left out (`odometry/num_missing`); snippets that are predicted static or backward,
or are static, are measured as published (`SnippetErrors.counts`); a drive shorter than
a segment has no t_err and r_err instead of 0.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from mdm_jax.evaluation import alignment, trajectory_files, trajectory_matching
from mdm_jax.evaluation.measures import odometry_metrics as metrics_lib
from mdm_jax.evaluation.protocols import OdometryProtocol
from mdm_jax.evaluation.trajectory_matching import Matched


@dataclasses.dataclass(frozen=True, eq=False)
class SequenceMetrics:
    """The errors of a sequence.

    Attributes:
        name: of the sequence.
        metrics: by name, without those of snippets.
        snippets: errors of each snippet.
        true: positions of all frames, metres.
        aligned: positions of the predicted frames, aligned as the protocol says; None
            if whole trajectories are not measured.
        segments: errors of segments with that alignment; None likewise.
    """

    name: str
    metrics: dict[str, float]
    snippets: metrics_lib.SnippetErrors
    true: Float[np.ndarray, "n 3"]
    aligned: Float[np.ndarray, "m 3"] | None = None
    segments: metrics_lib.SegmentErrors | None = None

    def row(self) -> dict[str, Any]:
        """Returns the name and all metrics."""
        snippets = _snippet_metrics([self.snippets])
        return {"name": self.name, **self.metrics, **snippets}


def measure(protocol: OdometryProtocol, matched: Matched) -> SequenceMetrics:
    """Returns the errors of a sequence.

    Raises:
        ValueError: there are fewer than two poses, or the prediction never moves and
            needs a scale; names the sequence.
    """
    name, frames = matched.name, matched.frames
    if len(frames) < 2:
        raise ValueError(f"sequence {name}: needs two poses, got {len(frames)}")
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
    positions = all_true[:, :3, 3]
    if not protocol.alignment:
        return SequenceMetrics(name, metrics, snippets, positions)
    aligned = segments = None
    for kind in alignment.KINDS:
        try:
            similarity = alignment.align(predicted[:, :3, 3], true[:, :3, 3], kind)
        except ValueError as error:
            raise ValueError(f"sequence {name}: {error}") from None
        poses = similarity.apply(predicted)
        errors = metrics_lib.segment_errors(
            all_true,
            poses,
            frames,
            lengths=protocol.segment_lengths,
            step=protocol.segment_step,
        )
        values = _trajectory_metrics(true, poses, frames, errors)
        metrics |= {f"alignment_{kind}/{key}": x for key, x in values.items()}
        if kind == protocol.alignment:
            metrics |= values
            metrics["scale"] = similarity.scale
            metrics["num_segments"] = len(errors.length)
            aligned, segments = poses[:, :3, 3], errors
    return SequenceMetrics(name, metrics, snippets, positions, aligned, segments)


def evaluate(
    protocol: OdometryProtocol,
    predictions: str | os.PathLike[str],
    truth: str | os.PathLike[str],
    *,
    times: str | os.PathLike[str] | None = None,
    allow_missing: bool = False,
) -> tuple[list[SequenceMetrics], list[str]]:
    """Returns the errors of all sequences, and the names of those without prediction.

    Args:
        protocol: how to measure.
        predictions: a trajectory file, or a folder of them.
        truth: a file or folder likewise; sequences are paired by name.
        times: times of the true frames if the predictions have times and the truth has
            not: a file, or a folder with `<sequence>/times.txt`.
        allow_missing: leave out frames and snippet files without prediction.

    Raises:
        ValueError: see `trajectory_files` and `trajectory_matching`; or a snippet file
            has no prediction.
    """
    measured, unpredicted = [], []
    pairs = trajectory_matching.paired_files(predictions, truth)
    for name, (true_path, path) in pairs.items():
        true = trajectory_files.read_trajectory(true_path)
        if path is None:
            # A method may skip a whole drive, but not a snippet, which is part of one.
            if len(true.poses) <= protocol.snippet_length and not allow_missing:
                raise ValueError(
                    f"{true_path}: this snippet has no prediction; allow missing frames"
                    " to leave it out and report it"
                )
            unpredicted.append(name)
            continue
        times_path = None if times is None else pathlib.Path(times)
        if times_path is not None and times_path.is_dir():
            times_path = times_path / name / "times.txt"
        matched = trajectory_matching.match(
            name,
            true,
            trajectory_files.read_trajectory(path),
            times=times_path and trajectory_files.read_times(times_path),
            allow_missing=allow_missing,
        )
        measured.append(measure(protocol, matched))
    return measured, unpredicted


def result(sequences: Sequence[SequenceMetrics]) -> dict[str, float]:
    """Returns the metrics of all sequences by key.

    Errors are means over sequences, those of snippets over all snippets; counts and
    lengths are sums. Of several sequences, `odometry/<name>/` has the metrics of each.

    Raises:
        ValueError: there is no sequence, or no snippet where only these are measured.
    """
    if not sequences:
        raise ValueError("no sequence to evaluate")
    metrics: dict[str, float] = {"odometry/num_sequences": len(sequences)}
    for key in sequences[0].metrics:
        values = [sequence.metrics[key] for sequence in sequences]
        total = key.startswith("num_") or key == "path_length_m"
        metrics[f"odometry/{key}"] = sum(values) if total else float(np.mean(values))
    snippets = _snippet_metrics([sequence.snippets for sequence in sequences])
    metrics |= {f"odometry/{key}": value for key, value in snippets.items()}
    if len(sequences) > 1:
        for sequence in sequences:
            metrics |= {
                f"odometry/{sequence.name}/{key}": value
                for key, value in sequence.row().items()
                if key != "name" and not key.startswith("alignment_")
            }
    if not metrics["odometry/num_snippets"] and sequences[0].aligned is None:
        raise ValueError(
            "no snippet to evaluate: no sequence has enough consecutive predicted frames"
        )
    return metrics


def by_length(sequences: Sequence[SequenceMetrics]) -> list[dict[str, float]]:
    """Returns the mean errors of the segments of each length, with their number."""
    segments = [s.segments for s in sequences if s.segments is not None]
    if not segments:
        return []
    lengths, translation, rotation = (
        np.concatenate([getattr(errors, name) for errors in segments])
        for name in ("length", "translation", "rotation")
    )
    rows = []
    for length in np.unique(lengths):
        chosen = lengths == length
        degrees = float(np.degrees(np.mean(rotation[chosen])))
        rows.append(
            {
                "length_m": int(length),
                "t_err_percent": 100 * float(np.mean(translation[chosen])),
                "r_err_deg_per_100m": 100 * degrees,
                "num_segments": int(chosen.sum()),
            }
        )
    return rows


def _trajectory_metrics(
    true: np.ndarray,
    predicted: np.ndarray,
    frames: np.ndarray,
    segments: metrics_lib.SegmentErrors,
) -> dict[str, float]:
    """Returns the errors of an aligned trajectory."""
    absolute = metrics_lib.absolute_error(true, predicted)
    steps = metrics_lib.step_errors(true, predicted, frames)
    degrees = np.degrees(steps.rotation)
    metrics = {f"ate_{key}_m": value for key, value in absolute.items()}
    metrics["t_err_percent"] = segments.t_err_percent()
    metrics["r_err_deg_per_100m"] = segments.r_err_deg_per_100m()
    for unit, values in (("m", steps.translation), ("deg", degrees)):
        # KITTI evaluators quote the mean, those of TUM the root mean square.
        mean = float(np.mean(values)) if values.size else np.nan
        root = float(np.sqrt(np.mean(values**2))) if values.size else np.nan
        metrics |= {f"rpe_{unit}": mean, f"rpe_rmse_{unit}": root}
    return metrics


def _snippet_metrics(
    snippets: Sequence[metrics_lib.SnippetErrors],
) -> dict[str, float]:
    """Returns the errors of all snippets of some sequences."""
    ate = np.concatenate([errors.ate for errors in snippets])
    rmse = np.concatenate([errors.rmse for errors in snippets])
    counts = [errors.counts() for errors in snippets]
    metrics: dict[str, float] = {
        name: sum(count[name] for count in counts) for name in counts[0]
    }
    if ate.size:
        metrics |= {
            "snippet_ate_mean": float(np.mean(ate)),
            "snippet_ate_std": float(np.std(ate)),
            "snippet_rmse_mean_m": float(np.mean(rmse)),
            "snippet_rmse_std_m": float(np.std(rmse)),
        }
    return metrics
