"""The options of a build."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from mdm_jax import sources
from mdm_jax.geometry import view
from mdm_jax.masks import label_images, mask_set
from mdm_jax.prepared import layout, records
from mdm_jax.sources import own_video


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a build; the flags of `mdm_jax.prepare` describe them.

    Attributes:
        annotation: as JSON, how object tracks are made from `masks` of single frames;
            None if `masks` already hold tracks.
    """

    name: str
    source: str
    data_dir: str
    size: tuple[int, int] = (128, 416)
    crop: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    fit: str = ""
    split: str = ""
    evaluation_split: str = ""
    held_out: str = ""
    with_truth: bool = True
    intrinsics: str = ""
    image_format: str = "jpeg"
    on_error: str = "raise"
    frames_per_shard: int = 1024
    masks: str = ""
    mask_coding: str = "auto"
    mask_background: int = 0
    annotation: Mapping[str, Any] | None = None

    def __post_init__(self):
        choices = {
            "NAME": (self.name, ("video", *sources.READERS)),
            "fit": (self.fit, ("", *view.FITS)),
            "image_format": (self.image_format, records.IMAGE_FORMATS),
            "evaluation_split": (self.evaluation_split, ("test", "validation", "")),
            "mask_coding": (self.mask_coding, label_images.CODINGS),
        }
        for name, (value, allowed) in choices.items():
            if value not in allowed:
                expected = ", ".join(choice or "empty" for choice in allowed)
                raise ValueError(f"{name} must be one of {expected}; got {value!r}")
        if self.held_out and not self.evaluation_split:
            raise ValueError(
                "held_out names a list of evaluation frames: choose with"
                " evaluation_split whether they are for test or validation"
            )
        if self.frames_per_shard < 1:
            raise ValueError(
                f"frames_per_shard must be at least 1, got {self.frames_per_shard}"
            )
        if len(self.size) != 2 or min(self.size) < own_video.MIN_SIDE:
            raise ValueError(
                f"size is HEIGHTxWIDTH, at least {own_video.MIN_SIDE} pixels each, got"
                f" {self.size}"
            )
        if self.annotation is not None and not self.masks:
            raise ValueError(
                "annotate needs masks of single frames: name these with masks"
            )
        if not self.source:
            raise ValueError("source is missing: the folder of the raw data")

    @property
    def annotated(self) -> pathlib.Path:
        """Folder of the object tracks that the build makes, at the original size."""
        return pathlib.Path(self.data_dir).expanduser() / self.name / "annotated"

    @property
    def labels(self) -> mask_set.MaskSet | None:
        """The mask files; None for the labels of the source."""
        if self.annotation is not None:
            return mask_set.MaskSet(root=str(self.annotated), coding="plain")
        # The mask options are named as in `config.dataset`.
        return mask_set.from_config(self)

    @property
    def folder(self) -> pathlib.Path:
        """Folder of the data set: DATA_DIR/NAME/CONFIG/VERSION, as in TFDS."""
        config = f"{self.size[0]}x{self.size[1]}"
        if self.split:
            # Of a list file, only the name.
            config += f"-{pathlib.PurePath(self.split).stem}"
        root = pathlib.Path(self.data_dir).expanduser()
        return root / self.name / config / layout.VERSION
