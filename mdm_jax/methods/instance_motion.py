"""Method B: depth, egomotion and the 6-DoF motion of every instance, from masks.

Lee et al. 2019, *Instance-wise Depth and Motion Learning from Monocular Videos*, and
their AAAI 2021 version. A depth net sees each frame alone. One pose net sees two frames
without their instances and predicts the egomotion E; a second one sees a single instance,
in the target and in the stabilized source, and predicts the object's motion P. Background
moves by E; points of an object move by P first, then by E.

Notation: t is the target of a directed pair of frames and r its source; both directions
of every adjacent pair are used. There are `n` directed pairs per clip, `m = b n` per
batch, and k slots for instances. See `instance_slots`, `object_poses`, `instance_views`.
"""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from mdm_jax import settings
from mdm_jax.geometry import motion as motion_lib
from mdm_jax.geometry import rotation as rotation_lib
from mdm_jax.losses import depth_priors, instance_consistency, object_priors, smoothness
from mdm_jax.methods import (
    base,
    depth_nets,
    ego_nets,
    frame_pairs,
    geometry_terms,
    instance_objects,
    instance_slots,
    instance_views,
    object_poses,
)
from mdm_jax.methods.base import Method
from mdm_jax.networks import layers, pose_net
from mdm_jax.structs import Batch, Pairs, Prediction

Array = jax.Array


# --- The module that owns all parameters ---------------------------------------------


class InstanceMotionModel(nn.Module):
    """The depth net, egomotion and object net, and the learned height of objects."""

    config: ml_collections.FrozenConfigDict

    def setup(self):
        networks, options = self.config.networks, self.config.instance_motion
        self.depth_net = depth_nets.create(networks)
        self.ego_net = ego_nets.create(options.ego_pose, networks)
        if options.object_pose != "none":
            # Layer norms, because empty slots would spoil the statistics of a batch.
            self.object_net = pose_net.PoseNet(
                form=options.object_pose,
                translation_only=options.translation_only,
                width_multiplier=networks.motion_width_multiplier,
                initial_scale=networks.initial_motion_scale,
                dtype=jnp.dtype(networks.dtype),
            )
            self.object_height = layers.LearnedScale(options.initial_object_height)

    def __call__(self, batch: Batch, *, step: Array | None, train: bool) -> Prediction:
        _, num_frames, height, width, _ = batch.frames.shape
        options = self.config.instance_motion
        depth = depth_nets.depth_of_clips(
            self.depth_net,
            batch.frames,
            networks=self.config.networks,
            step=step,
            train=train,
        )
        if num_frames == 1:
            return Prediction(depth=depth, intrinsics=batch.intrinsics)

        indices = frame_pairs.of_clip(num_frames)
        labels = None
        if options.object_pose != "none":
            labels = instance_objects.checked_labels(batch, required=train)
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


# In the released code, whose sums are means here; see `presets.use_published_weights`.
LOSS_WEIGHTS = {
    "photometric": 2.0,
    "geometric": 1.0,
    "smoothness": 0.1,
    "translation_prior": 0.1,
    "height_prior": 0.02,
    # The released code uses it, with 0.1, in place of `cyclic_average`.
    "object_cycle": 0.0,
    "log_scale_pin": 0.0,
    **geometry_terms.LOSS_WEIGHTS,
}


def loss_terms(
    prediction: Prediction,
    batch: Batch,
    step: Array,
    *,
    config: ml_collections.FrozenConfigDict,
) -> dict[str, Array]:
    """Returns the terms of the objective of Lee et al., unweighted.

    The background gives gradients to depth and E, objects to depth and P.

    Args:
        prediction: of `InstanceMotionModel`.
        batch: the frames explained.
        step: not used.
        config: of the run.
    """
    del step
    options = config.instance_motion
    pairs, depth = prediction.require_pairs(), prediction.depth
    objects = pairs.objects
    image_t, image_r, depth_t, depth_r = (
        frame_pairs.select(values, frames)
        for values in (batch.frames, depth)
        for frames in (pairs.target_index, pairs.source_index)
    )
    intrinsics = jnp.repeat(prediction.intrinsics, len(pairs.target_index), axis=0)

    # I^_{r->t}, V, D^s and D^c, composed of background and objects.
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
            instance_views.of_prediction(
                prediction, batch, object_view=options.object_view
            ),
            frame_pairs.flatten(objects.background),
            frame_pairs.flatten(objects.regions),
        )
    inconsistency = instance_consistency.depth_inconsistency(
        view.sampled_depth, view.computed_depth, view.valid
    )
    counts = weight = view.valid.astype(jnp.float32)
    if options.weighted_mask:
        weight = instance_consistency.weighted_valid(view.valid, inconsistency)
    if options.auto_mask:
        explained = instance_consistency.explained(image_t, view.image, image_r)
        weight = weight * explained
        if options.auto_mask_geometric:
            counts = counts * explained

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
        "log_scale_pin": depth_priors.log_scale_pin(depths, config.train.log_depth_pin),
    }
    return terms | _object_terms(pairs, depth_t, intrinsics, options)


