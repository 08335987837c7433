"""Two-view geometry of every pair of frames that training clips use, cached on disk.

Four bytes per pixel and directed pair: inverse depth and its weight. Pairs with little
motion, cuts and the like have weight 0 and no pose.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import itertools
import os
import pathlib
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from absl import logging

from mdm_jax.files import array_cache, atomic, fingerprint
from mdm_jax.flow import flow_sources
from mdm_jax.flow.video_frame import Frame
from mdm_jax.geometry import intrinsics as intrinsics_lib
from mdm_jax.geometry.view import View
from mdm_jax.input_pipeline import transforms
from mdm_jax.recording.arrays import Recording
from mdm_jax.two_view import drive_geometry, front_end, texture

Array = np.ndarray

_VERSION = 2  # increase it when the same frames must give other geometry
_SURVEYED = 24  # pairs


def attach(
    recordings: Sequence[Recording],
    *,
    stride: int,
    max_width: int,
    options: front_end.Options = front_end.DEFAULT,
) -> list[Recording]:
    """Returns the recordings with `pair_maps` and `pair_poses`.

    Computed by threads at first use, from the original frames where the recording has a
    source, and stored beside the cached frames. Where intrinsics are to be learned, the
    focal length is that of the focal curve if it can be observed, else the first guess.

    Args:
        recordings: what clips are taken from.
        stride: frames between the two of a pair.
        max_width: of the frames that flow is computed on, pixels.
        options: of the front end.
    """
    with _one_thread():
        return [
            _attach(_Work(recording, stride, max_width, options))
            for recording in recordings
        ]


@dataclasses.dataclass(frozen=True)
class _Work:
    """What is to be computed for one recording."""

    recording: Recording
    stride: int
    max_width: int
    options: front_end.Options

    @property
    def count(self) -> int:
        """Number of pairs."""
        return len(self.recording.frames) - self.stride

    @property
    def view(self) -> View | None:
        """The view of the original frames that flow is computed on, if it is larger."""
        view = self.recording.view
        if self.recording.source is None or view is None:
            return None
        width = min(self.max_width, view.box[1])
        height = round(width * view.size[0] / view.size[1])
        if width <= view.size[1]:
            return None
        return dataclasses.replace(view, size=(height, width))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frames that flow is computed on."""
        return self.recording.size if self.view is None else self.view.size

    def frames(self) -> Iterator[Array]:
        """Yields the frames that flow is computed on."""
        if self.view is None or self.recording.source is None:
            return (np.asarray(frame) for frame in self.recording.frames)
        return self.recording.source.images(apply=self.view.image)

    def intrinsics(self) -> Array:
        """Returns the intrinsics of `frames`, given or observed."""
        given = self.recording.intrinsics
        if given is not None:
            return np.asarray(
                intrinsics_lib.resize(
                    given, from_size=self.recording.size, to_size=self.size
                )
            )
        guess = intrinsics_lib.initial_guess(self.size)
        starts = set(np.linspace(0, self.count - 1, _SURVEYED).astype(int).tolist())
        pairs = (pair for index, *pair in self.pairs() if index in starts)
        found = drive_geometry.survey(pairs, guess, options=self.options)
        intrinsics = found.refine(guess)
        logging.info(
            "%s: two-view geometry takes a focal length of %.2f image widths (%s)",
            self.recording.name,
            intrinsics[0, 0] / self.size[1],
            "a guess: it cannot be observed"
            if intrinsics is guess
            else "from the focal curve",
        )
        return intrinsics

    def pairs(self) -> Iterator[tuple[int, Array, Array]]:
        """Yields the index of the first frame of each pair, and both frames."""
        waiting: collections.deque[Array] = collections.deque()
        for index, frame in enumerate(self.frames()):
            waiting.append(frame)
            if len(waiting) > self.stride:
                yield index - self.stride, waiting.popleft(), frame


def _attach(work: _Work) -> Recording:
    """Returns the recording with its geometry."""
    recording = work.recording
    if work.count < 1:
        return recording  # No clip is as short; `clips` says so.
    location = array_cache.detach(recording.frames)
    if not isinstance(location, array_cache.MappedFile):
        poses = np.zeros((work.count, 3, 4), np.float32)
        maps = np.stack(list(_maps(work, poses)))
    else:
        maps, poses = _cached(work, location)
    known = np.any(poses[..., 3] != 0, axis=-1)
    logging.info(
        "%s: two-view geometry at %d x %d: %d of %d pairs have depth",
        recording.name,
        *work.size[::-1],
        known.sum(),
        work.count,
    )
    return dataclasses.replace(recording, pair_maps=maps, pair_poses=poses)


def _cached(work: _Work, location: array_cache.MappedFile) -> tuple[Array, Array]:
    """Returns maps and poses, computed at first use and read from then on."""
    recording, file = work.recording, pathlib.Path(location.filename)
    key = fingerprint.digest(
        _VERSION,
        fingerprint.file_identity(file),
        location.offset,
        list(location.shape),
        recording.intrinsics,
        work.stride,
        list(work.size),
        work.options,
    )
    entry = array_cache.Entry(
        file.parent,
        recording.name,
        "geometry",
        key,
        (2, 2, *recording.size),
        np.float16,
        work.count,
    )
    pose_file = entry.path.with_suffix(".poses.npz")
    if not pose_file.exists():
        entry.path.unlink(missing_ok=True)

    def computed() -> Iterator[Array]:
        poses = np.zeros((work.count, 3, 4), np.float32)
        yield from _maps(work, poses)
        atomic.write_arrays(pose_file, {"poses": poses})

    maps = array_cache.cached(entry, computed())
    with np.load(pose_file) as arrays:
        return maps, arrays["poses"]


def _maps(work: _Work, poses: Array) -> Iterator[Array]:
    """Yields the maps of each pair, float16 `[2 2 h w]`, and fills in its pose.

    The axes are the direction (ahead, behind) and (inverse depth, weight).
    """
    intrinsics, size = work.intrinsics(), work.recording.size

    def maps_of(pair: tuple[int, Array, Array]) -> Array:
        index, *images = pair
        one, other = (Frame(i, f"{i:06d}", image) for i, image in enumerate(images))
        geometry = front_end.front_end(
            flow_sources.dense_inverse_search(one, other),
            flow_sources.dense_inverse_search(other, one),
            intrinsics,
            usable=(texture.textured(one.image), texture.textured(other.image)),
            options=work.options,
        )
        maps = [
            transforms.resize_inverse_depth(
                np.where(part.trusted, 1 / np.where(part.trusted, part.depth, 1), 0),
                part.weight,
                size,
            )
            for part in geometry
        ]
        ahead = geometry[0]
        if ahead.rotation is not None:
            poses[index, :, :3] = ahead.rotation
        if ahead.pose is not None:
            poses[index, :, 3] = ahead.pose.direction
        return np.asarray(maps, np.float16)

    num_threads = os.cpu_count() or 1
    with concurrent.futures.ThreadPoolExecutor(num_threads) as pool:
        pairs = work.pairs()
        # In portions, so that decoding does not run ahead without bound.
        while portion := list(itertools.islice(pairs, 2 * num_threads)):
            yield from pool.map(maps_of, portion)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Makes flow independent of the machine; pairs are shared out to threads instead."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
