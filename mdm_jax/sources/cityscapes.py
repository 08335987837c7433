"""Cityscapes sequences, in their original folders.

    ROOT/leftImg8bit_sequence/train/aachen/aachen_000003_000015_leftImg8bit.png
    ROOT/camera/train/aachen/aachen_000003_000019_camera.json
    ROOT/disparity/train/aachen/aachen_000003_000019_disparity.png

Snippets have 30 frames at 17 Hz. Camera and disparity are published for the annotated
frame of a snippet (`disparity_sequence` for all frames). Depth is `baseline * fx / d`
with `d = (value - 1) / 256`; value 0 is unknown.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
from typing import Any

import numpy as np

from mdm_jax.files import file_content, image_file
from mdm_jax.files.errors import DataError, Problems
from mdm_jax.geometry import intrinsics as intrinsics_lib
from mdm_jax.sources import source as source_lib
from mdm_jax.sources.source import Source

FRAME_RATE = 17.0  # Hz
# The lowest quarter shows the bonnet of the car.
BONNET_CROP = (0.0, 0.25, 0.0, 0.0)
_FRAME = re.compile(r"(.+_\d{6})_(\d{6})_leftImg8bit\.(?:png|jpg)")
_CAMERA = re.compile(r"(.+_\d{6})_(\d{6})_camera\.json")


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class CityscapesDrive(Source):
    """A snippet.

    Attributes:
        root: folder of the data set.
        split: `train`, `val` or `test`.
        snippet: city and sequence number, as in the file names.
        baseline: of the stereo camera, in metres; None if unknown.
    """

    intrinsics: np.ndarray
    root: pathlib.Path
    split: str
    snippet: str
    baseline: float | None

    def points(self, index: int) -> np.ndarray | None:
        if self.baseline is None or not any(
            file_content.exists(p) for p in self.truth_files()
        ):
            return None
        path = self._disparity(self.numbers[index])
        if not file_content.exists(path):  # Usually only annotated frames have one.
            return np.zeros((0, 3), np.float32)
        values = image_file.read_labels(path, size=self.size)
        if values.dtype != np.uint16 or values.ndim != 2:
            raise DataError(
                path,
                f"expected a grey image of 16 bits, got {values.dtype} of shape"
                f" {list(values.shape)}",
            )
        rows, columns = np.nonzero(values > 1)  # 1 is disparity 0, infinitely far.
        disparity = (values[rows, columns].astype(np.float64) - 1) / 256
        depth = self.baseline * self.intrinsics[0, 0] / disparity
        return np.column_stack([columns, rows, depth]).astype(np.float32)

    def truth_files(self) -> list[pathlib.Path]:
        return [self._disparity(number) for number in self.numbers]

    def _disparity(self, number: int) -> pathlib.Path:
        city = self.snippet.split("_")[0]
        name = f"{self.snippet}_{number:06d}_disparity.png"
        path = self.root / "disparity_sequence" / self.split / city / name
        return (
            path
            if file_content.exists(path)
            else self.root / "disparity" / self.split / city / name
        )

    def timestamps(self) -> np.ndarray:
        return np.array(self.numbers) / FRAME_RATE


def open_sources(
    root: pathlib.Path, *, problems: Problems, split: str = ""
) -> list[Source]:
    """Returns the snippets below a folder, by split, city and number.

    Args:
        root: contains `leftImg8bit_sequence` and `camera`.
        problems: how to handle broken files.
        split: `train`, `val` or `test`, the folders of the official split; empty for
            all.

    Raises:
        DataError: the camera file of a snippet is missing or damaged.
    """
    found: list[Source] = []
    images = root / "leftImg8bit_sequence"
    for folder in [images / split] if split else file_content.children(images):
        for city in file_content.children(folder):
            cameras = _cameras(root / "camera" / folder.name / city.name)
            for snippet, frames in _snippets(city).items():
                for part in source_lib.runs(list(frames)):
                    numbers = tuple(frames)[part]
                    with problems.caught():
                        found.append(
                            _open_snippet(
                                root,
                                folder.name,
                                snippet,
                                {number: frames[number] for number in numbers},
                                cameras.get(snippet, {}),
                            )
                        )
    return found


def _snippets(city: pathlib.Path) -> dict[str, dict[int, pathlib.Path]]:
    """Returns the frames of each snippet of a city, by number."""
    found: dict[str, dict[int, pathlib.Path]] = {}
    for path in file_content.children(city):
        if match := _FRAME.fullmatch(path.name):
            found.setdefault(match[1], {})[int(match[2])] = path
    return found


def _cameras(folder: pathlib.Path) -> dict[str, dict[int, pathlib.Path]]:
    """Returns the camera files of each snippet of a city, by frame number."""
    found: dict[str, dict[int, pathlib.Path]] = {}
    for path in file_content.children(folder) if file_content.is_folder(folder) else []:
        if match := _CAMERA.fullmatch(path.name):
            found.setdefault(match[1], {})[int(match[2])] = path
    return found


def _open_snippet(
    root: pathlib.Path,
    split: str,
    snippet: str,
    frames: dict[int, pathlib.Path],
    cameras: dict[int, pathlib.Path],
) -> Source:
    numbers = tuple(frames)
    city = snippet.split("_")[0]
    if not cameras:
        raise DataError(
            root / "camera" / split / city,
            f"expected a file {snippet}_*_camera.json; unpack camera_trainvaltest.zip",
        )
    # In some cities, frame numbers run over many snippets with their own cameras.
    nearest = min(cameras, key=lambda number: abs(number - numbers[len(numbers) // 2]))
    path = cameras[nearest]
    record = file_content.read_json(path)
    intrinsics = intrinsics_lib.matrix(
        *(_number(record, ("intrinsic", key), path) for key in ("fx", "fy", "u0", "v0"))
    )
    baseline = None
    if isinstance(record, dict) and "extrinsic" in record:
        baseline = _number(record, ("extrinsic", "baseline"), path)
    return CityscapesDrive(
        name=f"{snippet}_{numbers[0]:06d}",
        files=tuple(frames.values()),
        size=image_file.size_of(frames.values()),
        intrinsics=np.asarray(intrinsics, np.float64),
        crop=BONNET_CROP,
        sequence=snippet,
        root=root,
        split=split,
        snippet=snippet,
        numbers=numbers,
        baseline=baseline,
    )


def _number(record: Any, keys: tuple[str, ...], path: pathlib.Path) -> float:
    value = file_content.field(record, keys, path)
    return float(file_content.numbers(value, (), path, ".".join(keys)))
