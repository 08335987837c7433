"""The source frame as the target camera sees it: with the egomotion undone, or rebuilt.

Notation: E is the camera's `source_from_target` and P an object's motion between the two
frames in the target camera's frame, as in `structs.Objects`. A point X of an object in
the target is at `P X` when the source is taken, and at `E P X` in the source camera's
frame. So the *stabilized* view, the source warped by `E^-1`, shows an object moved by P
alone.

Functions take one image, except `of_prediction`; callers `jax.vmap` over directed pairs.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import flax.struct
import jax
import jax.numpy as jnp

from mdm_jax.geometry import label_maps, pose, sampling, warp
from mdm_jax.geometry import motion as motion_lib
from mdm_jax.methods import frame_pairs, object_poses
from mdm_jax.structs import Batch, Motion, Pose, Prediction, Warped

Array = jax.Array

# A sample of a partly valid image whose valid neighbours weigh less than this is a hole.
_LEAST_WEIGHT = 1e-3


@flax.struct.dataclass
class View:
    """The target rebuilt from the source, with the depths to compare.

    Attributes:
        image: `[h w 3]`, finite; arbitrary where not `valid`.
        sampled_depth: `[h w]`, D^s, the source's depth where the moved point projects; 0
            where unknown.
        computed_depth: `[h w]`, D^c, depth of the moved point, in the same frame.
        valid: bool `[h w]`.
    """

    image: Array
    sampled_depth: Array
    computed_depth: Array
    valid: Array


class Seen(NamedTuple):
    """What is known of one frame.

    Attributes:
        image: `[h w 3]`.
        depth: `[h w]`.
        labels: `[h w]`, instance labels.
    """

    image: Array
    depth: Array
    labels: Array


def stabilize(
    source: Seen,
    target_depth: Array,
    egomotion: Pose,
    intrinsics: Array,
    *,
    projection: str,
    alpha: int,
    mode: str,
    refine: bool,
) -> tuple[Warped, Array]:
    """Returns the source with the camera's motion undone, and the labels it shows.

    Nothing here carries a gradient (Lee et al. 2019, eqs. 7 to 9). The forward warp
    uses the inverse of the E that moves the background, not the net's answer for the
    opposite direction: only then does `E P` map an object's points exactly.

    Args:
        source: the source frame.
        target_depth: `[h w]`.
        egomotion: E.
        intrinsics: `[3 3]`.
        projection: `forward`, by the source's depth; or `inverse`, by the target's,
            which distorts whatever moves (an ablation of the paper).
        alpha: of the forward warp.
        mode: of the forward warp.
        refine: of the forward warp.

    Returns:
        The view, with depth in the target camera's frame, and the labels `[h w 4]` of
        the source pixels that each pixel interpolates.
    """
    source_depth, target_depth, egomotion = jax.lax.stop_gradient(
        (source.depth, target_depth, egomotion)
    )
    target_from_source = pose.inverse(egomotion)
    if projection == "forward":
        view = warp.forward_warp(
            source.image,
            source_depth,
            target_from_source,
            intrinsics,
            alpha=alpha,
            mode=mode,  # pyright: ignore[reportArgumentType]  (checked with the config)
            refine=refine,
        )
    else:
        motion = motion_lib.ego_only(egomotion, _size(target_depth))
        view = warp.inverse_warp(source.image, target_depth, motion, intrinsics)
        points = _unproject_at(source_depth, view.pixels, intrinsics)
        # An inversely warped point lies on the target's ray only if it does not move.
        depth = pose.transform(target_from_source, points)[..., 2]
        view = dataclasses.replace(view, depth=depth, valid=view.valid & (depth > 0))
    labels = label_maps.read(source.labels[..., None], view.pixels)
    labels = jnp.where(view.valid[..., None], labels, 0)
    return jax.lax.stop_gradient((view, labels))


def of_background(
    source_image: Array,
    source_depth: Array,
    target_depth: Array,
    egomotion: Pose,
    intrinsics: Array,
) -> View:
    """Returns the view of a static scene: every point moves by E (eq. 11)."""
    motion = motion_lib.ego_only(egomotion, _size(target_depth))
    return _inverse_view(source_image, source_depth, target_depth, motion, intrinsics)[
        0
    ]


def of_objects(
    view: Warped,
    view_labels: Array,
    target_labels: Array,
    target_depth: Array,
    object_motion: Motion,
    intrinsics: Array,
) -> View:
    """Returns the view of objects: the stabilized view, moved by P (eqs. 12 to 17).

    Next to holes, only the neighbours that are not holes are interpolated.

    Args:
        view: of `stabilize`; without gradient.
        view_labels: `[h w 4]`, of `stabilize`.
        target_labels: `[h w]`, 0 for background. A pixel is valid where its moved point
            projects onto the same object.
        target_depth: `[h w]`.
        object_motion: P of every pixel.
        intrinsics: `[3 3]`.
    """
    known = view.valid[..., None]
    content = jnp.concatenate([view.image, view.depth[..., None]], axis=-1)
    content = jnp.where(known, content, 0.0)
    content = jnp.concatenate([content, known.astype(content.dtype)], axis=-1)
    warped = warp.inverse_warp(content, target_depth, object_motion, intrinsics)
    weight = warped.image[..., 4:]
    seen = weight > _LEAST_WEIGHT
    values = warped.image[..., :4] / jnp.where(seen, weight, 1.0)
    # M^n ceil(M^n,fw->iw)
    landed = label_maps.read(view_labels, jax.lax.stop_gradient(warped.pixels))
    return View(
        image=values[..., :3],
        sampled_depth=values[..., 3],
        computed_depth=warped.depth,
        valid=warped.valid & seen[..., 0] & label_maps.contains(landed, target_labels),
    )


def of_objects_from_source(
    source: Seen,
    target_labels: Array,
    target_depth: Array,
    motion: Motion,
    intrinsics: Array,
) -> View:
    """Returns the view of objects sampled directly in the source, moved by E P.

    It shows what `of_objects` does, interpolated once instead of twice and without holes.

    Args:
        source: the source frame; its depth is used without gradient.
        target_labels: `[h w]`, 0 for background.
        target_depth: `[h w]`.
        motion: E P of every pixel.
        intrinsics: `[3 3]`.
    """
    view, pixels = _inverse_view(
        source.image,
        jax.lax.stop_gradient(source.depth),
        target_depth,
        motion,
        intrinsics,
    )
    landed = label_maps.read(source.labels[..., None], jax.lax.stop_gradient(pixels))
    on_object = label_maps.contains(landed, target_labels)
    return dataclasses.replace(view, valid=view.valid & on_object)


def of_prediction(prediction: Prediction, batch: Batch, *, object_view: str) -> View:
    """Returns the views of the objects of all directed pairs, `[m ...]`.

    Args:
        prediction: with objects.
        batch: with instance labels.
        object_view: `stabilized` (`of_objects`) or `source` (`of_objects_from_source`).
    """
    pairs = prediction.require_pairs()
    objects, labels = pairs.objects, batch.instance_labels
    assert objects is not None
    assert labels is not None
    target, source = jnp.array(pairs.target_index), jnp.array(pairs.source_index)
    intrinsics = jnp.repeat(prediction.intrinsics, len(target), axis=0)
    depth_t = frame_pairs.flatten(prediction.depth[:, target])
    target_labels = frame_pairs.flatten(
        jnp.where(objects.regions > 0, labels[:, target], 0)
    )
    if object_view == "stabilized":
        return jax.vmap(of_objects)(
            jax.tree.map(frame_pairs.flatten, objects.view),
            frame_pairs.flatten(objects.view_labels),
            target_labels,
            depth_t,
            jax.tree.map(frame_pairs.flatten, object_poses.object_motion(objects)),
            intrinsics,
        )
    motion, _ = object_poses.total_motion(
        jax.lax.stop_gradient(pairs.egomotion),
        objects,
        prediction.depth[:, target],
        prediction.intrinsics,
    )
    return jax.vmap(of_objects_from_source)(
        Seen(
            frame_pairs.flatten(batch.frames[:, source]),
            frame_pairs.flatten(prediction.depth[:, source]),
            frame_pairs.flatten(labels[:, source]),
        ),
        target_labels,
        depth_t,
        jax.tree.map(frame_pairs.flatten, motion),
        intrinsics,
    )


def merge(
    background: View, objects: View, is_background: Array, regions: Array
) -> View:
    """Returns the view of the scene (eq. 13); instances without a slot are not valid.

    Args:
        background: of `of_background`.
        objects: of `of_objects` or `of_objects_from_source`.
        is_background: bool `[h w]`, M^0_t.
        regions: int `[h w]`, 0 for pixels in no slot.
    """
    scene = jax.tree.map(
        lambda b, o: jnp.where(
            jnp.expand_dims(is_background, tuple(range(2, b.ndim))), b, o
        ),
        background,
        objects,
    )
    in_slot = is_background | (regions > 0)
    return dataclasses.replace(scene, valid=scene.valid & in_slot)


def _inverse_view(
    source_image: Array,
    source_depth: Array,
    target_depth: Array,
    motion: Motion,
    intrinsics: Array,
) -> tuple[View, Array]:
    """Returns the inversely warped view and the pixels `[h w 2]` sampled for it."""
    warped = warp.inverse_warp(source_image, target_depth, motion, intrinsics)
    # Sampled apart from the colours: only depth needs the gradient, which scatters.
    sampled = sampling.bilinear(source_depth[..., None], warped.pixels).values
    view = View(
        image=warped.image,
        sampled_depth=sampled[..., 0],
        computed_depth=warped.depth,
        valid=warped.valid,
    )
    return view, warped.pixels


def _size(image: Array) -> tuple[int, int]:
    height, width = image.shape
    return height, width


def _unproject_at(depth: Array, pixels: Array, intrinsics: Array) -> Array:
    """Returns `[h w 3]`: the points of a depth map at given coordinates."""
    sampled = sampling.bilinear(depth[..., None], pixels).values
    x = (pixels[..., 0] - intrinsics[0, 2]) / intrinsics[0, 0]
    y = (pixels[..., 1] - intrinsics[1, 2]) / intrinsics[1, 1]
    return jnp.stack([x, y, jnp.ones_like(x)], axis=-1) * sampled
