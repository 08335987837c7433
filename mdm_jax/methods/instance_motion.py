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
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from mdm_jax import config as config_lib
from mdm_jax.geometry import motion as motion_lib
from mdm_jax.geometry import pose as pose_lib
from mdm_jax.geometry import rotation as rotation_lib
from mdm_jax.losses import depth_priors, instance_consistency, object_priors, smoothness
from mdm_jax.methods import (
    depth_nets,
    instance_slots,
    instance_views,
    object_poses,
)
from mdm_jax.methods.base import Method, Variables
from mdm_jax.networks import correlation_net, layers, pose_net
from mdm_jax.structs import Batch, Objects, Pairs, Pose, Prediction

Array = jax.Array


# --- The module that owns all parameters ---------------------------------------------


class InstanceMotionModel(nn.Module):
    """Depth net, ego- and object pose net, and the learned height of objects."""

    config: ml_collections.FrozenConfigDict

    def setup(self):
        networks, options = self.config.networks, self.config.instance_motion
        shared = {
            "width_multiplier": networks.motion_width_multiplier,
            "initial_scale": networks.initial_motion_scale,
            "dtype": jnp.dtype(networks.dtype),
        }
        self.depth_net = depth_nets.create(networks)
        if networks.ego_pose == "correlation":
            self.ego_net = correlation_net.CorrelationMotionNet(
                radius=tuple(networks.correlation_radius),
                residual_motion=False,
                stop_depth_gradient=True,
                **shared,
            )
        else:
            self.ego_net = pose_net.PoseNet(form=networks.ego_pose, **shared)
        if networks.object_pose != "none":
            self.object_net = pose_net.PoseNet(
                form=networks.object_pose,
                translation_only=options.translation_only,
                **shared,
            )
            self.object_height = layers.LearnedScale(options.initial_object_height)

    def __call__(self, batch: Batch, *, step: Array | None, train: bool) -> Prediction:
        networks = self.config.networks
        num_clips, num_frames, height, width, _ = batch.frames.shape
        depth = self.depth_net(
            batch.frames.reshape(-1, height, width, 3),
            noise_stddev=(
                _norm_noise(self.config.instance_motion, step) if train else 0.0
            ),
            train=train,
        ).reshape(num_clips, num_frames, height, width)
        if num_frames == 1:
            return Prediction(depth=depth, intrinsics=batch.intrinsics)

        # Both directions of each adjacent pair, one after the other, clips leading.
        target_index = tuple(i for a in range(num_frames - 1) for i in (a, a + 1))
        source_index = tuple(i for a in range(num_frames - 1) for i in (a + 1, a))
        labels = batch.instance_labels
        if networks.object_pose == "none":
            labels = None
        elif labels is None and train:
            raise ValueError(
                "config.method=instance_motion trains on instance masks, and batches "
                "have no instance_labels: give a data set with masks, or set "
                "config.networks.object_pose=none"
            )
        elif labels is not None and labels.dtype != jnp.uint8:
            raise ValueError(
                f"instance_labels expects uint8, ids 1 to 255, got {labels.dtype}: "
                "number the instances of each recording from 1"
            )
        egomotion = self._egomotion(batch, depth, labels, target_index, source_index)
        objects = None
        if labels is None:
            motion = motion_lib.ego_only(egomotion, (height, width))
            residual = jnp.zeros_like(motion.translation)
        else:
            objects = self._objects(
                batch, depth, egomotion, labels, target_index, source_index
            )
            target_depth = depth[:, jnp.array(target_index)]
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
                target_index=target_index,
                source_index=source_index,
                objects=objects,
            ),
        )

    def _egomotion(
        self,
        batch: Batch,
        depth: Array,
        labels: Array | None,
        target_index: tuple[int, ...],
        source_index: tuple[int, ...],
    ) -> Pose:
        """Returns E `[b n ...]`, from what is background in both frames (eq. 6)."""
        target, source = jnp.array(target_index), jnp.array(source_index)
        num_clips, num_pairs = batch.frames.shape[0], len(target_index)
        if labels is None:
            background = jnp.ones(batch.frames.shape[:-1], bool)
        else:
            background = labels == 0
        # E(M^0_t M^0_r I_t, M^0_t M^0_r I_r)
        background = _flatten(background[:, target] & background[:, source])
        image_t, image_r = (_flatten(batch.frames[:, i]) for i in (target, source))
        ego_net: Any = self.ego_net
        if self.config.networks.ego_pose == "correlation":
            # Masked pixels are grey, 0 after centring, as in the pose nets.
            seen = background[..., None]
            output = ego_net(
                jnp.where(seen, image_t, 0.5),
                _flatten(depth[:, target]),
                jnp.where(seen, image_r, 0.5),
                _flatten(depth[:, source]),
                jnp.repeat(batch.intrinsics, num_pairs, axis=0),
                both_directions=True,
            )
        else:
            output = ego_net(image_t, image_r, background, background)
        return pose_lib.from_euler(
            output.angles.reshape(num_clips, num_pairs, 3),
            output.translation.reshape(num_clips, num_pairs, 3),
        )

    def _objects(
        self,
        batch: Batch,
        depth: Array,
        egomotion: Pose,
        labels: Array,
        target_index: tuple[int, ...],
        source_index: tuple[int, ...],
    ) -> Objects:
        """Returns the motion of the instances that find a slot (eqs. 7 to 10)."""
        options = self.config.instance_motion
        target, source = jnp.array(target_index), jnp.array(source_index)
        num_clips, num_pairs = batch.frames.shape[0], len(target_index)
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
        target_depth = jax.lax.stop_gradient(_flatten(depth[:, target]))
        view, view_labels = jax.vmap(
            functools.partial(
                instance_views.stabilize,
                projection=options.projection,
                alpha=options.splat_alpha,
                mode=options.splat_mode,
            )
        )(
            _flatten(batch.frames[:, source]),
            _flatten(depth[:, source]),
            _flatten(labels[:, source]),
            target_depth,
            jax.tree.map(_flatten, egomotion),
            pair_intrinsics,
        )
        regions = instance_slots.regions(target_labels, slot_labels)
        center, displacement, measured = object_poses.measure(
            _flatten(regions),
            _flatten(slot_labels),
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
        output = self.object_net(
            instance_slots.gather_pairs(packing, batch.frames[:, target]),
            instance_slots.gather_pairs(packing, by_clip(view.image)),
            (in_target == label) & (label != 0),
            jnp.any(seen == label[..., None], axis=-1) & (label != 0),
        )
        angles = instance_slots.scatter(packing, output.angles)
        translation = instance_slots.scatter(packing, output.translation)
        center, displacement, measured = map(by_clip, (center, displacement, measured))
        if options.anchor_translation:
            translation = translation + displacement
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
            height=self.object_height(),
            num_candidates=num_found,
            num_dropped=num_found - num_kept,
        )