def _object_terms(
    pairs: Pairs,
    depth_t: Array,
    intrinsics: Array,
    options: ml_collections.FrozenConfigDict,
) -> dict[str, Array]:
    """Returns the terms of single objects, as means over the objects in slots."""
    objects = pairs.objects
    if objects is None:
        names = ("translation_prior", "height_prior", "object_cycle")
        return dict.fromkeys(names, jnp.zeros(()))
    pose, exists = objects.pose, objects.labels > 0
    translation = pose.translation
    if options.rotation_center == "object":
        # The displacement of the object's centre, which rotation leaves in place.
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


# --- Settings and assembly -----------------------------------------------------------


def config_group() -> ml_collections.ConfigDict:
    """Returns `config.instance_motion` with its defaults."""
    c = ml_collections.ConfigDict()
    # Egomotion net: `conv` (Lee et al. 2019, seven convolutions), `resnet` (their
    # released code) or `correlation` (learns motion far sooner).
    c.ego_pose = "conv"
    # Object net: `conv`, `resnet` or `none` (everything moves with the camera: an
    # ablation).
    c.object_pose = "conv"
    # Instances per pair of adjacent frames, largest first, and the least number of
    # pixels that an instance must have in both frames.
    c.max_instances = 8
    c.min_instance_pixels = 20
    # Instances per pair that the object net is applied to, on average over the pairs of
    # so many neighbouring clips of a batch; 0: max_instances. Smaller budgets save
    # time, and leave out the smallest instances where there are too many. Clips that
    # share a budget must be on one device.
    c.instance_budget = 0
    c.clips_per_pack = 1
    # How the camera's motion is undone before object motion is estimated: `forward` (by
    # the source's depth) or `inverse` (by the target's: an ablation of the paper).
    c.projection = "forward"
    # Forward projection: upsampling of depth; `nearest` (z-buffer) or `soft`; whether
    # depth is read once more where its points come from (not in the paper).
    c.splat_alpha = 2
    c.splat_mode = "nearest"
    c.splat_refine = True
    # Where objects are sampled for the losses: in the `stabilized` view (the paper), or
    # directly in the `source` (one interpolation, no holes).
    c.object_view = "stabilized"
    # Objects turn about the `camera` (the paper) or about their own `object` centre.
    c.rotation_center = "camera"
    # Side, in pixels, of the window in which the object net sees every object at the
    # same size, its motion in units of the window; 0: whole images (the paper).
    c.object_zoom = 0
    # Objects do not turn (released code).
    c.translation_only = False
    # Average an object's motion with the inverse of that of the opposite direction.
    c.cyclic_average = True
    # Weigh pixels by how well depths agree.
    c.weighted_mask = True
    # Count only pixels that warping explains better; in the geometric loss too (code).
    c.auto_mask = True
    c.auto_mask_geometric = True
    # Share of SSIM in the photometric loss: 0.85 (code) or 0.8 (paper).
    c.ssim_share = 0.85
    # `disparity` (first order, mean-normalised) or `squared_depth` (paper).
    c.smoothness = "disparity"
    # Initial value of the learned height of objects, in depth units: about right for
    # the depth that an untrained net predicts, 0.7 (`depth`) or 0.2 (`disparity`).
    c.initial_object_height = 0.05
    return c


def create(config: ml_collections.ConfigDict) -> Method:
    """Returns method B as configured by `networks` and `instance_motion`.

    Raises:
        ValueError: an option has a value that does not exist.
    """
    depth_nets.check(config)
    instance_objects.check(config)
    for field, allowed in {
        "ego_pose": ego_nets.KINDS,
        "object_pose": (*pose_net.FORMS, "none"),
        "object_view": ("stabilized", "source"),
        "smoothness": ("disparity", "squared_depth"),
    }.items():
        settings.choice(config, f"instance_motion.{field}", allowed)
    frozen = ml_collections.FrozenConfigDict(config)
    return base.of_module(
        InstanceMotionModel(frozen),
        geometry_terms.added_to(
            functools.partial(loss_terms, config=frozen), frozen.two_view
        ),
        counts=instance_objects.counts,
        count_names=("instances/found", "instances/dropped"),
        needs_labels=config.instance_motion.object_pose != "none",
        settle=instance_slots.settle_budget,
        for_inference=_for_inference,
    )


def _for_inference(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """Returns the config without a budget, which leaves out the smallest objects."""
    config = config.copy_and_resolve_references()
    config.instance_motion.instance_budget = 0
    return config
