"""Masks of recordings, as a config names them: `dataset.masks` and how to read them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from mdm_jax.files import image_file
from mdm_jax.geometry import view
from mdm_jax.masks import frame_names, labels, mask_files
from mdm_jax.recording.arrays import Recording
from mdm_jax.sources import drive as drive_lib
from mdm_jax.sources import footage as footage_lib


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """Where the masks of one recording are. It holds paths and numbers only.

    Attributes:
        masks: of all recordings.
        recording: its name.
        names: of its frames.
        size: height and width of the original frames.
        alone: there is no other recording, that the root itself could belong to.
    """

    masks: RecordingMasks
    recording: str
    names: tuple[str, ...]
    size: tuple[int, int]
    alone: bool

    def open(self) -> mask_files.MaskFiles:
        """Returns the masks, not read yet.

        Raises:
            DataError: there are none, or none of some frames.
        """
        return mask_files.open_masks(
            mask_files.find(self.masks.root, self.recording, alone=self.alone),
            self.names,
            size=self.size,
            background=self.masks.background,
            coding=self.masks.coding,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordingMasks:
    """Where masks are.

    Attributes:
        root: folder or file, see `mask_files.find`.
        coding: of PNG label maps, see `label_images.decode`.
        background: the value of pixels of label maps that belong to no object.
    """

    root: str
    coding: str = "auto"
    background: int = 0

    @property
    def options(self) -> tuple[int | str, ...]:
        """What labels follow from beside the files."""
        return self.coding, self.background

    def check(self, footage: footage_lib.Footage, *, alone: bool) -> None:
        """Checks, before anything is decoded, what can be known to be missing.

        Raises:
            DataError: there are no masks of this recording, or of some of its images.
        """
        if len(footage.files) > 1:
            self.of_footage(footage, alone=alone).open()
        else:
            mask_files.find(self.root, footage.name, alone=alone)

    def of_drive(self, drive: drive_lib.Drive) -> Place:
        """Returns where the masks of a drive are: by the name of the whole drive."""
        return Place(
            masks=self,
            recording=drive_lib.origin(drive)[0].name,
            names=tuple(frame_names.of_drive(drive)),
            size=drive.size,
            alone=False,
        )

    def of_footage(
        self, footage: footage_lib.Footage, count: int | None = None, *, alone: bool
    ) -> Place:
        """Returns where the masks of images or of a video of `count` frames are."""
        return Place(
            masks=self,
            recording=footage.name,
            names=tuple(frame_names.of_footage(footage, count)),
            size=footage.size,
            alone=alone,
        )

    def labels(
        self,
        footage: footage_lib.Footage,
        frames: np.memmap,
        window: Callable[[np.ndarray], np.ndarray],
        *,
        alone: bool,
    ) -> np.memmap:
        """Returns the labels of cached frames, uint8 `[n h w]`; see `labels.cached`."""
        return labels.cached(
            self.of_footage(footage, len(frames), alone=alone).open(),
            frames,
            name=footage.name,
            view=window,
            options=self.options,
        )

    def replace(self, recording: Recording, *, alone: bool) -> Recording:
        """Returns a rendered recording with these masks instead of its true ones.

        They may have been made of larger frames of the same view. Poses of objects,
        which go by the true labels, are left out.

        Raises:
            DataError: masks are missing or cannot be used.
        """
        names = tuple(f"{index:06d}" for index in range(len(recording)))
        path = mask_files.find(self.root, recording.name, alone=alone)
        size = recording.size
        if path.is_dir():
            size = image_file.size_of(path / f"{name}.png" for name in names)
        place = Place(
            masks=self, recording=recording.name, names=names, size=size, alone=alone
        )
        whole = view.View(0, 0, size, recording.size)
        maps = labels.maps(place.open(), recording.name, whole.labels)
        return dataclasses.replace(
            recording, instance_labels=np.stack(list(maps)), world_from_object=None
        )


def from_config(dataset_config: Any) -> RecordingMasks | None:
    """Returns what `config.dataset` says of masks; None where it names none."""
    if not dataset_config.masks:
        return None
    return RecordingMasks(
        root=dataset_config.masks,
        coding=dataset_config.mask_coding,
        background=dataset_config.mask_background,
    )
