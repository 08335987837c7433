"""Predicts the frames of a source batch by batch and stores each one.

Frame i is predicted together with frame i + stride, as in training. The last frames have
no such partner and get depth only. No more than the frames of a batch are in memory.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np
import tqdm
from absl import logging

from mdm_jax.geometry import intrinsics as intrinsics_lib
from mdm_jax.methods.inference import Model
from mdm_jax.prediction import inputs
from mdm_jax.prediction.frame_store import FrameStore
from mdm_jax.prediction.inputs import Input, Labelled
from mdm_jax.visualize import colormaps


@dataclasses.dataclass(frozen=True)
class Progress:
    """The frames that were predicted.

    Attributes:
        names: of all predicted frames, in order.
        num_new: number of frames that were not in the store before.
        problem: why the source ended early; empty if it did not.
    """

    names: list[str]
    num_new: int
    problem: str


class Shown(NamedTuple):
    """A frame as the network sees it, uint8 `[h w 3]`, and its objects if known."""

    image: np.ndarray
    objects: Labelled | None


def predict_frames(
    model: Model, source_input: Input, store: FrameStore, *, batch_size: int = 8
) -> Progress:
    """Predicts the frames that are not in the store yet.

    Args:
        model: to predict with.
        source_input: source, view, intrinsics and labels.
        store: to add the predictions to.
        batch_size: pairs predicted at a time.

    Raises:
        FloatingPointError: depth is not finite.
    """
    source = source_input.source
    batches = _Batches(model, source_input, store, batch_size)
    waiting: collections.deque[tuple[str, Shown]] = collections.deque()
    all_names = iter(inputs.frame_names(source))
    names: list[str] = []
    problem = ""
    bar = tqdm.tqdm(
        total=len(source) or None,
        desc=f"predicting {source.name}",
        unit=" frames",
        disable=None,  # shown on a terminal only
    )
    with bar:
        decoded = inputs.decode(source, source_input.view)
        while True:
            # Only errors of reading end the recording early. Those of the network or
            # the disk stop the command.
            try:
                frame = next(decoded, None)
                if frame is None:
                    break
                labels = source_input.labels
                objects = None if labels is None else labels(len(names))
            except (ValueError, OSError) as error:
                problem = f"frame {len(names)} cannot be used: {error}"
                break
            # A movie can have more frames than its header says.
            name = next(all_names, f"{len(names):06d}")
            names.append(name)
            waiting.append((name, Shown(frame.seen, objects)))
            if len(waiting) > source_input.frame_stride:
                target, first = waiting.popleft()
                batches.add(target, [first, waiting[-1][1]])
            bar.update()
        for name, shown in waiting:
            batches.add(name, [shown])
        batches.flush()
    if not problem and len(names) < len(source):
        problem = (
            f"{source.files[0]} should have {len(source)} frames, of which only"
            f" {len(names)} can be read"
        )
    if problem:
        logging.warning("%s; keeping the %d frames before", problem, len(names))
    return Progress(names, batches.num_predicted, problem)


class _Batches:
    """Collects clips of one length until a batch is full."""

    def __init__(
        self, model: Model, source_input: Input, store: FrameStore, batch_size: int
    ):
        self.num_predicted = 0
        self._model = model
        self._store = store
        self._batch_size = batch_size
        self._video_index = source_input.video_index
        self._clips: list[tuple[str, list[Shown]]] = []
        intrinsics = source_input.intrinsics
        if intrinsics is None:
            intrinsics = intrinsics_lib.initial_guess(source_input.view.size)
        self._intrinsics = np.asarray(intrinsics, np.float32)

    def add(self, name: str, clip: list[Shown]):
        """Adds a clip, unless its frame is stored already."""
        # A frame that was the last where reading broke off before has no motion yet.
        single = len(clip) == 1
        if self._store.has(name) and (single or self._store.read(name, "rotation")):
            return
        if self._clips and len(self._clips[0][1]) != len(clip):
            self.flush()
        self._clips.append((name, clip))
        if len(self._clips) == self._batch_size:
            self.flush()

    def flush(self):
        """Predicts and stores the collected clips."""
        if not self._clips:
            return
        clips = [clip for _, clip in self._clips]
        if len(clips[0]) > 1:
            # Repetition fills the batch, so that its size never compiles anew. Single
            # frames come once, at the end of a recording.
            clips += [clips[-1]] * (self._batch_size - len(clips))
        arrays = {
            "frames": np.stack([np.stack([s.image for s in clip]) for clip in clips]),
            "intrinsics": np.tile(self._intrinsics, (len(clips), 1, 1)),
            "video_index": np.full(len(clips), self._video_index, np.int32),
        }
        if clips[0][0].objects is not None:
            arrays["instance_labels"] = np.stack(
                [np.stack([s.objects.labels for s in c if s.objects]) for c in clips]
            )
        maps = self._model.maps(arrays)
        # No output shows the warped source.
        maps = jax.device_get({k: v for k, v in maps.items() if k != "warped"})
        for row, (name, clip) in enumerate(self._clips):
            frame = {key: np.asarray(values[row]) for key, values in maps.items()}
            if clip[0].objects is not None:
                frame |= clip[0].objects._asdict()
            self._store.write(name, frame | _limits(frame, name))
        self.num_predicted += len(self._clips)
        self._clips = []


def _limits(maps: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """Returns numbers from which all frames of a recording get one scale."""
    depth = maps["depth"]
    if not (np.isfinite(depth).all() and (depth > 0).all()):
        raise FloatingPointError(
            f"the predicted depth of frame {name} is not finite or not positive: the"
            " training of this checkpoint diverged; take an earlier one (--step)"
        )
    limits = {
        "max_depth": depth.max(),
        "median_depth": np.median(depth),
        "inverse_depth_limit": colormaps.inverse_depth_limit(depth),
    }
    if "object_motion" in maps:
        motion = maps["object_motion"]
        limits["motion_limit"] = (
            colormaps.absolute_limit(motion) if motion.any() else 0.0
        )
    return {key: np.asarray(value, np.float32) for key, value in limits.items()}
