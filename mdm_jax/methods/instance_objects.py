"""The objects of frame pairs, given by masks, and the motion of each of them.

Everything that method B does with instances before its objective: the largest get a
slot, the egomotion is undone, the object net sees one object at a time, in the target
and in the stabilized source, and its answers become poses.

Notation as in `instance_motion`: E is the camera's motion, P^n that of the n-th object.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

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
from mdm_jax.methods.instance_views import Seen
from mdm_jax.networks.motion_net import FramePairs, MotionNet
from mdm_jax.structs import Batch, Objects, Pose, Prediction, Warped

Array = jax.Array
# Least side of a window, pixels: smaller ones show nothing, and a ResNet's last feature
# maps would have one pixel, which its norms over space turn into zeros.
_LEAST_ZOOM = {"conv": 8, "resnet": 64}


def check(config: ml_collections.ConfigDict) -> None:
    """Checks the fields of a config that concern objects.

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
            "config.instance_motion.object_zoom measures how an object's centre moves: it "
            "expects config.instance_motion.rotation_center=object, got "
            f"{options.rotation_center!r}"
        )
    if options.clips_per_pack < 1 or options.instance_budget < 0:
        raise ValueError(
            "config.instance_motion expects clips_per_pack >= 1 and instance_budget >= "
            f"0, got {options.clips_per_pack} and {options.instance_budget}"
        )


def checked_labels(batch: Batch, *, required: bool) -> Array | None:
    """Returns the instance labels of a batch, if it has any.

    Raises:
        ValueError: they are required and missing, or not 8-bit.
    """
    labels = batch.instance_labels
    if labels is None and required:
        raise ValueError(
            "config.method=instance_motion trains on instance masks, and batches "
            "have no instance_labels: give a data set with masks, or name them in "
            "config.dataset.masks (`python -m mdm_jax.annotate` makes them), or set "
            "config.instance_motion.object_pose=none"
        )
    if labels is not None and labels.dtype != jnp.uint8:
        raise ValueError(
            f"instance_labels expects uint8, ids 1 to 255, got {labels.dtype}: "
            "number the instances of each recording from 1"
        )
    return labels


class _Slots(NamedTuple):
    """The instances that get a slot.

    Attributes:
        labels: `[b n k]`, the instance in each slot; 0 where the slot is empty.
        packing: of the slots into the batch of the object net.
        num_candidates: `[b]`, instances that both frames of a pair show.
        num_dropped: `[b]`, those of them without a slot.
    """

    labels: Array
    packing: instance_slots.Packing
    num_candidates: Array
    num_dropped: Array


def find(
    object_net: MotionNet,
    batch: Batch,
    labels: Array,
    depth: Array,
    egomotion: Pose,
    *,
    height: Array,
    options: ml_collections.FrozenConfigDict,
) -> Objects:
    """Returns the motion of the instances that get a slot (Lee et al., eqs. 7 to 10).

    Args:
        object_net: called once, with all packed slots.
        batch: frames and intrinsics.
        labels: uint8 `[b t h w]`, instance labels of the frames.
        depth: `[b t h w]`; used without gradient.
        egomotion: E, `[b n ...]`.
        height: learned height of objects.
        options: `config.instance_motion`.
    """
    target, _ = frame_pairs.of_clip(batch.frames.shape[1])
    target_labels = labels[:, jnp.array(target)]
    intrinsics = jnp.repeat(batch.intrinsics, len(target), axis=0)
    slots = _choose(labels, options)

    # I^fw_{r->t} and M^n,fw_{r->t}, of the whole frame.
    view, view_labels = _stabilize(batch, labels, depth, egomotion, options)
    regions = instance_slots.regions(target_labels, slots.labels)
    target_depth = jax.lax.stop_gradient(frame_pairs.select(depth, target))

    def by_clip(x: Array) -> Array:
        return x.reshape(labels.shape[0], len(target), *x.shape[1:])

    center, displacement, measured = map(
        by_clip,
        object_poses.measure(
            frame_pairs.flatten(regions),
            frame_pairs.flatten(slots.labels),
            object_poses.points(target_depth, intrinsics),
            view_labels,
            object_poses.points(view.depth, intrinsics),
        ),
    )
    view, view_labels = jax.tree.map(by_clip, (view, view_labels))

    # P^n = O(M^n_t I_t, M^n,fw I^fw), for the packed slots only.
    packing = slots.packing
    label = instance_slots.gather_slots(packing, slots.labels)[:, None, None]
    in_view = instance_slots.gather_pairs(packing, view_labels)
    in_target = instance_slots.gather_pairs(packing, target_labels)
    angles, translation = _measure_motion(
        object_net,
        instance_slots.gather_pairs(packing, batch.frames[:, jnp.array(target)]),
        instance_slots.gather_pairs(packing, view.image),
        (in_target == label) & (label != 0),
        jnp.any(in_view == label[..., None], axis=-1) & (label != 0),
        center=instance_slots.gather_slots(packing, center),
        intrinsics=instance_slots.gather_pairs(packing, by_clip(intrinsics)),
        zoom=options.object_zoom,
    )
    pose = pose_lib.from_euler(
        instance_slots.scatter(packing, angles),
        instance_slots.scatter(packing, translation),
    )
    return Objects(
        labels=slots.labels,
        pose=_object_poses(pose, egomotion, center, slots.labels, options),
        center=center,
        displacement=displacement,
        measured=measured,
        regions=regions,
        background=target_labels == 0,
        view=view,
        view_labels=view_labels,
        height=height,
        num_candidates=slots.num_candidates,
        num_dropped=slots.num_dropped,
    )


