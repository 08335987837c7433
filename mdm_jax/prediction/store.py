"""The frames predicted so far.

Predictions of single frames are kept as the network made them, one NumPy archive each:
what a stopped command finds there it does not predict again, and all other files are
derived from them.
"""

from __future__ import annotations

import json
import pathlib
import shutil
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from mdm_jax.files import atomic

FOLDER = "network"
_SETTINGS = "settings.json"
# Everything else, derived from what is there; first what says that it is complete.
DERIVED = (
    "prediction.json",
    "depth",
    "object_motion",
    "masks",
    "points",
    "video.mp4",
    "picture.png",
    "trajectory_kitti.txt",
    "trajectory_tum.txt",
    "trajectory.png",
    "objects.csv",
    "objects.json",
)


def remove_derived(output: pathlib.Path):
    """Removes what was derived from predicted frames; the frames stay."""
    for path in (output / name for name in DERIVED):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


class Store:
    """The frames of one recording that are predicted.

    Attributes:
        folder: that holds them.
    """

    def __init__(
        self, output: pathlib.Path, settings: Mapping[str, Any], *, overwrite: bool
    ):
        """Opens or makes the folder.

        Args:
            output: folder of all results.
            settings: all that the predictions follow from.
            overwrite: remove predictions made with other settings.

        Raises:
            ValueError: there are some, and they are not to be removed.
            OSError: the folder cannot be written to.
        """
        self.folder = output / FOLDER
        path = self.folder / _SETTINGS
        settings = json.loads(json.dumps(atomic.to_json(settings)))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if path.exists():
                differing = _differing(path, settings)
                if differing and not overwrite:
                    raise ValueError(
                        f"--output={output} holds predictions made otherwise:"
                        f" {'; '.join(differing)}. Give another --output, or"
                        " --overwrite to remove these"
                    )
                if differing:
                    remove_derived(output)
                    shutil.rmtree(self.folder)
            atomic.write_json(path, settings)
        except OSError as error:
            raise OSError(
                f"--output={output} cannot be written to ({error}): choose another"
                " folder"
            ) from error

    def path(self, name: str) -> pathlib.Path:
        """Returns where a frame is."""
        return self.folder / f"{name}.npz"

    def has(self, name: str) -> bool:
        """Returns whether a frame is predicted."""
        return self.path(name).exists()

    def write(self, name: str, arrays: Mapping[str, Any]):
        """Keeps the prediction of a frame."""
        atomic.write_arrays(self.path(name), arrays)

    def read(self, name: str, *only: str) -> dict[str, np.ndarray]:
        """Returns a frame's arrays, or some of them: those that there are.

        Raises:
            ValueError: the file is damaged.
        """
        path = self.path(name)
        try:
            # An open file: NumPy would leave one that it cannot read open.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                wanted = only or archive.files
                return {key: archive[key] for key in wanted if key in archive.files}
        except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{path} is damaged ({error}): remove it, and run the command again"
            ) from error


def _differing(path: pathlib.Path, settings: Mapping[str, Any]) -> list[str]:
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return [f"{path} is damaged"]
    return [
        f"{key} was {_short(old.get(key))} and is {_short(settings.get(key))}"
        for key in sorted(set(old) | set(settings))
        if old.get(key) != settings.get(key)
    ]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 80 else f"{text[:77]}..."
