"""Clips: every run of `clip_length` frames, `frame_stride` apart, that shows motion.

A clip starts at every frame, so clips overlap and a large stride costs no training
pairs. A clip in which some neighbouring frames hardly differ (a standing camera)
teaches nothing about depth and is dropped.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import tqdm
from absl import logging

from mdm_jax.files import array_cache
from mdm_jax.geometry import intrinsics as intrinsics_lib
from mdm_jax.recording.arrays import Recording

# Fewer frames than this are compared too quickly for a progress bar.
_SHOW_PROGRESS_FROM = 5000


@dataclasses.dataclass(frozen=True)
class ClipTable:
    """Which clips there are.

    Attributes:
        index: int32 `[n 2]`, (recording, first frame) of each clip that is kept.
        clip_length: frames in a clip.
        frame_stride: frames of the recording from one frame of a clip to the next.
        num_static: how many clips were dropped for hardly changing.
        num_short: how many recordings are too short for one clip.
    """

    index: np.ndarray
    clip_length: int
    frame_stride: int
    num_static: int
    num_short: int


def clip_table(
    recordings: Sequence[Recording],
    *,
    clip_length: int,
    frame_stride: int = 1,
    static_threshold: float = 0.01,
) -> ClipTable:
    """Returns the clips of recordings that show motion, and logs how many do not.

    Args:
        recordings: in the order that the table counts them.
        clip_length: frames in a clip, at least 2.
        frame_stride: at least 1.
        static_threshold: a clip is static if the mean absolute difference of colours
            in [0, 1] between any two neighbouring frames of it is below this
            (METHODS: 0.01, on the resized frames); 0 keeps all.

    Raises:
        ValueError: no recording is long enough, or every clip is static.
    """
    if clip_length < 1 or frame_stride < 1:
        raise ValueError(
            "clip_length and frame_stride must be at least 1, got"
            f" {clip_length} and {frame_stride}"
        )
    if not recordings:
        raise ValueError("expected at least one recording, got none")
    span = (clip_length - 1) * frame_stride + 1
    kept, num_static, short = [], 0, []
    for number, recording in enumerate(recordings):
        num_clips = len(recording.frames) - span + 1
        if num_clips < 1:
            short.append(recording)
            continue
        moving = moving_clips(
            _changes(recording, frame_stride, static_threshold),
            clip_length=clip_length,
            frame_stride=frame_stride,
            static_threshold=static_threshold,
        )
        starts = np.flatnonzero(moving)
        logging.info(
            "%s: %d frames, %d clips of %d frames, stride %d; %d static clips dropped"
            " (colour change below %g)",
            recording.name,
            len(recording.frames),
            num_clips,
            clip_length,
            frame_stride,
            num_clips - len(starts),
            static_threshold,
        )
        num_static += num_clips - len(starts)
        kept.append(np.stack([np.full_like(starts, number), starts], axis=1))
    for recording in short:
        logging.warning(
            "%s: only %d frames; a clip spans %d (clip_length %d, frame_stride %d)",
            recording.name,
            len(recording.frames),
            span,
            clip_length,
            frame_stride,
        )
    if len(short) == len(recordings):
        longest = max(recordings, key=lambda recording: len(recording.frames))
        raise ValueError(
            f"a clip spans {span} frames (clip_length {clip_length}, frame_stride"
            f" {frame_stride}), but the longest recording, {longest.name}, has"
            f" {len(longest.frames)}; give more frames or lower these two"
        )
    index = np.concatenate(kept).astype(np.int32)
    if not len(index):
        names = ", ".join(recording.name for recording in recordings[:3])
        raise ValueError(
            f"all {num_static} clips of {names} are static: neighbouring frames differ"
            f" by less than {static_threshold} of the colour range. Is the camera"
            " standing? Raise frame_stride, or lower static_threshold (0 keeps all)"
        )
    logging.info("%d clips kept, %d static clips dropped", len(index), num_static)
    return ClipTable(index, clip_length, frame_stride, num_static, len(short))


def moving_clips(
    changes: np.ndarray,
    *,
    clip_length: int,
    frame_stride: int,
    static_threshold: float,
) -> np.ndarray:
    """Returns bool `[clips]`: whether the clip that starts at a frame shows motion.

    Args:
        changes: `[n]`, of each frame to the one a stride later, see `change`.
        clip_length: as for `clip_table`.
        frame_stride: likewise.
        static_threshold: likewise.
    """
    num_clips = max(0, len(changes) - (clip_length - 1) * frame_stride)
    # Clip f is frames f, f + stride, ...; its changes start at those same frames.
    moving = np.ones(num_clips, bool)
    for step in range(clip_length - 1):
        start = step * frame_stride
        moving &= changes[start : start + num_clips] >= static_threshold
    return moving


def change(one: np.ndarray, other: np.ndarray) -> float:
    """Returns the mean absolute difference of two uint8 images, of colours in [0, 1]."""
    return cv2.norm(one, other, cv2.NORM_L1) / (float(one.size) * 255)


def _changes(
    recording: Recording, frame_stride: int, static_threshold: float
) -> np.ndarray:
    """Returns `[n]`: how much each frame differs from the one a stride later.

    The mean absolute difference of colours in [0, 1]; infinite at the last frames,
    which have no partner, and everywhere if nothing can be below the threshold.
    """
    frames = recording.frames
    changes = np.full(len(frames), np.inf)
    if static_threshold <= 0:
        return changes
    if recording.changes is not None and frame_stride in recording.changes:
        return np.asarray(recording.changes[frame_stride])
    for first in tqdm.trange(
        len(frames) - frame_stride,
        desc=f"static frames of {recording.name}",
        disable=None if len(frames) >= _SHOW_PROGRESS_FROM else True,
    ):
        one, other = np.asarray(frames[first]), np.asarray(frames[first + frame_stride])
        changes[first] = change(one, other)
    return changes


def _pair_arrays(recording: Recording, window: slice) -> dict[str, np.ndarray]:
    """Returns two-view geometry of a clip's adjacent pairs, both directions of each."""
    assert recording.pair_maps is not None and recording.pair_poses is not None
    starts = slice(window.start, window.stop - window.step, window.step)
    maps = np.asarray(recording.pair_maps[starts], np.float32)
    poses = np.asarray(recording.pair_poses[starts], np.float32)
    maps = maps.reshape(-1, *maps.shape[2:])
    rotation, direction = poses[..., :3], poses[..., 3:]
    back = np.swapaxes(rotation, -1, -2)
    directions = np.stack([direction, -back @ direction], axis=1)
    return {
        "pair_inverse_depth": maps[:, 0],
        "pair_weight": maps[:, 1],
        "pair_rotation": np.stack([rotation, back], axis=1).reshape(-1, 3, 3),
        "pair_direction": directions.reshape(-1, 3),
    }


