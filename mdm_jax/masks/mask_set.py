"""The instance masks of a data set: where they are, and how label maps are read."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from mdm_jax.files import file_content
from mdm_jax.files.errors import DataError
from mdm_jax.masks import mask_files

# Subfolder with label maps, as written by `mdm_jax.annotate` and KITTI MOTS.
LABEL_FOLDER = "instances"

# For a run that trains on instance masks and has none.
ADVICE = (
    "name masks in config.dataset.masks (`python -m mdm_jax.annotate` makes them of own"
    " frames, `python -m mdm_jax.prepare --annotate` of raw data sets), or train without:"
    " config.instance_motion.object_pose=none or config.motion_field.use_mask=False"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskSet:
    """The instance masks of all recordings of a data set.

    Attributes:
        root: folder or file, see `find`.
        coding: of PNG label maps, see `label_images.decode`.
        background: value of the pixels of label maps without an object.
        alone: whether the data set has one recording only, so that the root itself may
            hold its masks.
    """

    root: str
    coding: str = "auto"
    background: int = 0
    alone: bool = False

    def open(
        self, recording: str, frame_names: Sequence[str], *, size: tuple[int, int]
    ) -> mask_files.MaskFiles:
        """Returns the masks of one recording, to be read frame by frame.

        Args:
            recording: its name.
            frame_names: file names without suffix; `000000`, `000001`, ... for a movie.
            size: height and width of the original frames.

        Raises:
            DataError: there are no masks, or some frames have none.
        """
        return mask_files.open_masks(
            self.find(recording),
            frame_names,
            size=size,
            background=self.background,
            coding=self.coding,
        )

    def find(self, recording: str) -> pathlib.Path:
        """Returns the folder or file with the masks of a recording.

        The root holds `NAME/instances`, `NAME`, `instances/NAME`, `NAME.json`, `.txt` or
        `.npz`, or is itself the masks of the only recording.

        Raises:
            DataError: there are no masks.
        """
        root = pathlib.Path(self.root).expanduser()
        if not file_content.exists(root):
            raise DataError(
                root,
                "no such folder or file of instance masks; make them with"
                " `python -m mdm_jax.annotate`",
            )
        if not file_content.is_folder(root):
            if self.alone:
                return root
            raise DataError(
                root,
                "one file cannot hold the masks of several recordings; give a folder"
                f" with {recording}{root.suffix} and so on",
            )
        candidates = [
            root / recording / LABEL_FOLDER,
            root / recording,
            root / LABEL_FOLDER / recording,
            *(root / f"{recording}{suffix}" for suffix in mask_files.FILE_SUFFIXES),
            *([root / LABEL_FOLDER, root] if self.alone else []),
        ]
        for candidate in candidates:
            if file_content.is_folder(candidate):
                if mask_files.has_masks(candidate):
                    return candidate
            elif file_content.exists(candidate):
                return candidate
        raise DataError(
            root,
            f"no instance masks of the recording {recording!r}: expected a folder"
            f" {recording} with a PNG or NPZ for each frame, or {recording}.json, .txt"
            " or .npz; `python -m mdm_jax.annotate` makes them",
        )

    def has(self, recording: str) -> bool:
        """Returns whether a recording has masks."""
        try:
            self.find(recording)
        except DataError:
            return False
        return True


def from_config(dataset_config: Any) -> MaskSet | None:
    """Returns the masks that `config.dataset` names; None if it names none."""
    if not dataset_config.masks:
        return None
    return MaskSet(
        root=dataset_config.masks,
        coding=dataset_config.mask_coding,
        background=dataset_config.mask_background,
    )
