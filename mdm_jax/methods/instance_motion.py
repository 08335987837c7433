"""Method B: depth, egomotion and the 6-DoF motion of every instance, from masks.

Lee et al. 2019, *Instance-wise Depth and Motion Learning from Monocular Videos*, and
their AAAI 2021 version. A depth net sees each frame alone; one pose net sees two frames
without their instances and gives the camera's motion E, a second one sees a single
instance, in the target and in the source with the camera's motion undone, and gives the
object's motion P. Background moves by E; an object's points by P first, then by E.

Notation: t is the target of a directed pair of frames and r its source; both directions
of every adjacent pair are used. `n` directed pairs per clip, `m = b n` of a batch, k
slots for instances. See `instance_slots`, `object_poses` and `instance_views`.
"""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from mdm_jax import config as config_lib
from mdm_jax.geometry import motion as motion_lib
from mdm_jax.geometry import rotation as rotation_lib
from mdm_jax.losses import depth_priors, instance_consistency, object_priors, smoothness
from mdm_jax.methods import (
    base,
    depth_nets,
    ego_nets,
    frame_pairs,
    instance_objects,
    instance_views,
    object_poses,
)
from mdm_jax.methods.base import Method
from mdm_jax.networks import layers, pose_net
from mdm_jax.structs import Batch, Pairs, Prediction

Array = jax.Array


# --- The module that owns all parameters ---------------------------------------------


class InstanceMotionModel(nn.Module):
    """Depth net, ego- and object pose net, and the learned height of objects."""

    config: ml_collections.FrozenConfigDict

    def setup(self):
        networks, options = self.config.networks, self.config.instance_motion
        self.depth_net = depth_nets.create(networks)
        self.ego_net = ego_nets.create(networks)
        if networks.object_pose != "none":
            # Layer norms: its batch has empty slots, whose statistics mean nothing.
            self.object_net = pose_net.PoseNet(
                form=networks.object_pose,
                translation_only=options.translation_only,
                width_multiplier=networks.motion_width_multiplier,
                initial_scale=networks.initial_motion_scale,
                dtype=jnp.dtype(networks.dtype),
            )
            self.object_height = layers.LearnedScale(options.initial_object_height)

    def __call__(self, batch: Batch, *, step: Array | None, train: bool) -> Prediction:
        networks = self.config.networks
        _, num_frames, height, width, _ = batch.frames.shape
        options = self.config.instance_motion
        depth = depth_nets.depth_of_clips(
            self.depth_net, batch.frames, options=options, step=step, train=train
        )
        if num_frames == 1:
            return Prediction(depth=depth, intrinsics=batch.intrinsics)

        indices = frame_pairs.of_clip(num_frames)
        labels = batch.instance_labels
        if networks.object_pose == "none":
            labels = None
        elif labels is None and train:
            raise ValueError(
                "config.method=instance_motion trains on instance masks, and batches "
                "have no instance_labels: give a data set with masks, or name them in "
                "config.dataset.masks (`python -m mdm_jax.annotate` makes them), or set "
                "config.networks.object_pose=none"
            )
        elif labels is not None and labels.dtype != jnp.uint8:
            raise ValueError(
                f"instance_labels expects uint8, ids 1 to 255, got {labels.dtype}: "
                "number the instances of each recording from 1"
            )
        egomotion = ego_nets.egomotion(self.ego_net, batch, depth, labels, train=train)
        objects = None
        if labels is None:
            motion = motion_lib.ego_only(egomotion, (height, width))
            residual = jnp.zeros_like(motion.translation)
        else:
            objects = instance_objects.find(
                self.object_net,
                batch,
                labels,
                depth,
                egomotion,
                height=self.object_height(),
                options=options,
            )
            target_depth = depth[:, jnp.array(indices.target)]
            motion, residual = object_poses.total_motion(
                egomotion, objects, target_depth, batch.intrinsics
            )
        return Prediction(
            depth=depth,
            intrinsics=batch.intrinsics,
            pairs=Pairs(
                egomotion=egomotion,
                motion=motion,
                residual_translation=residual,
                target_index=indices.target,
                source_index=indices.source,
                objects=objects,
            ),
        )


# --- The objective -------------------------------------------------------------------


