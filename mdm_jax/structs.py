"""The values that cross layers.

Every value is a frozen dataclass and a JAX pytree. Shapes are written with the axes
`b` batch, `t` time, `n` directed frame pairs, `k` slots for instances, `h w` image, and
`*` any leading axes.
Transforms are named `a_from_b`: they map a point given in frame b to frame a.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

Array = jax.Array


@flax.struct.dataclass
class Pose:
    """A rigid transform `X -> rotation @ X + translation`, translation in depth units.

    Attributes:
        rotation: `[* 3 3]`.
        translation: `[* 3]`.
    """

    rotation: Array
    translation: Array


@flax.struct.dataclass
class Motion:
    """The rigid transform `source_from_target` of each target pixel's 3D point.

    Ego-only motion, egomotion plus a residual field and painted instance poses are all
    values of this type.

    Attributes:
        rotation: broadcastable to `[* h w 3 3]`.
        translation: broadcastable to `[* h w 3]`.
    """

    rotation: Array
    translation: Array


@flax.struct.dataclass
class Warped:
    """A source image seen from the target camera.

    Attributes:
        image: `[h w c]`, the sampled source image; border colours where not `valid`.
        depth: `[h w]`, depth of the moved point in the source camera frame.
        valid: bool `[h w]`, the point lies in front of the source camera and inside
            its image.
        pixels: `[h w 2]`, source pixel (x, y) of each target pixel, clamped to the
            image.
    """

    image: Array
    depth: Array
    valid: Array
    pixels: Array


@flax.struct.dataclass
class Batch:
    """A batch of clips of consecutive frames, with optional ground truth.

    Attributes:
        frames: float `[b t h w 3]` in [0, 1].
        intrinsics: `[b 3 3]`, in pixels of these frames (pixel centres at integers).
        instance_labels: uint8 `[b t h w]`, 0 for background, otherwise ids that persist
            over the clip; None where unknown.
        depth: `[b t h w]` in metres, 0 where unknown; None where unknown everywhere.
        world_from_camera: `[b t 4 4]`; None where unknown.
        pair_inverse_depth: `[b n h w]`, triangulated 1 / depth of the target of each
            directed pair, in units of the pair's baseline; None without two-view
            geometry, like the other pair fields. Pairs are in the order of
            `methods.frame_pairs`.
        pair_weight: `[b n h w]` in [0, 1), 0 where the depth is not trusted.
        pair_rotation: `[b n 3 3]`, source_from_target; zeros where unknown.
        pair_direction: `[b n 3]`, direction of its translation; zeros where unknown.
        video_index: int32 `[b]`, the training recording that the clip comes from; -1
            for none of them.
        pixel_map: `[b 2 2]`, how random crops and flips moved pixels: row 0 holds the
            factor and the offset of `x = factor * x_recording + offset`, in pixels, row
            1 those of y; None where nothing was cropped or flipped.
    """

    frames: Array
    intrinsics: Array
    instance_labels: Array | None = None
    depth: Array | None = None
    world_from_camera: Array | None = None
    pair_inverse_depth: Array | None = None
    pair_weight: Array | None = None
    pair_rotation: Array | None = None
    pair_direction: Array | None = None
    video_index: Array | None = None
    pixel_map: Array | None = None


@flax.struct.dataclass
class Objects:
    """Motion of single objects, in `k` slots for each of `n` directed pairs of frames.

    The pose P of an object maps its points, in the *target* camera's frame, from the time
    of the target to the time of the source: the motion that a camera at rest would see.
    The egomotion E follows it, `source_from_target = E P`.

    Attributes:
        labels: int32 `[b n k]`, the object in each slot, an id of
            `Batch.instance_labels`; 0 for an empty slot.
        pose: P, `[b n k ...]`; the identity for an empty slot.
        center: `[b n k 3]`, mean of the object's visible points in the target.
        displacement: `[b n k 3]`, from `center` to the mean of the object's visible
            points in the stabilized source; measured, without gradient.
        measured: bool `[b n k]`, the object is visible in both, so that these two exist.
        regions: int32 `[b n h w]`, 1 + the slot of each target pixel; 0 for no slot.
        background: bool `[b n h w]`, the target pixel belongs to no instance, with or
            without a slot.
        view: the stabilized source, `[b n h w ...]`: warped by the inverse of the
            egomotion to the target's view, with depth in the target camera's frame;
            without gradient.
        view_labels: uint8 `[b n h w s]`, labels of the source pixels that each pixel of
            the view interpolates.
        height: `[]`, learned height of an object, in depth units.
        num_candidates: int32 `[b]`, instances visible in both frames of adjacent pairs.
        num_dropped: int32 `[b]`, those of them without a slot.
    """

    labels: Array
    pose: Pose
    center: Array
    displacement: Array
    measured: Array
    regions: Array
    background: Array
    view: Warped
    view_labels: Array
    height: Array
    num_candidates: Array
    num_dropped: Array


@flax.struct.dataclass
class Pairs:
    """Motion between the frames of clips, for `n` directed pairs of frames.

    Pair i explains frame `target_index[i]` by sampling frame `source_index[i]`.

    Attributes:
        egomotion: `source_from_target` of the camera, `[b n ...]`.
        motion: total `source_from_target` motion, `[b n h w ...]`.
        residual_translation: `[b n h w 3]`, object motion: the part of
            `motion.translation` that egomotion does not explain.
        target_index: frame index of each pair's target.
        source_index: frame index of each pair's source.
        objects: motion of single objects; None for methods without object poses.
    """

    egomotion: Pose
    motion: Motion
    residual_translation: Array
    target_index: tuple[int, ...] = flax.struct.field(pytree_node=False)
    source_index: tuple[int, ...] = flax.struct.field(pytree_node=False)
    objects: Objects | None = None


@flax.struct.dataclass
class Prediction:
    """All outputs of a method for a batch.

    Attributes:
        depth: `[b t h w]`, positive, up to one global scale.
        intrinsics: `[b 3 3]`, given or learned, in pixels.
        pairs: motion between frames; None for clips of a single frame.
    """

    depth: Array
    intrinsics: Array
    pairs: Pairs | None = None

    def require_pairs(self) -> Pairs:
        """Returns the pairs.

        Raises:
            ValueError: the clips have a single frame.
        """
        if self.pairs is None:
            raise ValueError("motion needs clips of at least two frames, got one")
        return self.pairs


def batch_from_arrays(arrays: Mapping[str, Any]) -> Batch:
    """Returns the Batch of a loader's dictionary; 8-bit frames become [0, 1] floats.

    Call it inside jit: 8-bit frames need a quarter of the transfer to the device.

    Args:
        arrays: keyed by the field names of `Batch`; unknown keys are an error.
    """
    arrays = dict(arrays)
    frames = jnp.asarray(arrays.pop("frames"))
    if frames.dtype == jnp.uint8:
        frames = frames.astype(jnp.float32) / 255.0
    return Batch(frames=frames, **arrays)
