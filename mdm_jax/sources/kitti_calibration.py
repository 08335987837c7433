"""KITTI's calibration files: lines of `name: numbers`, and the cameras they describe.

All rectified cameras have the same orientation. The position of camera k follows from
its projection `P_k = K [I | t_k]`: `x_k = x_0 + t_k`.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from mdm_jax.files import file_content
from mdm_jax.files.errors import DataError
from mdm_jax.geometry import rigid


class Camera(NamedTuple):
    """A rectified camera.

    Attributes:
        intrinsics: float64 `[3 3]`.
        camera_from_rectified: float64 `[4 4]`, from rectified camera 0.
    """

    intrinsics: np.ndarray
    camera_from_rectified: np.ndarray


class Calibration:
    """The entries of one file, by name."""

    def __init__(self, path: pathlib.Path):
        """Reads the file.

        Raises:
            DataError: the file is missing or has another format.
        """
        self.path = path
        self._entries: Mapping[str, str] = {
            name.strip(): value
            for name, colon, value in (
                line.partition(":")
                for line in file_content.read_text(path).splitlines()
            )
            if colon
        }

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def entry(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Returns an entry as finite float64 with a shape.

        Raises:
            DataError: the entry is missing, has another length or is not numeric.
        """
        if name not in self._entries:
            raise DataError(
                self.path,
                f"expected the entry {name!r}, got"
                f" {', '.join(sorted(self._entries)) or 'none'}",
            )
        count = int(np.prod(shape))
        values = file_content.numbers(
            self._entries[name].split(), (count,), self.path, f"entry {name}"
        )
        return values.reshape(shape)

    def camera(self, name: str) -> Camera:
        """Returns the camera with the projection matrix `[3 4]` of an entry."""
        matrix = self.entry(name, (3, 4))
        intrinsics = matrix[:, :3]
        try:
            shift = np.linalg.solve(intrinsics, matrix[:, 3])
        except np.linalg.LinAlgError as error:
            raise DataError(
                self.path, f"entry {name}: expected K [I | t], got {matrix.tolist()}"
            ) from error
        return Camera(intrinsics, rigid.matrix(np.eye(3), shift))

    def rigid(self, rotation: str, translation: str = "") -> np.ndarray:
        """Returns `[4 4]` from a rotation entry and, unless empty, a translation entry.

        For an entry with both (twelve numbers), see `pose`.
        """
        shift = self.entry(translation, (3,)) if translation else np.zeros(3)
        return self._checked(self.entry(rotation, (3, 3)), shift, rotation)

    def pose(self, name: str) -> np.ndarray:
        """Returns `[4 4]` from an entry with twelve numbers, `[R | t]` row by row."""
        matrix = self.entry(name, (3, 4))
        return self._checked(matrix[:, :3], matrix[:, 3], name)

    def _checked(self, rotation, translation, name):
        if not np.abs(rotation @ rotation.T - np.eye(3)).max() < 1e-4:
            raise DataError(
                self.path,
                f"entry {name}: expected a rotation, got {rotation.tolist()}",
            )
        return rigid.matrix(rotation, translation)
