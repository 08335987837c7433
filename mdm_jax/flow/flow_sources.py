"""Where optical flow comes from: OpenCV's DIS, files, torchvision's RAFT, any callable.

| name             | source                                                           |
|------------------|------------------------------------------------------------------|
| `dis`            | dense inverse search, built in, no weights                       |
| a folder         | `forward/NAME.flo`, `.png` (KITTI) or `.npz`: flow from the      |
|                  | frame NAME to the next; `backward/NAME...`: to the one before    |
| `raft:WEIGHTS`   | torchvision's RAFT (large or small) with a file of its weights   |
| `call:pkg.mod.f` | `f(one, other)` of two `Frame`s, returns `[h w 2]`         |
"""

from __future__ import annotations

import pathlib

import cv2
import numpy as np

from mdm_jax.files import file_content
from mdm_jax.files.errors import DataError
from mdm_jax.flow import callables, flow_files
from mdm_jax.flow.video_frame import FlowSource, Frame

# Pixels. Here full resolution costs a third of a second on one core.
_SMALL_IMAGE = 1 << 19


def create(name: str, *, clip: str = "") -> FlowSource:
    """Returns a flow source by name, see above.

    Args:
        name: `dis`, a folder, `raft:WEIGHTS` or `call:DOTTED.NAME`.
        clip: name of the recording; a folder may hold one of this name.

    Raises:
        ValueError: there is no such source.
    """
    if name == "dis":
        return dense_inverse_search
    kind, _, value = name.partition(":")
    if kind == "raft" and value:
        from mdm_jax.flow import raft

        return raft.load(pathlib.Path(value).expanduser())
    if kind == "call" and value:
        return checked(callables.load(value), value)
    return from_files(pathlib.Path(name).expanduser(), clip=clip)


def dense_inverse_search(one: Frame, other: Frame) -> np.ndarray:
    """Returns OpenCV's DIS optical flow (Kroeger et al. 2016).

    It depends on OpenCV's number of threads: set one (`cv2.setNumThreads(1)`) where it
    must not differ between machines.
    """
    grey = [cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY) for frame in (one, other)]
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    # The preset ends at half resolution, which is enough for large images only.
    dis.setFinestScale(0 if grey[0].size <= _SMALL_IMAGE else 1)
    # A first guess, even of zeros, makes it worse.
    found = dis.calc(grey[0], grey[1], None)  # pyright: ignore
    return np.asarray(found, np.float32)


def from_files(root: pathlib.Path, *, clip: str = "") -> FlowSource:
    """Returns the source of a folder with `forward` and `backward`, or `CLIP/forward`...

    Raises:
        DataError: there is no such folder.
    """
    folders = [root / clip, root] if clip else [root]
    for folder in folders:
        if file_content.is_folder(folder / "forward") and file_content.is_folder(
            folder / "backward"
        ):
            break
    else:
        raise DataError(
            root,
            "expected a folder with `forward` and `backward` flow, or one of the sources"
            " dis, raft:WEIGHTS, call:DOTTED.NAME",
        )

    def read(one: Frame, other: Frame) -> np.ndarray:
        direction = "forward" if one.index < other.index else "backward"
        paths = [
            folder / direction / f"{one.name}{suffix}" for suffix in flow_files.SUFFIXES
        ]
        path = next((path for path in paths if file_content.exists(path)), None)
        if path is None:
            raise DataError(
                paths[0],
                f"no such file, nor {paths[1].name} or {paths[2].name}: the flow from"
                f" frame {one.name} to {other.name} is needed",
            )
        return flow_files.read(path, size=one.image.shape[:2])

    return read


def checked(flow: FlowSource, name: str) -> FlowSource:
    """Returns a source that says what is wrong with its results."""

    def call(one: Frame, other: Frame) -> np.ndarray:
        result = np.asarray(flow(one, other), np.float32)
        if result.shape != (*one.image.shape[:2], 2):
            raise ValueError(
                f"{name}: expected flow of shape {(*one.image.shape[:2], 2)}, got"
                f" {result.shape}"
            )
        return result

    return call
