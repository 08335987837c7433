"""A method's predictions on whole recordings, pair by pair of frames.

Every pair of frames `frame_stride` apart is predicted, as in training. Frames of static
pairs are not left out: a robot that stands still wants depth too. Predictions are made
one batch at a time and none is kept, so that a recording may be of any length;
`measures` folds them into metrics.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
import numpy as np

from mdm_jax.recording.arrays import Recording
from mdm_jax.sources import intrinsics_file


@dataclasses.dataclass(frozen=True)
class FramePair:
    """One predicted pair; `prediction` holds the maps of `inference`."""

    recording: Recording
    index: int
    source_index: int
    prediction: Mapping[str, np.ndarray]

    def true_depth(self) -> np.ndarray:
        """Returns `[h w]`, metres, 0 where unknown.

        Raises:
            ValueError: the recording has no depth.
        """
        if self.recording.depth is None:
            raise ValueError(f"recording {self.recording.name!r} has no true depth")
        return np.asarray(self.recording.depth[self.index])


def frame_pairs(
    recordings: Sequence[Recording], *, frame_stride: int = 1, max_frames: int = 0
) -> list[tuple[int, int]]:
    """Returns the pairs to predict, as (recording, first frame), in order.

    Args:
        recordings: counted from 0.
        frame_stride: how many frames the second is after the first.
        max_frames: at most so many pairs, evenly spread; 0 for all.
    """
    pairs = [
        (r, i)
        for r, one in enumerate(recordings)
        for i in range(len(one) - frame_stride)
    ]
    if max_frames and len(pairs) > max_frames:
        chosen = np.linspace(0, len(pairs) - 1, max_frames).round().astype(int)
        pairs = [pairs[i] for i in chosen]
    return pairs


def predict_pairs(
    predict: Callable[..., Mapping[str, jax.Array]],
    recordings: Sequence[Recording],
    pairs: Sequence[tuple[int, int]],
    *,
    batch_size: int,
    frame_stride: int = 1,
    held_out: bool = False,
    to_devices: Callable = lambda arrays: arrays,
) -> Iterator[FramePair]:
    """Yields the predictions of pairs of frames, in order.

    Args:
        predict: maps a batch of arrays to maps: `inference.make_predict` with its
            variables and step.
        recordings: of one size.
        pairs: of `frame_pairs`.
        batch_size: pairs predicted at a time; the last batch is filled up by repetition,
            so that nothing is compiled twice.
        frame_stride: how many frames the second is after the first.
        held_out: the recordings are not those trained on, so that nothing learned of
            one of these (its intrinsics) may be used for them.
        to_devices: lays a batch out over the devices.
    """
    has_labels = all(one.instance_labels is not None for one in recordings)
    for start in range(0, len(pairs), batch_size):
        real = list(pairs[start : start + batch_size])
        filled = real + [real[-1]] * (batch_size - len(real))
        clips = [(recordings[r], [i, i + frame_stride]) for r, i in filled]
        arrays = {
            "frames": np.stack([one.frames[clip] for one, clip in clips]),
            "intrinsics": np.stack([_intrinsics(one) for one, _ in clips]),
            "video_index": np.array(
                [-1 if held_out else r for r, _ in filled], np.int32
            ),
        }
        if has_labels:
            arrays["instance_labels"] = np.stack(
                [np.asarray(one.instance_labels)[clip] for one, clip in clips]
            )
        maps = jax.device_get(predict(to_devices(arrays)))
        for row, (r, i) in enumerate(real):
            prediction = {name: values[row] for name, values in maps.items()}
            yield FramePair(recordings[r], i, i + frame_stride, prediction)


def _intrinsics(recording: Recording) -> np.ndarray:
    if recording.intrinsics is None:
        return intrinsics_file.initial_guess(recording.size)
    return recording.intrinsics
