"""Strips of three frames side by side, the training data of struct2depth.

    ROOT/train.txt                        lines of `folder id`
    ROOT/aachen_000003/0000000002.png     the frames of times -1, 0, 1, side by side
    ROOT/aachen_000003/0000000002_cam.txt nine numbers, K of one frame, row by row
    ROOT/aachen_000003/0000000002-fseg.png instance labels of the three, 0 background

Each strip is one source, since strips may overlap or have gaps between them. Labels do
not persist from frame to frame.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re

import numpy as np

from mdm_jax.files import file_content, image_file
from mdm_jax.files.errors import DataError, Problems
from mdm_jax.sources.source import Source

_FRAMES = 3


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class StripDrive(Source):
    """The frames of one strip."""

    def image(self, index: int) -> np.ndarray:
        height, width = self.size
        strip = image_file.read(self.files[0], size=(height, _FRAMES * width))
        return strip[:, index * width : (index + 1) * width]

    def labels(self, index: int) -> np.ndarray | None:
        (path,) = self.truth_files()
        if not file_content.exists(path):
            return None
        height, width = self.size
        strip = image_file.read_labels(path, size=(height, _FRAMES * width))
        if strip.ndim == 3:  # Three equal channels.
            strip = strip[..., 0]
        if strip.dtype != np.uint8:
            raise DataError(path, f"expected an image of 8 bits, got {strip.dtype}")
        return strip[:, index * width : (index + 1) * width]

    def labelled(self) -> list[bool]:
        return [file_content.exists(self.truth_files()[0])] * _FRAMES

    def truth_files(self) -> list[pathlib.Path]:
        return [self.files[0].with_name(f"{self.files[0].stem}-fseg.png")]


def open_sources(
    root: pathlib.Path, *, problems: Problems, list_file: str = ""
) -> list[Source]:
    """Returns the strips below a folder, one source of three frames each.

    Args:
        root: contains the list file and a folder for each sequence.
        problems: how to handle broken files.
        list_file: file with lines of `folder id`, such as `train.txt`, relative to
            `root`; empty for all strips.

    Raises:
        DataError: a strip or its intrinsics are missing or damaged.
    """
    if list_file:
        strips = _listed(root, root / list_file)
    else:
        strips = [
            path
            for folder in file_content.children(root)
            if file_content.is_folder(folder)
            for path in file_content.children(folder)
            if path.suffix == ".png" and not path.stem.endswith("-fseg")
        ]
    found: list[Source] = []
    for path in strips:
        with problems.caught():
            found.append(_open_strip(path))
    return found


def _listed(root: pathlib.Path, list_path: pathlib.Path) -> list[pathlib.Path]:
    strips = []
    for number, line in enumerate(
        file_content.read_text(list_path).splitlines(), start=1
    ):
        words = line.split()
        if len(words) == 2:
            strips.append(root / words[0] / f"{words[1]}.png")
        elif words:
            raise DataError(
                list_path, f"line {number}: expected 'folder id', got {line[:60]!r}"
            )
    return strips


def _open_strip(path: pathlib.Path) -> Source:
    height, width = image_file.size_of([path])
    if width % _FRAMES:
        raise DataError(
            path, f"expected {_FRAMES} frames side by side, got {width} columns"
        )
    camera = path.with_name(f"{path.stem}_cam.txt")
    tokens = re.split(r"[\s,]+", file_content.read_text(camera).strip())
    intrinsics = file_content.numbers(tokens, (9,), camera, "K row by row").reshape(
        3, 3
    )
    return StripDrive(
        name=f"{path.parent.name}/{path.stem}",
        files=(path,) * _FRAMES,
        size=(height, width // _FRAMES),
        intrinsics=intrinsics,
    )