class ClipSource:
    """Clips by number: what Grain calls a random access data source.

    Element `index` is a dictionary of new arrays:

    | key                 | array                                                    |
    |---------------------|----------------------------------------------------------|
    | `frames`            | uint8 `[t h w 3]`                                        |
    | `intrinsics`        | float32 `[3 3]`; the initial guess where to be learned   |
    | `video_index`       | int32 scalar, the number of the recording                |
    | `depth`             | float32 `[t h w]`, if every recording has it             |
    | `instance_labels`   | uint8 `[t h w]`, if every recording has them             |
    | `world_from_camera` | float32 `[t 4 4]`, if every recording has it             |
    | `pair_...`          | float32 `[p ...]`, see `structs.Batch`, if every has them |

    Pickling it for a worker process sends the places of memory maps, not their content.
    """

    def __init__(self, recordings: Sequence[Recording], table: ClipTable):
        """Makes the source of a table's clips.

        Raises:
            ValueError: the frames of two recordings differ in size.
        """
        first = recordings[0]
        for recording in recordings:
            if recording.frames.shape[1:] != first.frames.shape[1:]:
                raise ValueError(
                    "all recordings must have frames of one size, but"
                    f" {first.name} has {first.frames.shape[1:3]} and"
                    f" {recording.name} {recording.frames.shape[1:3]} (height, width)"
                )
        self._recordings = tuple(recordings)
        self.table = table
        self._optional = tuple(
            key
            for key in ("depth", "instance_labels", "world_from_camera")
            if all(getattr(recording, key) is not None for recording in recordings)
        )

        self._has_pairs = all(
            recording.pair_maps is not None for recording in recordings
        )

    def __len__(self) -> int:
        return len(self.table.index)

    def __getitem__(self, index: int) -> dict[str, Any]:
        recording_index, first = self.table.index[index].tolist()
        recording = self._recordings[recording_index]
        stride = self.table.frame_stride
        window = slice(first, first + (self.table.clip_length - 1) * stride + 1, stride)
        intrinsics = recording.intrinsics
        if intrinsics is None:
            intrinsics = intrinsics_lib.initial_guess(recording.frames.shape[1:3])
        clip = {
            "frames": np.array(recording.frames[window]),
            "intrinsics": np.array(intrinsics, np.float32),
            "video_index": np.int32(recording_index),
        }
        for key in self._optional:
            values = getattr(recording, key)[window]
            dtype = np.uint8 if key == "instance_labels" else np.float32
            clip[key] = np.array(values, dtype)
        if self._has_pairs:
            clip |= _pair_arrays(recording, window)
        return clip

    def __repr__(self) -> str:
        return f"ClipSource({len(self)} clips of {len(self._recordings)} recordings)"

    def __getstate__(self) -> dict[str, Any]:
        fields = [field.name for field in dataclasses.fields(Recording)]
        places = [
            {name: array_cache.detach(getattr(recording, name)) for name in fields}
            for recording in self._recordings
        ]
        return {**self.__dict__, "_recordings": places}

    def __setstate__(self, state: dict[str, Any]):
        self.__dict__.update(state)
        self._recordings = tuple(
            Recording(
                **{name: array_cache.attach(value) for name, value in place.items()}
            )
            for place in state["_recordings"]
        )
