"""A recording: the frames of one video, with whatever is known to be true of them.

Arrays are numpy arrays or memory maps whose first axis is the frame. From depth, camera
poses and object poses follow the true camera motion, the true motion of every pixel and
the optical flow between any two frames; they are derived here, in float64, and never
stored.

Camera frames are x right, y down, z forward; pixel centres lie at integers; depth is
the z coordinate, in metres, 0 where unknown.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

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
        matrix, (height, width) = self.intrinsics, self.size
        (fx, skew, cx), (_, fy, cy), last = matrix.tolist()
        good_form = skew == 0 and matrix[1, 0] == 0 and last == [0.0, 0.0, 1.0]
        if not good_form or not np.isfinite(matrix).all() or min(fx, fy) <= 0:
            self._fail(
                "intrinsics",
                "[[fx 0 cx] [0 fy cy] [0 0 1]] with positive focal lengths",
                f"{matrix.tolist()}",
            )
        if max(width, height) > 4 and max(fx, fy, cx, cy) <= 4:
            self._fail(
                "intrinsics",
                "pixels",
                f"fx={fx:g} cx={cx:g} for width {width}",
                "did you pass a normalised matrix? Multiply by the image size",
            )
        if not (0 <= cx <= width - 1 and 0 <= cy <= height - 1):
            self._fail(
                "intrinsics",
                f"a principal point inside the {width}x{height} image",
                f"cx={cx:g} cy={cy:g}",
                "scale the matrix with the frames",
            )

    def _check_poses(self):
        if self.world_from_camera is not None:
            wrong = ~_is_rigid(self.world_from_camera)
            if wrong.any():
                self._fail(
                    "world_from_camera",
                    "rigid 4x4 transforms",
                    f"something else at frame {int(np.argmax(wrong))}",
                )
        if self.world_from_object is not None:
            absent = np.isnan(self.world_from_object).all(axis=(-2, -1))
            wrong = ~(_is_rigid(self.world_from_object) | absent)
            if wrong.any():
                frame, index = np.argwhere(wrong)[0]
                self._fail(
                    "world_from_object",
                    "rigid 4x4 transforms, or NaN where an object is absent",
                    f"something else at frame {frame}, label {index + 1}",
                )


def _is_rigid(matrices: Array) -> Array:
    finite = np.all(np.isfinite(matrices), axis=(-2, -1))
    matrices = np.where(finite[..., None, None], matrices, 0.0)
    rotation = matrices[..., :3, :3]
    product = rotation @ np.swapaxes(rotation, -1, -2)
    orthonormal = np.abs(product - np.eye(3)).max(axis=(-2, -1)) < 1e-4
    last_row = np.all(matrices[..., 3, :] == np.array([0, 0, 0, 1.0]), axis=-1)
    return np.asarray(orthonormal & last_row & (np.linalg.det(rotation) > 0))


class RigidMotion(NamedTuple):
    """Where the point seen at each target pixel is when the source frame is taken.

    Attributes:
        points_source: `[h w 3]`, the moved point in the source camera's frame.
        residual_translation: `[h w 3]`, object motion: what egomotion does not explain
            of `points_source`, in the source camera's axes.
        known: bool `[h w]`, depth is known and so is the object's pose in both frames.
            Elsewhere the residual is 0 and the point moves with the background.
    """

    points_source: Float[Array, "h w 3"]
    residual_translation: Float[Array, "h w 3"]
    known: Bool[Array, "h w"]


def camera_motion(recording: Recording, target: int, source: int) -> Array:
    """Returns the true `source_from_target` of the camera, float64 `[4 4]`.

    Raises:
        ValueError: the recording has no camera poses.
    """
    poses = _required(recording, "world_from_camera")
    return _inverse(poses[source]) @ poses[target]


def rigid_motion(recording: Recording, target: int, source: int) -> RigidMotion:
    """Returns the true motion of every target pixel's point, in float64.

    With `(R, t)` the camera's `source_from_target`, the residual translation of a point
    X is `X_source - (R X_target + t)`, zero for whatever stands still in the world.

    Raises:
        ValueError: the recording lacks depth, intrinsics or camera poses.
    """
    depth = np.asarray(_required(recording, "depth")[target], np.float64)
    points = unproject(depth, _required(recording, "intrinsics"))
    egomotion = camera_motion(recording, target, source)
    points_source = _transform(egomotion, points)
    residual = np.zeros_like(points)
    known = depth > 0
    if recording.instance_labels is None or recording.world_from_object is None:
        return RigidMotion(points_source, residual, known)
    labels = np.asarray(recording.instance_labels[target])
    world_from_camera = _required(recording, "world_from_camera")
    for label in np.unique(labels[labels > 0]):
        pixels = labels == label
        if label > recording.world_from_object.shape[1]:
            known = known & ~pixels
            continue
        object_poses = recording.world_from_object[:, label - 1]
        if np.array_equal(object_poses[source], object_poses[target]):
            continue  # Parked: exactly zero, not zero up to rounding.
        world_motion = object_poses[source] @ _inverse(object_poses[target])
        if not np.isfinite(world_motion).all():
            known = known & ~pixels
            continue
        motion = (
            _inverse(world_from_camera[source])
            @ world_motion
            @ world_from_camera[target]
        )
        moved = _transform(motion, points[pixels])
        residual[pixels] = moved - points_source[pixels]
        points_source[pixels] = moved
    return RigidMotion(points_source, residual, known)


def optical_flow(
    recording: Recording, target: int, source: int
) -> Float[Array, "h w 2"]:
    """Returns the true displacement (x, y) of each target pixel, in pixels.

    It holds for occluded points too. NaN where depth or an object's motion is unknown,
    and where the point lies behind the source camera.
    """
    points, _, known = rigid_motion(recording, target, source)
    flow = displacement(points, _required(recording, "intrinsics"))
    return np.where(known[..., None], flow, np.nan)


def displacement(
    points_source: Float[Array, "h w 3"], intrinsics: Array
) -> Float[Array, "h w 2"]:
    """Returns how far (x, y) from its pixel each point is seen by the source, pixels.

    NaN where it lies behind the camera. In float64.
    """
    height, width = points_source.shape[:2]
    matrix = np.asarray(intrinsics, np.float64)
    z = points_source[..., 2]
    visible = z > 1e-6
    safe_z = np.where(visible, z, 1.0)
    x = matrix[0, 0] * points_source[..., 0] / safe_z + matrix[0, 2]
    y = matrix[1, 1] * points_source[..., 1] / safe_z + matrix[1, 2]
    flow = np.stack([x - np.arange(width), y - np.arange(height)[:, None]], axis=-1)
    return np.where(visible[..., None], flow, np.nan)


def moving_mask(
    recording: Recording, target: int, source: int, threshold: float = 0.05
) -> Bool[Array, "h w"]:
    """Returns the pixels whose point moves by more than `threshold` metres by itself."""
    residual = rigid_motion(recording, target, source).residual_translation
    return np.linalg.norm(residual, axis=-1) > threshold


def _required(recording: Recording, field: str) -> Array:
    value = getattr(recording, field)
    if value is None:
        raise ValueError(
            f"recording {recording.name!r} has no {field}: true motion needs depth, "
            "intrinsics and camera poses"
        )
    return value


def _inverse(pose: Array) -> Array:
    rotation = pose[:3, :3].T
    result = np.eye(4)
    result[:3, :3] = rotation
    result[:3, 3] = -rotation @ pose[:3, 3]
    return result


def _transform(pose: Array, points: Array) -> Array:
    return points @ pose[:3, :3].T + pose[:3, 3]


def unproject(depth: Float[Array, "h w"], intrinsics: Array) -> Float[Array, "h w 3"]:
    """Returns the points seen at the pixels, in the camera's frame, in float64."""
    depth = np.asarray(depth, np.float64)
    matrix = np.asarray(intrinsics, np.float64)
    height, width = depth.shape
    x = (np.arange(width) - matrix[0, 2]) / matrix[0, 0]
    y = (np.arange(height) - matrix[1, 2]) / matrix[1, 1]
    return np.stack([x[None, :] * depth, y[:, None] * depth, depth], axis=-1)
