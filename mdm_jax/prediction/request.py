"""What a user asks of a prediction, apart from the input and the output folder."""

from __future__ import annotations

import dataclasses

from mdm_jax.geometry import view as view_lib

KINDS = ("depth_png", "depth_npz", "motion_npz", "masks", "video")
FITS = ("", *view_lib.FITS)
MAP_SIZES = ("input", "network")


@dataclasses.dataclass(frozen=True)
class Request:
    """The options of a prediction; those of the command line have the same names.

    At most one of `camera_height`, `speed` and `depths` may be given. Without any,
    depth is relative.

    Attributes:
        intrinsics: of the original frames, see `intrinsics_file`; empty for those of
            the run, or of a `cam.txt` beside the frames.
        fit: `crop` cuts frames to the aspect ratio of the network's images; `stretch`
            shows all of them; empty for what was done in training.
        masks: folder or file with instance masks; empty for none.
        batch_size: frames predicted at a time.
        fps: frames per second; None for the frame rate of the video.
        camera_height: height of the camera above the ground, metres.
        speed: metres per second, or a file with one number per frame.
        depths: file of lines `u v depth` (first frame) or `frame u v depth`, in pixels
            and metres.
        save: some of `KINDS`.
        maps_at: size of the maps: of the `input`, or of the `network`'s images.
        point_clouds: `middle`, `none`, or frame numbers separated by commas.
        overwrite: replace predictions made with other settings.

    Raises:
        ValueError: an option has no meaning; the message names it.
    """

    intrinsics: str = ""
    fit: str = ""
    masks: str = ""
    batch_size: int = 8
    fps: float | None = None
    camera_height: float | None = None
    speed: float | str | None = None
    depths: str | None = None
    save: tuple[str, ...] = KINDS
    maps_at: str = "input"
    point_clouds: str = "middle"
    overwrite: bool = False

    def __post_init__(self):
        object.__setattr__(self, "save", tuple(self.save))
        for name, value, choices in (
            *(("save", kind, KINDS) for kind in self.save),
            ("fit", self.fit, FITS),
            ("maps_at", self.maps_at, MAP_SIZES),
        ):
            if value not in choices:
                raise ValueError(
                    f"--{name} expects {', '.join(choices)}, got {value!r}"
                )
        if self.batch_size < 1:
            raise ValueError(f"--batch_size expects 1 or more, got {self.batch_size}")
        for name, value in (("fps", self.fps), ("camera_height", self.camera_height)):
            if value is not None and not value > 0:
                raise ValueError(f"--{name} expects more than 0, got {value}")
        scales = [
            f"--{name}"
            for name in ("camera_height", "speed", "depths")
            if getattr(self, name) is not None
        ]
        if len(scales) > 1:
            raise ValueError(
                f"the scale follows from one measurement, got {' and '.join(scales)}:"
                " give only one"
            )
        self.cloud_frames(1)

    def cloud_frames(self, num_frames: int) -> tuple[int, ...]:
        """Returns the numbers of the frames that get a point cloud."""
        if self.point_clouds in ("", "none"):
            return ()
        if self.point_clouds == "middle":
            return (num_frames // 2,)
        try:
            return tuple(int(word) for word in self.point_clouds.split(","))
        except ValueError:
            raise ValueError(
                "--point_clouds expects `middle`, `none` or frame numbers, as in 0,40;"
                f" got {self.point_clouds!r}"
            ) from None