def _norm_noise(options, step: Array | None) -> Array | float:
    if step is None or not options.norm_noise:
        return 0.0
    ramp = jnp.minimum(step / max(options.norm_noise_ramp_steps, 1), 1.0)
    return options.norm_noise * jnp.square(ramp)


def _flatten(x: Array) -> Array:
    return x.reshape(-1, *x.shape[2:])


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
    target, source = jnp.array(pairs.target_index), jnp.array(pairs.source_index)
    image_t, image_r = (_flatten(batch.frames[:, i]) for i in (target, source))
    depth_t = _flatten(depth[:, target])
    intrinsics = jnp.repeat(prediction.intrinsics, len(target), axis=0)

    # I^_{r->t}, V and the depths D^s and D^c, put together of all regions.
    view = jax.vmap(instance_views.of_background)(
        image_r,
        _flatten(depth[:, source]),
        depth_t,
        jax.tree.map(_flatten, pairs.egomotion),
        intrinsics,
    )
    if objects is not None:
        view = jax.vmap(instance_views.merge)(
            view,
            _objects_view(prediction, batch, options),
            _flatten(objects.background),
            _flatten(objects.regions),
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

    frames, depths = _flatten(batch.frames), _flatten(depth)
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
    depth_t = _flatten(prediction.depth[:, target])
    target_labels = _flatten(jnp.where(objects.regions > 0, labels[:, target], 0))
    if options.object_view == "stabilized":
        return jax.vmap(instance_views.of_objects)(
            jax.tree.map(_flatten, objects.view),
            _flatten(objects.view_labels),
            target_labels,
            depth_t,
            jax.tree.map(_flatten, object_poses.object_motion(objects)),
            intrinsics,
        )
    motion, _ = object_poses.total_motion(
        jax.lax.stop_gradient(pairs.egomotion),
        objects,
        prediction.depth[:, target],
        prediction.intrinsics,
    )
    return jax.vmap(instance_views.of_objects_from_source)(
        _flatten(batch.frames[:, source]),
        _flatten(prediction.depth[:, source]),
        _flatten(labels[:, source]),
        target_labels,
        depth_t,
        jax.tree.map(_flatten, motion),
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

    masks = object_priors.slot_masks(_flatten(objects.regions), exists.shape[-1])
    boxes = object_priors.boxes(masks)
    object_depth = object_priors.mean_over(masks, depth_t[..., None])[..., 0]
    return {
        "translation_prior": object_priors.translation_prior(
            translation, objects.displacement, exists & objects.measured
        ),
        "height_prior": object_priors.height_prior(
            object_depth,
            boxes.height,
            intrinsics[:, 1, 1],
            objects.height,
            jnp.mean(depth_t, axis=(-2, -1)),
            _flatten(exists) & boxes.complete,
        ),
        "object_cycle": object_priors.motion_cycle(
            pose.rotation,
            pose.translation,
            reverse.rotation,
            reverse.translation,
            exists,
        ),
    }


def instance_counts(prediction: Prediction) -> dict[str, Array]:
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


# --- Assembly ------------------------------------------------------------------------


def create(config: ml_collections.ConfigDict) -> Method:
    """Returns method B as configured by `networks` and `instance_motion`.

    Raises:
        ValueError: an option has a value that does not exist.
    """
    depth_nets.check(config)
    config_lib.choice(config, "networks.ego_pose", (*pose_net.FORMS, "correlation"))
    config_lib.choice(config, "networks.object_pose", (*pose_net.FORMS, "none"))
    for field, allowed in {
        "projection": ("forward", "inverse"),
        "splat_mode": ("nearest", "soft"),
        "object_view": ("stabilized", "source"),
        "rotation_center": ("camera", "object"),
        "smoothness": ("disparity", "squared_depth"),
    }.items():
        config_lib.choice(config, f"instance_motion.{field}", allowed)
    options = config.instance_motion
    if not 1 <= options.max_instances <= 255:
        raise ValueError(
            "config.instance_motion.max_instances expects 1 to 255 (labels are 8 bit), "
            f"got {options.max_instances}"
        )
    if options.clips_per_pack < 1 or options.instance_budget < 0:
        raise ValueError(
            "config.instance_motion expects clips_per_pack >= 1 and instance_budget >= "
            f"0, got {options.clips_per_pack} and {options.instance_budget}"
        )
    if config.motion_field.intrinsics != "given":
        raise ValueError(
            "config.method=instance_motion needs intrinsics, but they are to be learned "
            f"(motion_field.intrinsics={config.motion_field.intrinsics}): give them "
            "with config.dataset.intrinsics, or take config.method=motion_field"
        )
    frozen = ml_collections.FrozenConfigDict(config)
    model = InstanceMotionModel(frozen)

    def init(rng: Array, batch: Batch) -> Variables:
        rngs = {"params": rng, "noise": rng}
        return dict(model.init(rngs, batch, step=None, train=False))

    def predict(variables, batch, *, step=None, train=False, rngs=None):
        prediction: Any = model.apply(
            variables, batch, step=step, train=train, rngs=rngs
        )
        return prediction, {}

    return Method(
        init=init,
        predict=predict,
        loss_terms=functools.partial(loss_terms, options=frozen.instance_motion),
        counts=instance_counts,
        count_names=("instances/found", "instances/dropped"),
    )
