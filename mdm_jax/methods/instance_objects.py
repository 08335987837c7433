"""The objects of frame pairs, by their masks, and how each of them moves.

Everything that method B does with instances before its objective: the largest get a
slot, the camera's motion is undone, the object net is shown one object at a time, in
the target and in what is left of the source, and its answers become poses.

Notation as in `instance_motion`: E is the camera's motion, P^n that of the n-th object.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import ml_collections

from mdm_jax import settings
from mdm_jax.geometry import pose as pose_lib
from mdm_jax.geometry import rotation as rotation_lib
from mdm_jax.methods import (
    frame_pairs,
    instance_slots,
    instance_views,
    object_poses,
    object_zoom,
)
from mdm_jax.networks import pose_net
from mdm_jax.structs import Batch, Objects, Pose, Prediction

Array = jax.Array
# Least side of a window, pixels: in smaller ones nothing can be seen any more, and a
# ResNet's last maps are one pixel, of which its norms over space leave nothing.
_LEAST_ZOOM = {"conv": 8, "resnet": 64}
# Colours of target and stabilized source, and what to see of each.
ObjectNet = Callable[[Array, Array, Array, Array], pose_net.PoseOutput]


def check(config: ml_collections.ConfigDict) -> None:
    """Checks the fields of a config that say how objects are found.

    Raises:
        ValueError: an option has a value that does not exist.
    """
    for field, allowed in {
        "projection": ("forward", "inverse"),
        "splat_mode": ("nearest", "soft"),
        "rotation_center": ("camera", "object"),
    }.items():
        settings.choice(config, f"instance_motion.{field}", allowed)
    options = config.instance_motion
    if not 1 <= options.max_instances <= 255:
        raise ValueError(
            "config.instance_motion.max_instances expects 1 to 255 (labels are 8 bit), "
            f"got {options.max_instances}"
        )
    least = _LEAST_ZOOM.get(config.instance_motion.object_pose, 0)
    if options.object_zoom and options.object_zoom < least:
        raise ValueError(
            f"config.instance_motion.object_zoom expects 0 or at least {least} pixels "
            f"with instance_motion.object_pose={config.instance_motion.object_pose}, got "
            f"{options.object_zoom}"
        )
    if options.object_zoom and options.rotation_center != "object":
        raise ValueError(
            "config.instance_motion.object_zoom finds how an object's centre moves: it "
            "expects config.instance_motion.rotation_center=object, got "
            f"{options.rotation_center!r}"
        )
    if options.clips_per_pack < 1 or options.instance_budget < 0:
        raise ValueError(
            "config.instance_motion expects clips_per_pack >= 1 and instance_budget >= "
            f"0, got {options.clips_per_pack} and {options.instance_budget}"
        )


def find(
    object_net: ObjectNet,
    batch: Batch,
    labels: Array,
    depth: Array,
    egomotion: Pose,
    *,
    height: Array,
    options: ml_collections.FrozenConfigDict,
) -> Objects:
    """Returns the motion of the instances that find a slot (Lee et al., eqs. 7 to 10).

    Args:
        object_net: see `networks.pose_net`; called once, with all of them.
        batch: the frames, whose labels may be unknown.
        labels: uint8 `[b t h w]`.
        depth: `[b t h w]`; only measured here, not learned from.
        egomotion: E, `[b n ...]`.
        height: learned height of objects.
        options: `config.instance_motion`.
    """
    indices = frame_pairs.of_clip(batch.frames.shape[1])
    target, source = jnp.array(indices.target), jnp.array(indices.source)
    num_clips, num_pairs = batch.frames.shape[0], len(indices.target)
    target_labels = labels[:, target]

    areas = instance_slots.areas(labels)
    chosen = instance_slots.choose(
        areas[:, :-1],
        areas[:, 1:],
        max_instances=options.max_instances,
        min_pixels=options.min_instance_pixels,
    )
    packing = instance_slots.pack(
        chosen.labels > 0,
        budget=options.instance_budget,
        clips_per_pack=options.clips_per_pack,
    )
    slot_labels = instance_slots.both_directions(
        jnp.where(packing.kept, chosen.labels, 0)
    )
    num_found = jnp.sum(chosen.num_candidates, axis=-1)
    num_kept = jnp.sum(packing.kept, axis=(-2, -1), dtype=jnp.int32)

    # I^fw_{r->t} and M^n,fw_{r->t}, of the whole frame; the target's geometry too
    # is only measured here, not learned from.
    pair_intrinsics = jnp.repeat(batch.intrinsics, num_pairs, axis=0)
    target_depth = jax.lax.stop_gradient(frame_pairs.flatten(depth[:, target]))
    view, view_labels = jax.vmap(
        functools.partial(
            instance_views.stabilize,
            projection=options.projection,
            alpha=options.splat_alpha,
            mode=options.splat_mode,
            refine=options.splat_refine,
        )
    )(
        frame_pairs.flatten(batch.frames[:, source]),
        frame_pairs.flatten(depth[:, source]),
        frame_pairs.flatten(labels[:, source]),
        target_depth,
        jax.tree.map(frame_pairs.flatten, egomotion),
        pair_intrinsics,
    )
    regions = instance_slots.regions(target_labels, slot_labels)
    center, displacement, measured = object_poses.measure(
        frame_pairs.flatten(regions),
        frame_pairs.flatten(slot_labels),
        object_poses.points(target_depth, pair_intrinsics),
        view_labels,
        object_poses.points(view.depth, pair_intrinsics),
    )

    def by_clip(x: Array) -> Array:
        return x.reshape(num_clips, num_pairs, *x.shape[1:])

    # P^n = O(M^n_t I_t, M^n,fw I^fw), for the packed slots only.
    label = instance_slots.gather_slots(packing, slot_labels)[:, None, None]
    seen = instance_slots.gather_pairs(packing, by_clip(view_labels))
    in_target = instance_slots.gather_pairs(packing, target_labels)
    center, displacement, measured = map(by_clip, (center, displacement, measured))
    angles, translation = _answers(
        object_net,
        instance_slots.gather_pairs(packing, batch.frames[:, target]),
        instance_slots.gather_pairs(packing, by_clip(view.image)),
        (in_target == label) & (label != 0),
        jnp.any(seen == label[..., None], axis=-1) & (label != 0),
        center=instance_slots.gather_slots(packing, center),
        intrinsics=instance_slots.gather_pairs(packing, by_clip(pair_intrinsics)),
        zoom=options.object_zoom,
    )
    angles = instance_slots.scatter(packing, angles)
    translation = instance_slots.scatter(packing, translation)
    pose = pose_lib.from_euler(angles, translation)
    if options.rotation_center == "object":
        # X' = R (X - c) + c + d
        turned = rotation_lib.apply(pose.rotation, center)
        pose = Pose(pose.rotation, translation + center - turned)
    if options.cyclic_average:
        reverse = object_poses.reverse_motion(egomotion, pose)
        pose = object_poses.average(pose, pose_lib.inverse(reverse))
    # Empty slots do not move, exactly.
    empty = slot_labels == 0
    pose = Pose(
        rotation=jnp.where(
            empty[..., None, None], jnp.eye(3)[None, None, None], pose.rotation
        ),
        translation=jnp.where(empty[..., None], 0.0, pose.translation),
    )
    return Objects(
        labels=slot_labels,
        pose=pose,
        center=center,
        displacement=displacement,
        measured=measured,
        regions=regions,
        background=target_labels == 0,
        view=jax.tree.map(by_clip, view),
        view_labels=by_clip(view_labels),
        height=height,
        num_candidates=num_found,
        num_dropped=num_found - num_kept,
    )


def _answers(
    object_net: ObjectNet,
    target_image: Array,
    view_image: Array,
    target_mask: Array,
    view_mask: Array,
    *,
    center: Array,
    intrinsics: Array,
    zoom: int,
) -> tuple[Array, Array]:
    """Returns Euler angles and translation of packed slots, from images or windows."""
    if not zoom:
        output = object_net(target_image, view_image, target_mask, view_mask)
        return output.angles, output.translation
    window = object_zoom.around(target_mask | view_mask)

    def shown(image: Array, mask: Array) -> tuple[Array, Array]:
        both = jnp.concatenate([image, mask[..., None].astype(image.dtype)], axis=-1)
        both = object_zoom.crop(both, window, zoom)
        return both[..., :3], both[..., 3] > 0.5

    in_target, in_view = shown(target_image, target_mask), shown(view_image, view_mask)
    output = object_net(in_target[0], in_view[0], in_target[1], in_view[1])
    translation = object_zoom.translation(
        output.translation, window, center, intrinsics
    )
    return output.angles, translation


def counts(prediction: Prediction) -> dict[str, Array]:
    """Returns how many instances a clip has, and how many of them found no slot.

    Both are means over the batch's clips, of all adjacent pairs of frames together.
    What is dropped moves with nothing and is in no loss: where it is many, raise
    `instance_motion.max_instances` or `instance_budget`.
    """
    objects = prediction.require_pairs().objects
    if objects is None:
        return {"instances/found": jnp.zeros(()), "instances/dropped": jnp.zeros(())}
    return {
        "instances/found": jnp.mean(objects.num_candidates.astype(jnp.float32)),
        "instances/dropped": jnp.mean(objects.num_dropped.astype(jnp.float32)),
    }
