"""Pairs of frames of recordings, with what a trained method predicts for them.

Every pair of frames `frame_stride` apart is predicted, pairs of static frames included:
a robot that stands still needs depth too. Predictions are made a batch at a time and
only the newest batch is kept, so recordings may have any length.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
import ml_collections
import numpy as np

from mdm_jax.evaluation.measures import depth_metrics
from mdm_jax.geometry import intrinsics as intrinsics_lib
from mdm_jax.recording import true_motion
from mdm_jax.recording.arrays import Recording

# A batch of arrays to the maps of `methods.inference.make_predict`.
Predict = Callable[[Mapping[str, np.ndarray]], Mapping[str, jax.Array]]


@dataclasses.dataclass(frozen=True, eq=False)
class FramePair:
    """A target and a source frame of a recording, with the maps predicted for them."""

    recording: Recording
    index: int
    source_index: int
    prediction: Mapping[str, np.ndarray]

    @property
    def name(self) -> str:
        """The recording and the number of the target frame."""
        return f"{self.recording.name}, frame {self.index}"

    def true_depth(self) -> np.ndarray:
        """Returns `[h w]`, metres, 0 where unknown."""
        return np.asarray(_known(self.recording, "depth")[self.index])

    def labels(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the instance labels `[h w]` of target and source; 0 is background."""
        labels = _known(self.recording, "instance_labels")
        return np.asarray(labels[self.index]), np.asarray(labels[self.source_index])

    def valid_depth(self, evaluation: ml_collections.ConfigDict) -> np.ndarray:
        """Returns where the true depth lies in the range of `config.evaluation`."""
        return depth_metrics.valid_pixels(
            self.true_depth(),
            min_depth=evaluation.min_depth,
            max_depth=evaluation.max_depth,
        )

    def true_camera_motion(self) -> np.ndarray:
        """Returns the true `source_from_target` `[4 4]` of the camera, metres."""
        return true_motion.camera_motion(self.recording, self.index, self.source_index)

    # Several measures use these two, and computing them takes longer than predicting.

    @functools.cached_property
    def true_motion(self) -> true_motion.RigidMotion:
        """The true motion of the point at each target pixel."""
        return true_motion.rigid_motion(self.recording, self.index, self.source_index)

    @functools.cached_property
    def moving(self) -> np.ndarray:
        """Bool `[h w]`, whether the point at a target pixel moves in the world."""
        return true_motion.moving_mask(self.recording, self.index, self.source_index)


def knows_object_motion(recording: Recording) -> bool:
    """Returns whether the true motion of every object of a recording is known."""
    needed = ("depth", "intrinsics", "world_from_camera", "instance_labels")
    fields = (*needed, "world_from_object")
    return all(getattr(recording, field) is not None for field in fields)


def frame_pairs(
    recordings: Sequence[Recording], *, frame_stride: int = 1, max_frames: int = 0
) -> list[tuple[int, int]]:
    """Returns pairs as (index of the recording, index of the target frame), in order.

    Args:
        recordings: to take pairs from.
        frame_stride: frames from the target to the source.
        max_frames: at most this many pairs, evenly spread; 0 for all.
    """
    pairs = [
        (r, i)
        for r, recording in enumerate(recordings)
        for i in range(len(recording) - frame_stride)
    ]
    if max_frames and len(pairs) > max_frames:
        chosen = np.linspace(0, len(pairs) - 1, max_frames).round().astype(int)
        pairs = [pairs[i] for i in chosen]
    return pairs


class PredictedPairs:
    """A sequence of `FramePair`s that are predicted when they are read.

    Reading in order predicts every pair once.

    Attributes:
        recordings: those with a pair in the sequence.
        names: of the pairs, see `FramePair.name`.
    """

    def __init__(
        self,
        predict: Predict,
        recordings: Sequence[Recording],
        pairs: Sequence[tuple[int, int]],
        *,
        batch_size: int,
        frame_stride: int = 1,
        held_out: bool = False,
    ):
        """Initializes the sequence without predicting anything.

        Args:
            predict: maps a batch of arrays to maps.
            recordings: all of one size.
            pairs: of `frame_pairs`.
            batch_size: pairs predicted at a time. The last batch is padded by
                repetition, so that nothing is compiled twice.
            frame_stride: frames from the target to the source.
            held_out: the recordings were not trained on, so nothing learned for a
                single training video (its intrinsics) applies to them.
        """
        self.recordings = [recordings[r] for r in sorted({r for r, _ in pairs})]
        self.names = [f"{recordings[r].name}, frame {i}" for r, i in pairs]
        self._all = recordings
        self._predict = predict
        self._pairs = list(pairs)
        self._batch_size = batch_size
        self._frame_stride = frame_stride
        self._held_out = held_out
        self._has_labels = any(r.instance_labels is not None for r in recordings)
        self._newest: dict[int, FramePair] = {}

    def __len__(self) -> int:
        return len(self._pairs)

    def __iter__(self) -> Iterator[FramePair]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> FramePair:
        if not 0 <= index < len(self):
            raise IndexError(index)
        if index not in self._newest:
            start = index - index % self._batch_size
            batch = self._pairs[start : start + self._batch_size]
            self._newest = dict(enumerate(self._predicted(batch), start))
        return self._newest[index]

    def _predicted(self, batch: list[tuple[int, int]]) -> list[FramePair]:
        padded = batch + [batch[-1]] * (self._batch_size - len(batch))
        clips = [(self._all[r], [i, i + self._frame_stride]) for r, i in padded]
        numbers = [-1 if self._held_out else r for r, _ in padded]
        arrays = {
            "frames": np.stack([r.frames[clip] for r, clip in clips]),
            "intrinsics": np.stack([_intrinsics(r) for r, _ in clips]),
            "video_index": np.array(numbers, np.int32),
        }
        if self._has_labels:
            # Without labels, everything is background.
            arrays["instance_labels"] = np.stack(
                [
                    np.zeros((2, *r.size), np.uint8)
                    if r.instance_labels is None
                    else r.instance_labels[clip]
                    for r, clip in clips
                ]
            )
        maps = jax.device_get(self._predict(arrays))
        return [
            FramePair(
                self._all[r],
                i,
                i + self._frame_stride,
                {name: values[row] for name, values in maps.items()},
            )
            for row, (r, i) in enumerate(batch)
        ]


def _known(recording: Recording, field: str) -> np.ndarray:
    value = getattr(recording, field)
    if value is None:
        raise ValueError(f"recording {recording.name!r} has no {field}")
    return value


def _intrinsics(recording: Recording) -> np.ndarray:
    if recording.intrinsics is None:
        return intrinsics_lib.initial_guess(recording.size)
    return recording.intrinsics
