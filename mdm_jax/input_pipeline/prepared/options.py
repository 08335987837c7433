"""What a build is asked for."""

from __future__ import annotations

import dataclasses
import pathlib

from mdm_jax.input_pipeline import footage as footage_lib
from mdm_jax.input_pipeline import readers
from mdm_jax.input_pipeline.prepared import layout, records


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What a build is asked for; see the flags of `datasets/build.py`."""

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

    def __post_init__(self):
        names = ("video", *readers.READERS)
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
        if len(self.size) != 2 or min(self.size) < footage_lib.MIN_SIDE:
            raise ValueError(
                f"size is HEIGHTxWIDTH, at least {footage_lib.MIN_SIDE} pixels each,"
                f" got {self.size}"
            )
        if not self.source:
            raise ValueError("source is missing: the folder of the raw data")

    @property
    def folder(self) -> pathlib.Path:
        """Where the data set goes: DATA_DIR/NAME/CONFIG/VERSION, as TFDS has it."""
        config = f"{self.size[0]}x{self.size[1]}"
        if self.split:
            # A list file gives its name, without its place.
            config += f"-{pathlib.PurePath(self.split).stem}"
        root = pathlib.Path(self.data_dir).expanduser()
        return root / self.name / config / layout.VERSION
