"""Method A: depth, egomotion and a dense translation field from frame pairs.

Li et al. 2020, *Unsupervised Monocular Depth Learning in Dynamic Scenes*. A depth net
sees each frame alone; a motion net sees two frames and their depth and predicts the
camera's rotation R and translation T_ego and, for every pixel, a residual translation
T_obj, so that T(u, v) = T_obj(u, v) + T_ego (eq. 1). No masks are needed: group
smoothness and an L1/2 sparsity confine T_obj to moving objects.

Notation: a is the target of a directed pair of frames and b its source; both directions
of every adjacent pair are used: `n` directed pairs per clip, `m = b n` per batch.
"""

from __future__ import annotations

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from mdm_jax import settings
from mdm_jax.geometry import intrinsics as intrinsics_lib
from mdm_jax.geometry import motion as motion_lib
from mdm_jax.geometry import pose as pose_lib
from mdm_jax.geometry import sampling, warp
from mdm_jax.losses import (
    consistency,
    depth_priors,
    masking,
    photometric,
    pyramid,
    smoothness,
)
from mdm_jax.methods import (
    base,
    depth_nets,
    frame_pairs,
    geometry_terms,
    learned_cameras,
    residual_field,
)
from mdm_jax.methods.base import Method
from mdm_jax.networks import correlation_net, motion_field_net
from mdm_jax.structs import Batch, Motion, Pairs, Prediction

Array = jax.Array


# --- The module that owns all parameters ---------------------------------------------


class MotionFieldModel(nn.Module):
    """Depth net, motion net and, where intrinsics are learned, their head."""

    config: ml_collections.FrozenConfigDict

    def setup(self):
        networks, options = self.config.networks, self.config.motion_field
        shared = {
            "width_multiplier": networks.motion_width_multiplier,
            "initial_scale": networks.initial_motion_scale,
            "dtype": jnp.dtype(networks.dtype),
        }
        self.depth_net = depth_nets.create(networks)
        if options.motion_net == "paper":
            self.motion_net = motion_field_net.PaperMotionNet(
                depth_input=options.depth_input, **shared
            )
        else:
            self.motion_net = correlation_net.CorrelationMotionNet(
                radius=tuple(networks.correlation_radius),
                ego_compensation=options.ego_compensation,
                inverse_warp=residual_field.ego_warp,
                both_directions=True,
                **shared,
            )
        self.intrinsics_head = learned_cameras.create(self.config.camera)

    def __call__(self, batch: Batch, *, step: Array | None, train: bool) -> Prediction:
        options, camera = self.config.motion_field, self.config.camera
        num_clips, num_frames = batch.frames.shape[:2]
        depth = depth_nets.depth_of_clips(
            self.depth_net,
            batch.frames,
            networks=self.config.networks,
            step=step,
            train=train,
        )
        if num_frames == 1:
            return Prediction(depth=depth, intrinsics=batch.intrinsics)

        target, source = frame_pairs.of_clip(num_frames)
        intrinsics = learned_cameras.before_motion(self.intrinsics_head, batch, camera)
        output = self.motion_net(
            frame_pairs.network_input(batch.frames, depth, intrinsics)
        )

        def by_clip(x: Array) -> Array:
            return x.reshape(num_clips, len(target), *x.shape[1:])

        residual = residual_field.restrain(
            by_clip(output.residual), batch, options=options, step=step, required=train
        )
        if camera.intrinsics == "pair":
            intrinsics = learned_cameras.of_pairs(
                self.intrinsics_head, by_clip(output.bottleneck), batch
            )

        egomotion = pose_lib.from_euler(
            by_clip(output.angles), by_clip(output.translation)
        )
        return Prediction(
            depth=depth,
            intrinsics=intrinsics,
            pairs=Pairs(
                egomotion=egomotion,
                motion=motion_lib.total(egomotion, residual),
                residual_translation=residual,
                target_index=target,
                source_index=source,
            ),
        )


# --- The objective -------------------------------------------------------------------


