"""A method's predictions on whole recordings, against whatever truth they hold.

Every pair of consecutive frames is predicted; where the recording has true depth and
poses, depth, egomotion and object motion are measured. Frames of static pairs are not
left out: a robot that stands still wants depth too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
import ml_collections
import numpy as np

from mdm_jax.evaluation import depth_metrics as depth_lib
from mdm_jax.evaluation import motion_metrics
from mdm_jax.geometry import warp
from mdm_jax.input_pipeline import intrinsics_file
from mdm_jax.input_pipeline import recording as recording_lib
from mdm_jax.input_pipeline.recording import Recording
from mdm_jax.methods.base import Method
from mdm_jax.structs import Motion, batch_from_arrays

Maps = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class FramePair:
    """One predicted pair; `prediction` holds what `make_predict` returns."""

    recording: Recording
    index: int
    prediction: Mapping[str, np.ndarray]

    @property
    def source_index(self) -> int:
        return self.index + 1

    def true_depth(self) -> np.ndarray:
        """Returns `[h w]`, metres, 0 where unknown.

        Raises:
            ValueError: the recording has no depth.
        """
        if self.recording.depth is None:
            raise ValueError(f"recording {self.recording.name!r} has no true depth")
        return np.asarray(self.recording.depth[self.index])


def make_predict(method: Method) -> Callable[..., dict[str, jax.Array]]:
    """Returns a jitted `(variables, arrays) -> maps` for clips of two frames.

    The maps are of the first frame (target) and its way to the second (source):
    `depth [b h w]`, `rotation [b 3 3]`, `translation [b 3]`, `residual [b h w 3]`,
    `warped [b h w 3]` (the source seen from the target), `valid [b h w]`,
    `intrinsics [b 3 3]`.
    """

    @jax.jit
    def predict(variables, arrays):
        batch = batch_from_arrays(arrays)
        prediction, _ = method.predict(variables, batch)
        pairs = prediction.require_pairs()
        first = pairs.target_index.index(0)
        motion = Motion(
            pairs.motion.rotation[:, first], pairs.motion.translation[:, first]
        )
        warped = jax.vmap(warp.inverse_warp)(
            batch.frames[:, 1], prediction.depth[:, 0], motion, prediction.intrinsics
        )
        return {
            "depth": prediction.depth[:, 0],
            "rotation": pairs.egomotion.rotation[:, first],
            "translation": pairs.egomotion.translation[:, first],
            "residual": pairs.residual_translation[:, first],
            "warped": warped.image,
            "valid": warped.valid,
            "intrinsics": prediction.intrinsics,
        }

    return predict


def predict_pairs(
    predict: Callable[..., dict[str, jax.Array]],
    variables,
    recordings: Sequence[Recording],
    *,
    batch_size: int,
    max_frames: int = 0,
    to_devices: Callable = lambda arrays: arrays,
) -> Iterator[FramePair]:
    """Yields the predictions of consecutive frames, in order.

    Args:
        predict: of `make_predict`.
        variables: of the method.
        recordings: of one size.
        batch_size: pairs predicted at a time; the last batch is filled up by repetition,
            so that nothing is compiled twice.
        max_frames: at most so many pairs, evenly spread; 0 for all.
        to_devices: lays a batch out over the devices.
    """
    pairs = [(r, i) for r, one in enumerate(recordings) for i in range(len(one) - 1)]
    if max_frames and len(pairs) > max_frames:
        chosen = np.linspace(0, len(pairs) - 1, max_frames).round().astype(int)
        pairs = [pairs[i] for i in chosen]
    for start in range(0, len(pairs), batch_size):
        real = pairs[start : start + batch_size]
        filled = real + [real[-1]] * (batch_size - len(real))
        arrays = {
            "frames": np.stack([recordings[r].frames[i : i + 2] for r, i in filled]),
            "intrinsics": np.stack([_intrinsics(recordings[r]) for r, _ in filled]),
            "video_index": np.array([r for r, _ in filled], np.int32),
        }
        labels = [one.instance_labels for one in recordings]
        if not any(one is None for one in labels):
            arrays["instance_labels"] = np.stack(
                [np.asarray(labels[r])[i : i + 2] for r, i in filled]
            )
        maps = jax.device_get(predict(variables, to_devices(arrays)))
        for row, (r, i) in enumerate(real):
            yield FramePair(recordings[r], i, {k: v[row] for k, v in maps.items()})


def _intrinsics(recording: Recording) -> np.ndarray:
    if recording.intrinsics is None:
        return intrinsics_file.initial_guess(recording.size)
    return recording.intrinsics


def measure(
    pairs: Sequence[FramePair],
    *,
    evaluation: ml_collections.ConfigDict,
    baselines: Maps | None = None,
) -> dict[str, float]:
    """Returns the flat metrics of predicted pairs; the keys say what is measured.

    Args:
        pairs: predictions of recordings with depth, poses and intrinsics.
        evaluation: `config.evaluation`: depth range and motion threshold.
        baselines: image-independent depth maps by name, to be measured alike; the best
            of them is reported as `baseline/...`.
    """
    limits = {"min_depth": evaluation.min_depth, "max_depth": evaluation.max_depth}
    rows: dict[str, list[float]] = {}
    motion_counts, all_moving_counts = np.zeros(2), np.zeros(2)
    # Residual motion counts as moving in units of the prediction's own mean step.
    steps = [np.linalg.norm(p.prediction["translation"]) for p in pairs]
    threshold = evaluation.motion_threshold * float(np.mean(steps))
    holes = np.zeros(2)

    for pair in pairs:
        truth = pair.true_depth()
        valid = depth_lib.valid_pixels(truth, **limits)
        if not valid.any():
            continue
        moving = recording_lib.moving_mask(
            pair.recording, pair.index, pair.source_index
        )
        maps = {"": pair.prediction["depth"]}
        maps |= {f"baseline/{name}/": map_ for name, map_ in (baselines or {}).items()}
        for prefix, depth in maps.items():
            scale = depth_lib.median_scale(truth, depth, valid)
            scaled = depth * scale
            metrics = depth_lib.depth_metrics(truth, scaled, valid, **limits)
            for name, value in metrics.items():
                rows.setdefault(f"{prefix}depth/{name}", []).append(value)
            for part, mask in (("moving", moving), ("static", ~moving)):
                if not (valid & mask).any():
                    continue
                metrics = depth_lib.depth_metrics(truth, scaled, valid & mask, **limits)
                for name, value in metrics.items():
                    rows.setdefault(f"{prefix}{part}/{name}", []).append(value)
            if not prefix:
                rows.setdefault("depth/scale", []).append(scale)
                inside = valid & moving
                holes += [np.sum(scaled[inside] > 3 * truth[inside]), inside.sum()]
        predicted = np.linalg.norm(pair.prediction["residual"], axis=-1) > threshold
        motion_counts += motion_metrics.intersection_and_union(predicted, moving, valid)
        all_moving_counts += motion_metrics.intersection_and_union(
            np.ones_like(moving), moving, valid
        )

    result = {name: float(np.mean(values)) for name, values in rows.items()}
    scales = np.array(rows["depth/scale"])
    result["depth/scale_spread"] = float(np.std(scales) / np.mean(scales))
    result["depth/num_images"] = len(scales)
    result["moving/hole_rate"] = float(holes[0] / max(holes[1], 1))
    result |= _best_baseline(result, tuple(baselines or ()))
    egomotion = motion_metrics.egomotion_metrics(
        np.stack(
            [
                recording_lib.camera_motion(p.recording, p.index, p.source_index)
                for p in pairs
            ]
        ),
        np.stack([p.prediction["rotation"] for p in pairs]),
        np.stack([p.prediction["translation"] for p in pairs]),
    )
    result |= {f"egomotion/{name}": value for name, value in egomotion.items()}
    result["motion/iou"] = float(motion_counts[0] / max(motion_counts[1], 1))
    result["motion/iou_all_moving"] = float(
        all_moving_counts[0] / max(all_moving_counts[1], 1)
    )
    return result


def measure_reconstruction(pairs: Sequence[FramePair]) -> dict[str, float]:
    """Returns how well the second frames, warped, explain the first: needs no truth.

    Both are mean absolute colour differences, of 1, over pixels that stay in view: of
    the warped frame, and of the frame as it is.
    """
    errors = []
    for pair in pairs:
        frames = pair.recording.frames[pair.index : pair.source_index + 1] / 255.0
        valid = pair.prediction["valid"]
        if valid.any():
            warped = np.abs(pair.prediction["warped"] - frames[0])[valid].mean()
            still = np.abs(frames[1] - frames[0])[valid].mean()
            errors.append((warped, still))
    mean = np.mean(errors, axis=0) if errors else (np.nan, np.nan)
    return {
        "reconstruction/colour_error": float(mean[0]),
        "reconstruction/unwarped_colour_error": float(mean[1]),
    }


def _best_baseline(result: Mapping[str, float], names: Sequence[str]):
    """Returns the lowest error that any image-independent map reaches."""
    if not names:
        return {}
    best = {
        "baseline/abs_rel": min(result[f"baseline/{n}/depth/abs_rel"] for n in names)
    }
    for part in ("moving", "static"):
        keys = [f"baseline/{n}/{part}/abs_rel" for n in names]
        if all(key in result for key in keys):
            best[f"baseline/{part}_abs_rel"] = min(result[key] for key in keys)
    return best
