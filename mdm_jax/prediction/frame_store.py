"""The predictions of single frames on disk, one NumPy archive per frame.

They are stored as the network made them. A command that was stopped continues after the
stored frames, and all other files are derived from them.
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
# Files and folders derived from stored frames; the first says that they are complete.
DERIVED = (
    "prediction.json",
    "depth",
    "object_motion",
    "masks",
    "points",
    "video.webm",
    "picture.png",
    "trajectory_kitti.txt",
    "trajectory_tum.txt",
    "trajectory.png",
    "objects.csv",
    "objects.json",
)


def remove_derived(output: pathlib.Path):
    """Removes the files derived from the stored frames."""
    for path in (output / name for name in DERIVED):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


class FrameStore:
    """The predicted frames of one recording.

    Attributes:
        folder: holds their files.
    """

    def __init__(
        self, output: pathlib.Path, settings: Mapping[str, Any], *, overwrite: bool
    ):
        """Opens or creates the folder.

        Args:
            output: folder of all results.
            settings: everything that the predictions depend on.
            overwrite: remove predictions made with other settings.

        Raises:
            ValueError: there are predictions made with other settings.
            OSError: the folder cannot be written to.
        """
        self.folder = output / FOLDER
        path = self.folder / _SETTINGS
        settings = json.loads(json.dumps(atomic.to_json(settings)))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            differences = _differences(path, settings) if path.exists() else []
            if differences and not overwrite:
                raise ValueError(
                    f"--output={output} holds predictions made with other settings:"
                    f" {'; '.join(differences)}. Give another --output, or --overwrite"
                    " to replace these"
                )
            if differences:
                remove_derived(output)
                shutil.rmtree(self.folder)
            atomic.write_json(path, settings)
        except OSError as error:
            raise OSError(
                f"--output={output} cannot be written to ({error}): choose another"
                " folder"
            ) from error

    def path(self, name: str) -> pathlib.Path:
        """Returns the file of a frame."""
        return self.folder / f"{name}.npz"

    def has(self, name: str) -> bool:
        """Returns whether a frame is predicted."""
        return self.path(name).exists()

    def write(self, name: str, arrays: Mapping[str, Any]):
        """Stores the prediction of a frame."""
        atomic.write_arrays(self.path(name), arrays)

    def read(self, name: str, *keys: str) -> dict[str, np.ndarray]:
        """Returns the arrays of a frame: all, or those of the keys that it has.

        Raises:
            ValueError: the file is damaged.
        """
        path = self.path(name)
        try:
            # NumPy would not close a file that it opened and cannot read.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                wanted = keys or archive.files
                return {key: archive[key] for key in wanted if key in archive.files}
        except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{path} is damaged ({error}): remove it, and run the command again"
            ) from error


def _differences(path: pathlib.Path, settings: Mapping[str, Any]) -> list[str]:
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return [f"{path} is damaged"]
    return [
        f"{key} was {_shortened(old.get(key))} and is {_shortened(settings.get(key))}"
        for key in sorted(set(old) | set(settings))
        if old.get(key) != settings.get(key)
    ]


def _shortened(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 80 else f"{text[:77]}..."