def loss_terms(
    prediction: Prediction,
    batch: Batch,
    step: Array,
    *,
    options: ml_collections.FrozenConfigDict,
) -> dict[str, Array]:
    """Returns the terms of the objective of Lee et al., unweighted.

    Gradients: the background teaches depth and E, objects teach depth and P.

    Args:
        prediction: of `InstanceMotionModel`.
        batch: the frames explained.
        step: not used.
        options: `config.instance_motion`.
    """
    del step
    pairs, depth = prediction.require_pairs(), prediction.depth
    objects = pairs.objects
    image_t, image_r, depth_t, depth_r = (
        frame_pairs.select(values, frames)
        for values in (batch.frames, depth)
        for frames in (pairs.target_index, pairs.source_index)
    )
    intrinsics = jnp.repeat(prediction.intrinsics, len(pairs.target_index), axis=0)

    # I^_{r->t}, V and the depths D^s and D^c, put together of all regions.
    view = jax.vmap(instance_views.of_background)(
        image_r,
        depth_r,
        depth_t,
        jax.tree.map(frame_pairs.flatten, pairs.egomotion),
        intrinsics,
    )
    if objects is not None:
        view = jax.vmap(instance_views.merge)(
            view,
            _objects_view(prediction, batch, options),
            frame_pairs.flatten(objects.background),
            frame_pairs.flatten(objects.regions),
        )
    inconsistency = instance_consistency.depth_inconsistency(
        view.sampled_depth, view.computed_depth, view.valid
    )
    counts = view.valid.astype(jnp.float32)
    weight = counts
    if options.weighted_mask:
        weight = instance_consistency.weighted_valid(view.valid, inconsistency)
    if options.auto_mask:
        weight = weight * instance_consistency.explained(image_t, view.image, image_r)

    frames, depths = frame_pairs.flatten(batch.frames), frame_pairs.flatten(depth)
    smooth = {
        "disparity": smoothness.edge_aware_disparity,
        "squared_depth": smoothness.edge_aware_depth_squared,
    }[options.smoothness]
    terms = {
        # Eqs. 24 and 25.
        "photometric": instance_consistency.photometric(
            image_t, view.image, weight, ssim_share=options.ssim_share
        ),
        "geometric": instance_consistency.weighted_mean(inconsistency, counts),
        "smoothness": smooth(depths, frames),
        "log_scale_pin": depth_priors.log_scale_pin(depths, options.log_depth_pin),
    }
    return terms | _object_terms(pairs, depth_t, intrinsics, options)


def _objects_view(
    prediction: Prediction, batch: Batch, options: ml_collections.FrozenConfigDict
) -> instance_views.View:
    """Returns the views of the objects of all directed pairs, `[m ...]`."""
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
    if options.object_view == "stabilized":
        return jax.vmap(instance_views.of_objects)(
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
    return jax.vmap(instance_views.of_objects_from_source)(
        frame_pairs.flatten(batch.frames[:, source]),
        frame_pairs.flatten(prediction.depth[:, source]),
        frame_pairs.flatten(labels[:, source]),
        target_labels,
        depth_t,
        jax.tree.map(frame_pairs.flatten, motion),
        intrinsics,
    )


def _object_terms(
    pairs: Pairs,
    depth_t: Array,
    intrinsics: Array,
    options: ml_collections.FrozenConfigDict,
) -> dict[str, Array]:
    """Returns the terms of the single objects, means over those there are."""
    objects = pairs.objects
    if objects is None:
        names = ("translation_prior", "height_prior", "object_cycle")
        return dict.fromkeys(names, jnp.zeros(()))
    pose, exists = objects.pose, objects.labels > 0
    translation = pose.translation
    if options.rotation_center == "object":
        # How far the object's centre moves, whatever the object turns about.
        moved = rotation_lib.apply(pose.rotation, objects.center) + translation
        translation = moved - objects.center
    reverse = object_poses.reverse_motion(pairs.egomotion, pose)

    masks = object_priors.slot_masks(
        frame_pairs.flatten(objects.regions), exists.shape[-1]
    )
    boxes = object_priors.boxes(masks)
    scene_depth = jnp.mean(depth_t, axis=(-2, -1))
    object_depth = object_priors.mean_over(masks, depth_t[..., None])[..., 0]
    return {
        "translation_prior": object_priors.translation_prior(
            frame_pairs.flatten(translation),
            frame_pairs.flatten(objects.displacement),
            scene_depth,
            frame_pairs.flatten(exists & objects.measured),
        ),
        "height_prior": object_priors.height_prior(
            object_depth,
            boxes.height,
            intrinsics[:, 1, 1],
            objects.height,
            scene_depth,
            frame_pairs.flatten(exists),
            boxes.complete,
        ),
        "object_cycle": object_priors.motion_cycle(
            pose.rotation,
            pose.translation,
            reverse.rotation,
            reverse.translation,
            exists,
        ),
    }


# --- Assembly ------------------------------------------------------------------------


def create(config: ml_collections.ConfigDict) -> Method:
    """Returns method B as configured by `networks` and `instance_motion`.

    Raises:
        ValueError: an option has a value that does not exist.
    """
    depth_nets.check(config)
    config_lib.choice(config, "networks.ego_pose", ego_nets.KINDS)
    config_lib.choice(config, "networks.object_pose", (*pose_net.FORMS, "none"))
    config_lib.choice(config, "instance_motion.object_view", ("stabilized", "source"))
    config_lib.choice(
        config, "instance_motion.smoothness", ("disparity", "squared_depth")
    )
    instance_objects.check(config)
    if config.motion_field.intrinsics != "given":
        raise ValueError(
            "config.method=instance_motion needs intrinsics, but they are to be learned "
            f"(motion_field.intrinsics={config.motion_field.intrinsics}): give them "
            "with config.dataset.intrinsics, or take config.method=motion_field"
        )
    frozen = ml_collections.FrozenConfigDict(config)
    return base.of_module(
        InstanceMotionModel(frozen),
        functools.partial(loss_terms, options=frozen.instance_motion),
        counts=instance_objects.counts,
        count_names=("instances/found", "instances/dropped"),
    )
