"""Masks of recordings, as a config names them: `dataset.masks` and how to read them."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from mdm_jax.input_pipeline import footage as footage_lib
from mdm_jax.input_pipeline.instance_masks import frame_names, labels, mask_files
from mdm_jax.input_pipeline.readers import image_file, view
from mdm_jax.input_pipeline.recording import Recording


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

    def check(self, footage: footage_lib.Footage, *, alone: bool) -> None:
        """Checks, before anything is decoded, what can be known to be missing.

        Raises:
            DataError: there are no masks of this recording, or of some of its images.
        """
        if len(footage.files) > 1:
            names = frame_names.of_footage(footage)
            self._open(footage.name, names, footage.size, alone)
        else:
            mask_files.find(self.root, footage.name, alone=alone)

    def labels(
        self,
        footage: footage_lib.Footage,
        frames: np.memmap,
        window: Callable[[np.ndarray], np.ndarray],
        *,
        alone: bool,
    ) -> np.memmap:
        """Returns the labels of cached frames, uint8 `[n h w]`; see `labels.cached`."""
        names = frame_names.of_footage(footage, len(frames))
        masks = self._open(footage.name, names, footage.size, alone)
        return labels.cached(
            masks,
            frames,
            name=footage.name,
            view=window,
            options=(self.coding, self.background),
        )

    def replace(self, recording: Recording, *, alone: bool) -> Recording:
        """Returns a rendered recording with these masks instead of its true ones.

        They may have been made of larger frames of the same view. Poses of objects,
        which go by the true labels, are left out.

        Raises:
            DataError: masks are missing or cannot be used.
        """
        names = [f"{index:06d}" for index in range(len(recording))]
        path = mask_files.find(self.root, recording.name, alone=alone)
        size = recording.size
        if path.is_dir():
            size = image_file.size_of(path / f"{name}.png" for name in names)
        masks = self._open(recording.name, names, size, alone)
        whole = view.View(0, 0, size, recording.size)
        maps = labels.maps(masks, recording.name, whole.labels)
        return dataclasses.replace(
            recording, instance_labels=np.stack(list(maps)), world_from_object=None
        )

    def _open(
        self, name: str, names: list[str], size: tuple[int, int], alone: bool
    ) -> mask_files.MaskFiles:
        path: pathlib.Path = mask_files.find(self.root, name, alone=alone)
        return mask_files.open_masks(
            path, names, size=size, background=self.background, coding=self.coding
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