def _choose(labels: Array, options: ml_collections.FrozenConfigDict) -> _Slots:
    """Returns the slots of the largest instances that adjacent frames share."""
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
    num_candidates = jnp.sum(chosen.num_candidates, axis=-1)
    num_kept = jnp.sum(packing.kept, axis=(-2, -1), dtype=jnp.int32)
    return _Slots(
        instance_slots.both_directions(jnp.where(packing.kept, chosen.labels, 0)),
        packing,
        num_candidates,
        num_candidates - num_kept,
    )


def _stabilize(
    batch: Batch,
    labels: Array,
    depth: Array,
    egomotion: Pose,
    options: ml_collections.FrozenConfigDict,
) -> tuple[Warped, Array]:
    """Returns the stabilized views of all directed pairs `[m ...]`, and their labels."""
    target, source = frame_pairs.of_clip(batch.frames.shape[1])
    stabilize = functools.partial(
        instance_views.stabilize,
        projection=options.projection,
        alpha=options.splat_alpha,
        mode=options.splat_mode,
        refine=options.splat_refine,
    )
    return jax.vmap(stabilize)(
        Seen(
            frame_pairs.select(batch.frames, source),
            frame_pairs.select(depth, source),
            frame_pairs.select(labels, source),
        ),
        frame_pairs.select(depth, target),
        jax.tree.map(frame_pairs.flatten, egomotion),
        jnp.repeat(batch.intrinsics, len(target), axis=0),
    )


def _object_poses(
    pose: Pose,
    egomotion: Pose,
    center: Array,
    slot_labels: Array,
    options: ml_collections.FrozenConfigDict,
) -> Pose:
    """Returns P `[b n k ...]` of the net's answers; empty slots do not move.

    Args:
        pose: the object net's answers, about `options.rotation_center`.
        egomotion: E, `[b n ...]`.
        center: `[b n k 3]`, mean point of each object in the target.
        slot_labels: `[b n k]`, 0 for an empty slot.
        options: `config.instance_motion`.
    """
    if options.rotation_center == "object":
        # X' = R (X - c) + c + d
        turned = rotation_lib.apply(pose.rotation, center)
        pose = Pose(pose.rotation, pose.translation + center - turned)
    if options.cyclic_average:
        reverse = object_poses.reverse_motion(egomotion, pose)
        pose = object_poses.average(pose, pose_lib.inverse(reverse))
    empty = slot_labels == 0
    return Pose(
        rotation=jnp.where(
            empty[..., None, None], jnp.eye(3)[None, None, None], pose.rotation
        ),
        translation=jnp.where(empty[..., None], 0.0, pose.translation),
    )


def _measure_motion(
    object_net: MotionNet,
    target_image: Array,
    view_image: Array,
    target_mask: Array,
    view_mask: Array,
    *,
    center: Array,
    intrinsics: Array,
    zoom: int,
) -> tuple[Array, Array]:
    """Returns Euler angles and translation of packed slots, from images or windows.

    Args:
        object_net: the module.
        target_image: `[s h w 3]`.
        view_image: `[s h w 3]`, the stabilized source.
        target_mask: bool `[s h w]`, the object in the target.
        view_mask: bool `[s h w]`, the object in the stabilized source.
        center: `[s 3]`, mean point of the object in the target.
        intrinsics: `[s 3 3]`.
        zoom: side of the windows; 0 for whole images.
    """
    if not zoom:
        output = object_net(
            FramePairs(target_image, view_image, mask_a=target_mask, mask_b=view_mask)
        )
        return output.angles, output.translation
    window = object_zoom.around(target_mask | view_mask)

    def zoomed(image: Array, mask: Array) -> tuple[Array, Array]:
        both = jnp.concatenate([image, mask[..., None].astype(image.dtype)], axis=-1)
        both = object_zoom.crop(both, window, zoom)
        return both[..., :3], both[..., 3] > 0.5

    in_target = zoomed(target_image, target_mask)
    in_view = zoomed(view_image, view_mask)
    output = object_net(
        FramePairs(in_target[0], in_view[0], mask_a=in_target[1], mask_b=in_view[1])
    )
    translation = object_zoom.translation(
        output.translation, window, center, intrinsics
    )
    return output.angles, translation


def counts(prediction: Prediction) -> dict[str, Array]:
    """Returns how many instances a clip has, and how many of them got no slot.

    Both are summed over adjacent pairs of frames and averaged over clips. Dropped
    instances are in no loss: if there are many, raise `instance_motion.max_instances`
    or `instance_budget`.
    """
    objects = prediction.require_pairs().objects
    if objects is None:
        return {"instances/found": jnp.zeros(()), "instances/dropped": jnp.zeros(())}
    return {
        "instances/found": jnp.mean(objects.num_candidates.astype(jnp.float32)),
        "instances/dropped": jnp.mean(objects.num_dropped.astype(jnp.float32)),
    }
