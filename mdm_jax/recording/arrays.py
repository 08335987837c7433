"""A recording: the decoded frames of one video, with the ground truth that is known.

Arrays are NumPy arrays or memory maps whose first axis is the frame. `true_motion`
derives the motion between two frames from depth, camera poses and object poses.

Camera frames are x right, y down, z forward; pixel centres lie at integers; depth is
the z coordinate, in metres, 0 where unknown.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from mdm_jax.geometry import intrinsics as intrinsics_lib
from mdm_jax.geometry import rigid
from mdm_jax.geometry.view import View
from mdm_jax.sources.source import Source

Array = np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Recording:
    """The frames of one video and, where known, the truth about them.

    Small arrays (intrinsics and poses) are converted to the stated type; large ones
    must have it, because converting would load a memory map.

    Attributes:
        name: names the recording in messages and tables.
        frames: uint8 `[n h w 3]`, RGB.
        intrinsics: float32 `[3 3]`, in pixels of these frames; None where it is to be
            learned.
        depth: float32 `[n h w]`, 0 where unknown.
        world_from_camera: float64 `[n 4 4]`.
        instance_labels: uint8 `[n h w]`, 0 for background, else an id that persists
            over the recording.
        world_from_object: float64 `[n k 4 4]`; `[:, i]` is the pose of the instance
            labelled `i + 1`, NaN in frames where it is absent.
        source: what the frames were decoded from, with as many frames; None where they
            were made otherwise.
        view: crop and resize that made the frames out of those of `source`.
        pair_maps: float16 `[n-s 2 2 h w]`, two-view geometry of each frame with the
            frame s later, made by `two_view.training_pairs`: ahead (earlier, later) and
            behind (later, earlier); inverse depth in units of the baseline, and weight.
        pair_poses: float32 `[n-s 3 4]`, rotation and direction of the translation of
            later_from_earlier, zeros where unknown.
        changes: by a number s of frames, float64 `[n]`: how much each frame differs
            from the one s later (`clips.change`), infinite at the last ones. For those
            s that are not here it is computed when needed.

    Raises:
        ValueError: at construction, naming the field, what was expected and what came.
    """

    name: str
    frames: Array
    intrinsics: Array | None = None
    depth: Array | None = None
    world_from_camera: Array | None = None
    instance_labels: Array | None = None
    world_from_object: Array | None = None
    source: Source | None = None
    view: View | None = None
    pair_maps: Array | None = None
    pair_poses: Array | None = None
    changes: Mapping[int, Array] | None = None

    def __post_init__(self):
        frames = self.frames
        if np.ndim(frames) != 4 or frames.shape[-1] != 3 or 0 in frames.shape:
            self._fail("frames", "a non-empty [n h w 3]", f"shape {np.shape(frames)}")
        if frames.dtype != np.uint8:
            self._fail(
                "frames",
                "uint8",
                f"{frames.dtype}",
                "scale to 0..255 and cast to uint8",
            )
        self._check("depth", frames.shape[:3], np.float32)
        self._check("instance_labels", frames.shape[:3], np.uint8)
        self._convert("intrinsics", np.float32, (3, 3))
        self._convert("world_from_camera", np.float64, (frames.shape[0], 4, 4))
        self._convert("world_from_object", np.float64, (frames.shape[0], None, 4, 4))
        self._check_intrinsics()
        self._check_poses()

    def __len__(self) -> int:
        return self.frames.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frames, in pixels."""
        return self.frames.shape[1], self.frames.shape[2]

    def _fail(self, field, expected, got, advice=""):
        message = f"recording {self.name!r}: {field} expects {expected}, got {got}"
        raise ValueError(f"{message}: {advice}" if advice else message)

    def _check(self, field, shape, dtype):
        value = getattr(self, field)
        if value is None:
            return
        if np.shape(value) != shape:
            self._fail(
                field,
                f"shape {shape} like the frames",
                f"{np.shape(value)}",
                "resize it together with the frames",
            )
        if value.dtype != dtype:
            self._fail(field, f"{np.dtype(dtype)}", f"{value.dtype}", "cast it")

    def _convert(self, field, dtype, shape):
        value = getattr(self, field)
        if value is None:
            return
        value = np.asarray(value, dtype)
        fits = value.ndim == len(shape) and all(
            want in (None, have) for want, have in zip(shape, value.shape)
        )
        if not fits:
            wanted = " ".join("k" if axis is None else str(axis) for axis in shape)
            self._fail(field, f"shape [{wanted}]", f"{list(value.shape)}")
        object.__setattr__(self, field, value)

    def _check_intrinsics(self):
        if self.intrinsics is None:
            return
        try:
            intrinsics_lib.validate(self.intrinsics, size=self.size, cropped=True)
        except ValueError as error:
            raise ValueError(f"recording {self.name!r}: {error}") from error

    def _check_poses(self):
        if self.world_from_camera is not None:
            wrong = ~rigid.is_rigid(self.world_from_camera)
            if wrong.any():
                self._fail(
                    "world_from_camera",
                    "rigid 4x4 transforms",
                    f"something else at frame {int(np.argmax(wrong))}",
                )
        if self.world_from_object is not None:
            absent = np.isnan(self.world_from_object).all(axis=(-2, -1))
            wrong = ~(rigid.is_rigid(self.world_from_object) | absent)
            if wrong.any():
                frame, index = np.argwhere(wrong)[0]
                self._fail(
                    "world_from_object",
                    "rigid 4x4 transforms, or NaN where an object is absent",
                    f"something else at frame {frame}, label {index + 1}",
                )
