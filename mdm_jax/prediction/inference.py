"""Predicts all frames of a recording, a batch at a time, and keeps each when it is done.

Frame i is predicted together with frame i + stride, as in training; the last frames,
which have no such partner, get depth alone. Only the frames of a batch are in memory.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import tqdm
from absl import logging

from mdm_jax.geometry.view import View
from mdm_jax.methods import inference as inference_lib
from mdm_jax.prediction import frames as frames_lib
from mdm_jax.prediction.masks import Labelled
from mdm_jax.prediction.store import Store
from mdm_jax.sources import intrinsics_file
from mdm_jax.sources.source import Source
from mdm_jax.visualize import colormaps

Labels = Callable[[int], Labelled]


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
    """A trained method, ready to predict.

    Attributes:
        predict: of `inference.make_predict`.
        variables: that it predicts with.
        step: training steps done.
        video_index: which recording of the training data the input is, -1 for none.
    """

    predict: inference_lib.Predict
    variables: Mapping[str, Any]
    step: int
    video_index: int = -1


@dataclasses.dataclass(frozen=True)
class Frames:
    """What there is of a recording after predicting it.

    Attributes:
        names: of the frames, in order.
        newly_predicted: how many were not there before.
        broken: why the recording ended early; empty where it did not.
    """

    names: list[str]
    newly_predicted: int
    broken: str


def predict_all(
    network: Network,
    source: Source,
    store: Store,
    view: View,
    *,
    intrinsics: np.ndarray | None,
    labels: Labels | None = None,
    frame_stride: int = 1,
    batch_size: int = 8,
) -> Frames:
    """Predicts the frames that the store does not have yet.

    Args:
        network: to predict with.
        source: of the frames.
        store: to keep them in.
        view: of the frames.
        intrinsics: `[3 3]` in pixels of the view; None where the network knows them.
        labels: gives the objects of a frame; None without.
        frame_stride: how many frames later a frame's partner is.
        batch_size: pairs predicted at a time.
    """
    batches = _Batches(network, store, view, intrinsics, batch_size)
    waiting: collections.deque[tuple[str, _Clip]] = collections.deque()
    names: list[str] = []
    expected = len(source)
    all_names = iter(frames_lib.names(source))
    broken = ""
    bar = tqdm.tqdm(
        total=expected or None,
        desc=f"predicting {source.name}",
        unit=" frames",
        disable=None,  # shown on a terminal only
    )
    with bar:
        decoded = frames_lib.decode(source, view)
        while True:
            # Errors of reading alone: what goes wrong with the network or the disk is
            # no fault of the recording, and stops the command.
            try:
                frame = next(decoded, None)
                if frame is None:
                    break
                found = None if labels is None else labels(len(names))
            except (ValueError, OSError) as error:
                # What was read before it is worth as much as ever.
                broken = f"frame {len(names)} cannot be used: {error}"
                break
            clip = _Clip(frame.seen, found)
            names.append(next(all_names, f"{len(names):06d}"))
            waiting.append((names[-1], clip))
            if len(waiting) > frame_stride:
                name, first = waiting.popleft()
                batches.add(name, [first, clip])
            bar.update()
        for name, clip in waiting:
            batches.add(name, [clip])
        batches.flush()
    if not broken and len(names) < expected:
        broken = (
            f"{source.files[0]} announces {expected} frames, of which"
            f" {len(names)} can be read"
        )
    if broken:
        logging.warning("%s; the %d frames before are kept", broken, len(names))
    return Frames(names, batches.count, broken)


@dataclasses.dataclass(frozen=True, eq=False)
class _Clip:
    """A frame of a clip, uint8 `[h w 3]`, and its objects where known."""

    seen: np.ndarray
    objects: Labelled | None


class _Batches:
    """Collects clips of one length until a batch is full."""

    def __init__(
        self,
        network: Network,
        store: Store,
        view: View,
        intrinsics: np.ndarray | None,
        batch_size: int,
    ):
        self.count = 0
        self._network = network
        self._store = store
        self._batch_size = batch_size
        self._clips: list[tuple[str, list[_Clip]]] = []
        if intrinsics is None:
            intrinsics = intrinsics_file.initial_guess(view.size)
        self._intrinsics = np.asarray(intrinsics, np.float32)

    def add(self, name: str, clip: list[_Clip]):
        # A frame that once was the last, where reading broke off, has no motion.
        alone = len(clip) == 1
        if self._store.has(name) and (alone or self._store.read(name, "rotation")):
            return
        if self._clips and len(self._clips[0][1]) != len(clip):
            self.flush()
        self._clips.append((name, clip))
        if len(self._clips) == self._batch_size:
            self.flush()

    def flush(self):
        if not self._clips:
            return
        missing = self._batch_size - len(self._clips)
        # Filled up by repetition: nothing is compiled twice. A single clip of the end
        # of a recording is worth a small program of its own.
        if len(self._clips[0][1]) == 1:
            missing = 0
        clips = [clip for _, clip in self._clips]
        clips += [clips[-1]] * missing
        arrays = {
            "frames": np.stack([np.stack([f.seen for f in clip]) for clip in clips]),
            "intrinsics": np.tile(self._intrinsics, (len(clips), 1, 1)),
            "video_index": np.full(len(clips), self._network.video_index, np.int32),
        }
        if clips[0][0].objects is not None:
            arrays["instance_labels"] = np.stack(
                [np.stack([f.objects.labels for f in c if f.objects]) for c in clips]
            )
        maps = self._network.predict(
            self._network.variables, arrays, np.int32(self._network.step)
        )
        # Nothing that is written shows the warped source.
        maps = jax.device_get({k: v for k, v in maps.items() if k != "warped"})
        for row, (name, clip) in enumerate(self._clips):
            one = {key: np.asarray(values[row]) for key, values in maps.items()}
            if clip[0].objects is not None:
                one |= clip[0].objects._asdict()
            self._store.write(name, one | _summary(one, name))
        self.count += len(self._clips)
        self._clips = []


def _summary(maps: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """Returns the few numbers by which all frames of a recording share one scale."""
    depth = maps["depth"]
    if not (np.isfinite(depth).all() and (depth > 0).all()):
        raise FloatingPointError(
            f"the predicted depth of frame {name} is not finite or not positive: the"
            " checkpoint is of a run that failed, take one before it (--step)"
        )
    limits = {
        "max_depth": np.float32(depth.max()),
        "median_depth": np.float32(np.median(depth)),
        "inverse_depth_limit": np.float32(colormaps.inverse_depth_limit(depth)),
    }
    if "object_motion" in maps:
        motion = maps["object_motion"]
        limit = colormaps.absolute_limit(motion) if motion.any() else 0.0
        limits["motion_limit"] = np.float32(limit)
    return {key: np.asarray(value) for key, value in limits.items()}
