"""What a build is asked for."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from mdm_jax import sources
from mdm_jax.masks import label_images, mask_set
from mdm_jax.prepared import layout, records
from mdm_jax.sources import own_video


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What a build is asked for; see the flags of `datasets/build.py`.

    Attributes:
        annotation: in JSON how tracks are made of `masks`, which are of single frames
            then; None to take `masks` as they are.
    """

    name: str
    source: str
    data_dir: str
    size: tuple[int, int] = (128, 416)
    crop: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
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
        names = ("video", *sources.READERS)
        if self.name not in names:
            raise ValueError(f"NAME must be one of {', '.join(names)}; got {self.name}")
        if self.image_format not in records.IMAGE_FORMATS:
            raise ValueError(
                f"image_format must be jpeg or png, got {self.image_format!r}"
            )
        if self.evaluation_split not in ("", "test", "validation"):
            raise ValueError(
                "evaluation_split must be test, validation or empty, got"
                f" {self.evaluation_split!r}"
            )
        if self.held_out and not self.evaluation_split:
            raise ValueError(
                "held_out names a list of frames to evaluate on: say with"
                " evaluation_split whether for test or validation"
            )
        if self.frames_per_shard < 1:
            raise ValueError(
                f"frames_per_shard must be at least 1, got {self.frames_per_shard}"
            )
        if len(self.size) != 2 or min(self.size) < own_video.MIN_SIDE:
            raise ValueError(
                f"size is HEIGHTxWIDTH, at least {own_video.MIN_SIDE} pixels each,"
                f" got {self.size}"
            )
        if self.mask_coding not in label_images.CODINGS:
            raise ValueError(
                f"mask_coding must be one of {', '.join(label_images.CODINGS)}, got"
                f" {self.mask_coding!r}"
            )
        if self.annotation is not None and not self.masks:
            raise ValueError(
                "annotate makes tracks of masks of single frames: name these with masks"
            )
        if not self.source:
            raise ValueError("source is missing: the folder of the raw data")

    @property
    def annotated(self) -> pathlib.Path:
        """Where tracks go that are made on the way, of the frames in full size."""
        return pathlib.Path(self.data_dir).expanduser() / self.name / "annotated"

    @property
    def labels(self) -> mask_set.MaskSet | None:
        """Where the labels are; None for those of the source."""
        if self.annotation is not None:
            return mask_set.MaskSet(root=str(self.annotated), coding="plain")
        # It has the fields of `config.dataset`.
        return mask_set.from_config(self)

    @property
    def folder(self) -> pathlib.Path:
        """Where the data set goes: DATA_DIR/NAME/CONFIG/VERSION, as TFDS has it."""
        config = f"{self.size[0]}x{self.size[1]}"
        if self.split:
            # A list file gives its name, without its place.
            config += f"-{pathlib.PurePath(self.split).stem}"
        root = pathlib.Path(self.data_dir).expanduser()
        return root / self.name / config / layout.VERSION