# Li et al. 2020, with the factor 2 over the whole sum and 1/2 inside SSIM written out.
LOSS_WEIGHTS = {
    "rgb": 2.0,
    "ssim": 3.0,
    "depth_consistency": 0.0,
    "depth_smoothness": 0.002,
    "rotation_cycle": 2e-3,
    "translation_cycle": 1e-1,
    "motion_smoothness": 2.0,
    "motion_sparsity": 0.4,
    "depth_variance": 0.0,
    "depth_supervision": 0.0,
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
    """Returns the terms of the objective of Li et al. 2020, unweighted.

    Each is a mean over clips, directions and pixels (not over masks). Scale s adds its
    own with weight 2^-s, except `log_scale_pin` and `depth_supervision`, which are not
    of the paper and are taken at the finest scale.

    Args:
        prediction: of `MotionFieldModel`.
        batch: the frames explained.
        step: for the ramp of the motion regularisers.
        config: of the run.
    """
    options, weights = config.motion_field, config.loss_weights
    depth, pairs = prediction.depth, prediction.require_pairs()
    intrinsics = prediction.intrinsics
    translation, residual = pairs.motion.translation, pairs.residual_translation
    if options.scale_normalization:
        # One scale per clip; in the published code it is one per batch.
        scale = jnp.mean(depth, axis=(1, 2, 3), keepdims=True)
        depth = depth / scale
        translation = translation / scale[..., None]
        residual = residual / scale[..., None]
    rotation = frame_pairs.flatten(pairs.egomotion.rotation)
    reverse = frame_pairs.opposite(
        frame_pairs.Indices(pairs.target_index, pairs.source_index)
    )
    reverse_rotation = frame_pairs.flatten(pairs.egomotion.rotation[:, reverse])

    ramp = jnp.minimum((step + 1) / max(options.regularizer_ramp_steps, 1), 1.0)

    terms: dict[str, Array] = {}
    maps = (batch.frames, depth[..., None], translation, residual)
    scales = pyramid.pyramid(*maps, num_scales=options.num_scales)
    for level, (frames_s, depth_s, translation_s, residual_s) in enumerate(scales):
        if level:
            # Exactly half, because `pyramid` drops an odd last row or column.
            intrinsics = intrinsics_lib.resize(
                intrinsics, from_size=(2, 2), to_size=(1, 1)
            )
        level_terms = _reconstruction_terms(
            frames_s,
            depth_s[..., 0],
            rotation,
            translation_s,
            reverse_rotation,
            intrinsics,
            pairs,
            reverse,
        )
        level_terms["rotation_cycle"] = consistency.rotation_cycle(
            rotation, reverse_rotation
        )
        regularizers = residual_field.regularizers(
            frame_pairs.flatten(residual_s),
            frame_pairs.flatten(translation_s),
            # Without sparsity, the published code's differences wrap around the border.
            wrap=not weights.get("motion_sparsity", 0.0),
        )
        level_terms |= {name: ramp * value for name, value in regularizers.items()}
        for name, value in level_terms.items():
            terms[name] = terms.get(name, 0.0) + 2.0**-level * value

    depths = frame_pairs.flatten(prediction.depth)
    terms["log_scale_pin"] = depth_priors.log_scale_pin(
        depths, config.train.log_depth_pin
    )
    terms["depth_supervision"] = _depth_supervision(depths, batch, weights)
    return terms


def _depth_supervision(depths: Array, batch: Batch, weights: Any) -> Array:
    """Returns the error of depth where it is known; 0 if it is known nowhere."""
    if batch.depth is not None:
        return depth_priors.sparse_depth_l1(depths, frame_pairs.flatten(batch.depth))
    if weights.get("depth_supervision", 0.0):
        raise ValueError(
            "config.loss_weights.depth_supervision needs depth in every batch, got "
            "none: give a data set with depth, or set the weight to 0"
        )
    return jnp.zeros(())


def _reconstruction_terms(
    frames: Array,
    depth: Array,
    rotation_ab: Array,
    translation: Array,
    rotation_ba: Array,
    intrinsics: Array,
    pairs: Pairs,
    reverse: Array,
) -> dict[str, Array]:
    """Returns the terms that compare the warped frame b with a, at one resolution.

    Args:
        frames: `[b t h w 3]`.
        depth: `[b t h w]`.
        rotation_ab: `[m 3 3]`.
        translation: `[b n h w 3]`, total.
        rotation_ba: `[m 3 3]`.
        intrinsics: `[b 3 3]`.
        pairs: for their indices.
        reverse: `[n]`, index of each pair's opposite direction.
    """
    image_a, image_b, depth_a, depth_b = (
        frame_pairs.select(values, index)
        for values in (frames, depth)
        for index in (pairs.target_index, pairs.source_index)
    )
    depth_b = jax.lax.stop_gradient(depth_b)
    translation_ab = frame_pairs.flatten(translation)
    translation_ba = frame_pairs.flatten(translation[:, reverse])
    pair_intrinsics = jnp.repeat(intrinsics, len(pairs.target_index), axis=0)

    # I^_b = I_b<p'> and D^_b = D_b<p'> share one gather.
    warped = jax.vmap(warp.inverse_warp)(
        jnp.concatenate([image_b, depth_b[..., None]], axis=-1),
        depth_a,
        Motion(rotation_ab[:, None, None], translation_ab),
        pair_intrinsics,
    )
    image_warped, depth_warped = warped.image[..., :3], warped.image[..., 3]

    in_front = masking.in_front(warped.valid, warped.depth, depth_warped)
    weight = masking.proximity_weight(warped.valid, warped.depth, depth_warped)
    # T_ba<p'>, with a gradient to the field but not to p'.
    reverse_warped = jax.vmap(sampling.bilinear)(
        translation_ba, jax.lax.stop_gradient(warped.pixels)
    ).values
    return {
        "rgb": photometric.masked_l1(image_a, image_warped, in_front),
        "ssim": photometric.weighted_ssim_loss(image_a, image_warped, weight),
        "depth_consistency": consistency.depth_consistency(
            in_front, depth_warped, warped.depth
        ),
        "translation_cycle": consistency.translation_cycle(
            rotation_ab, translation_ab, reverse_warped, in_front
        ),
        "depth_variance": depth_priors.depth_variance(frame_pairs.flatten(depth)),
        "depth_smoothness": smoothness.edge_aware_disparity(
            frame_pairs.flatten(depth), frame_pairs.flatten(frames)
        ),
    }


# --- Settings and assembly -----------------------------------------------------------


def config_group() -> ml_collections.ConfigDict:
    """Returns `config.motion_field` with its defaults."""
    c = ml_collections.ConfigDict()
    # Motion net: `paper` (Li et al. 2020) or `correlation` (learns motion far sooner).
    c.motion_net = "paper"
    # Paper's net: show it the depth maps (an ablation of the paper switches it off).
    c.depth_input = True
    # Correlation net: estimate the residual after undoing the egomotion.
    c.ego_compensation = True
    # Zero residual vectors shorter than the mean residual length of the image.
    c.auto_mask = True
    # Steps over whose second half the residual motion is switched on; 0: at once.
    c.burnin_steps = 20000
    # Keep residual motion only on movable objects: instance labels, dilated by pixels.
    c.use_mask = False
    c.mask_dilation = 8
    # Divide depths and translations by the mean depth of each clip before the losses.
    c.scale_normalization = False
    # Resolutions on which the losses are taken, each half the one before with half the
    # weight.
    c.num_scales = 1
    # Steps over which the motion regularisers ramp up linearly; 0: full at once.
    c.regularizer_ramp_steps = 0
    return c


def create(config: ml_collections.ConfigDict) -> Method:
    """Returns method A as configured by `networks`, `camera` and `motion_field`.

    Raises:
        ValueError: an option has a value that does not exist.
    """
    depth_nets.check(config)
    options = config.motion_field
    settings.choice(config, "motion_field.motion_net", ("paper", "correlation"))
    if options.motion_net != "paper" and not options.depth_input:
        raise ValueError(
            "config.motion_field.depth_input=False is an ablation of "
            "motion_field.motion_net=paper; the correlation net needs depth"
        )
    frozen = ml_collections.FrozenConfigDict(config)
    return base.of_module(
        MotionFieldModel(frozen),
        geometry_terms.added_to(
            functools.partial(loss_terms, config=frozen), frozen.two_view
        ),
        needs_labels=options.use_mask,
        learns_intrinsics=config.camera.intrinsics != "given",
    )
