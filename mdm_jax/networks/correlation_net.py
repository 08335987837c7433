"""A motion net that matches frames by correlation instead of learning to match them.

Plain convolutions must learn to match two frames before they can measure motion, which
short training does not achieve. Here features of the frames are correlated within a
window, and egomotion is read from the correlation, its soft-argmax flow, the pixels'
rays and both depths. For object motion, frame b is warped to frame a as if only the
camera moved, and correlated again: what still does not match moves on its own.

Everything works at half resolution, where pixel j covers pixels 2 j and 2 j + 1 of the
image. The net's input is depth divided by its mean over both frames, and its
translations are multiplied by that mean: they scale with depth.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from mdm_jax import numerics
from mdm_jax.networks import (
    correlation,
    correlation_layers,
    layers,
    rays,
    resampling,
)
from mdm_jax.networks.motion_net import FramePairs, MotionOutput

InverseWarp = Callable[[Array, Array, Array, Array, Array], tuple[Array, Array, Array]]


def _swapped(x: Array) -> Array:
    """Returns neighbours in the batch exchanged: frame a's values become b's."""
    return x.reshape(-1, 2, *x.shape[1:])[:, ::-1].reshape(x.shape)


def _interleaved(a: Array, b: Array) -> Array:
    """Returns a[0], b[0], a[1], b[1], ..."""
    return jnp.stack([a, b], axis=1).reshape(-1, *a.shape[1:])


def _flow_unit(radius: tuple[int, int]) -> Float[Array, "1 1 1 2"]:
    """Returns the factor from pixels to fractions of the window."""
    unit = [1.0 / max(r, 1) for r in radius]
    return jnp.asarray(unit)[None, None, None, :]


class _Matches(NamedTuple):
    """How frames match the other frames of their pairs, at half resolution.

    Attributes:
        features: `[b h w c]`, that are correlated.
        flow: `[b h w 2]`, soft-argmax of the correlation, pixels.
        sharpness: of the soft-argmax.
        evidence: maps `[b h w ...]` from which egomotion is read.
    """

    features: Array
    flow: Array
    sharpness: Array
    evidence: list[Array]


class CorrelationMotionNet(nn.Module):
    """A motion net on correlation volumes.

    Attributes:
        width_multiplier: scales trunk_widths and residual_widths.
        radius: (x, y) of the correlation window in pixels of half resolution; it
            should cover half the largest expected flow.
        features: channels of the correlated features.
        trunk_widths: of the egomotion trunk.
        residual_widths: of the residual head.
        residual_motion: whether there is a residual head; without one the residual is 0.
        ego_compensation: whether the residual head sees frame b warped by the
            egomotion; otherwise it sees the first correlation, and its flow less the
            camera's.
        residual_radius: window of the second correlation; None: as `radius`.
        stop_depth_gradient: whether depth is a constant for this net's input. Depth as
            the unit of translation always has a gradient: without it, the loss would
            pull at the global scale, which it cannot know.
        initial_scale: initial value of the learned scales of rotation and translation.
        inverse_warp: needed for ego compensation: `(source [b h w c], target_depth
            [b h w], angles [b 3], translation [b 3], intrinsics)` to `(values [b h w c],
            projected_depth [b h w], valid [b h w])`, the source sampled where the
            target's moved points project. It is called with images of half resolution
            and never differentiated.
        both_directions: a promise that pairs 2 i and 2 i + 1 are one pair with a and b
            exchanged. Then nothing is computed twice. (Neighbours, not halves of the
            batch: devices that share a batch then exchange nothing.)
        dtype: of the convolutions; parameters and results are float32.
    """

    width_multiplier: float = 1.0
    radius: tuple[int, int] = (5, 2)
    features: int = 16
    trunk_widths: tuple[int, ...] = (32, 64, 64, 128)
    residual_widths: tuple[int, ...] = (32, 48, 64)
    residual_motion: bool = True
    ego_compensation: bool = True
    residual_radius: tuple[int, int] | None = None
    stop_depth_gradient: bool = False
    initial_scale: float = 0.01
    inverse_warp: InverseWarp | None = None
    both_directions: bool = False
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, pairs: FramePairs, *, train: bool = False) -> MotionOutput:
        """Returns the motion `b_from_a`.

        Args:
            pairs: with depth and intrinsics. Masks, if any, hold for both orders.
            train: not used; there are no batch norms.

        Raises:
            ValueError: `inverse_warp` is needed and missing.
        """
        if self.residual_motion and self.ego_compensation and self.inverse_warp is None:
            raise ValueError(
                "motion net expects inverse_warp for ego_compensation, got None: pass "
                "a sampler or set ego_compensation=False"
            )
        images, depths, intrinsics = self._both_orders(pairs)
        half_intrinsics = rays.halved(intrinsics)
        # <D> over both frames of a pair, the unit of length.
        mean_depth = jnp.mean(depths, axis=(1, 2))
        mean_depth = 0.5 * (mean_depth + _swapped(mean_depth))
        images = layers.centered(images)
        matches = self._match(images, depths)

        # Egomotion: antisymmetric in the order of the frames, f(a, b) - f(b, a).
        trunk = correlation_layers.EgomotionTrunk(
            self._scaled(self.trunk_widths), self.dtype, name="trunk"
        )
        ordered = trunk(jnp.concatenate(matches.evidence, axis=-1), half_intrinsics)
        egomotion = nn.Dense(
            6,
            use_bias=False,
            kernel_init=layers.scaled_normal(0.01),
            # Small numbers that move every pixel: not in reduced precision.
            precision=lax.Precision.HIGHEST,
            name="egomotion",
        )(ordered - _swapped(ordered))
        rotation_scale = layers.LearnedScale(self.initial_scale, name="rotation_scale")
        scale = layers.LearnedScale(self.initial_scale, name="translation_scale")()
        angles = egomotion[:, :3] * rotation_scale()
        unit_translation = egomotion[:, 3:] * scale
        translation = unit_translation * mean_depth[:, None]

        asked = self._asked
        output = MotionOutput(
            angles=angles[asked],
            translation=translation[asked],
            # The intrinsics do not change sign with the order, so neither may this.
            bottleneck=(ordered + _swapped(ordered))[asked],
        )
        if not self.residual_motion:
            return output

        # Object motion: what the egomotion does not explain. It has no gradient to the
        # egomotion, which should explain as much of the scene as it can.
        half_depth = resampling.average_pool(depths[..., None])
        if self.ego_compensation:
            colors = resampling.average_pool(images)
            frames = jnp.concatenate([matches.features, colors, half_depth], axis=-1)
            evidence = self._compensated(
                frames, output, half_intrinsics[asked], matches.sharpness
            )
        else:
            evidence = self._unexplained(
                matches,
                mean_depth[:, None, None] / half_depth[..., 0],
                angles,
                unit_translation,
                half_intrinsics,
            )
        half_rays = _rays_of(half_intrinsics, half_depth)[asked]
        evidence = jnp.concatenate([*evidence, half_rays], axis=-1)
        head = correlation_layers.ResidualHead(
            self._scaled(self.residual_widths), self.dtype, name="head"
        )
        residual = head(evidence.astype(self.dtype))
        _, height, width = depths.shape
        residual = resampling.double_bilinear(residual, (height, width))
        residual = residual * depths[asked][..., None] * scale
        return dataclasses.replace(output, residual=residual)

    @property
    def _asked(self) -> slice:
        """Which directions of the pairs are returned, of those `_both_orders` makes."""
        return slice(None, None, 1 if self.both_directions else 2)

    def _both_orders(self, pairs: FramePairs) -> tuple[Array, Array, Array]:
        """Returns images, depths and intrinsics of (a, b) and (b, a), side by side.

        Both orders are needed because egomotion is antisymmetric.
        """
        image_a, image_b = (
            # Grey is 0 after centring.
            image if mask is None else jnp.where(mask[..., None], image, 0.5)
            for image, mask in (
                (pairs.image_a, pairs.mask_a),
                (pairs.image_b, pairs.mask_b),
            )
        )
        if self.both_directions:
            return image_a, pairs.depth_a, pairs.intrinsics
        return (
            _interleaved(image_a, image_b),
            _interleaved(pairs.depth_a, pairs.depth_b),
            _interleaved(pairs.intrinsics, pairs.intrinsics),
        )

    def _match(self, images: Array, depths: Array) -> _Matches:
        """Returns the correlation of each frame with the other frame of its pair.

        Args:
            images: `[b h w 3]`, centred.
            depths: `[b h w]`.
        """
        inputs = lax.stop_gradient(depths) if self.stop_depth_gradient else depths
        own_mean = jnp.mean(inputs, axis=(1, 2), keepdims=True)
        log_depth = resampling.average_pool(jnp.log(inputs / own_mean)[..., None])
        encoder = correlation_layers.FeatureEncoder(
            self.features, self.dtype, name="encoder"
        )
        features = encoder(images)
        log_sharpness = self.param("log_sharpness", nn.initializers.constant(3.0), ())
        sharpness = jnp.exp(log_sharpness)
        volume = correlation.correlation_volume(
            features, _swapped(features), self.radius
        )
        flow = correlation.soft_argmax(volume, self.radius, sharpness)
        scaled_flow = flow * _flow_unit(self.radius)
        evidence = [volume, scaled_flow, log_depth, _swapped(log_depth)]
        return _Matches(features, flow, sharpness, evidence)

    def _compensated(
        self,
        frames: Array,
        egomotion: MotionOutput,
        intrinsics: Array,
        sharpness: Array,
    ) -> list[Array]:
        """Returns what differs between frame a and frame b warped to a by the egomotion.

        That is the correlation and its flow; the difference of colours and the relative
        difference of depths, both 0 where frame b is not seen; and where it is seen.

        Args:
            frames: `[b h/2 w/2 c+4]`, features, colours (3) and depth (1) of all frames.
            egomotion: of the directions asked for.
            intrinsics: K of these frames, of the directions asked for.
            sharpness: of the soft-argmax flow.
        """
        assert self.inverse_warp is not None
        asked, radius = self._asked, self.residual_radius or self.radius
        splits = (frames.shape[-1] - 4, frames.shape[-1] - 1)
        features_a, colors_a, depth_a = jnp.split(frames[asked], splits, axis=-1)
        # The gradient of a warp with respect to its source is a scatter, which is slow
        # on CPU. The features learn from frame a and from the first correlation.
        values, projected_depth, valid = self.inverse_warp(
            *lax.stop_gradient(
                (
                    _swapped(frames)[asked],
                    depth_a[..., 0],
                    egomotion.angles,
                    egomotion.translation,
                    intrinsics,
                ),
            )
        )
        valid = valid[..., None]
        values = jnp.where(valid, values, 0.0)
        features_b, colors_b, sampled_depth = jnp.split(values, splits, axis=-1)
        projected_depth = jnp.where(valid, projected_depth[..., None], 0.0)
        volume = correlation.correlation_volume(features_a, features_b, radius)
        flow = correlation.soft_argmax(volume, radius, sharpness)
        return [
            volume,
            flow * _flow_unit(radius),
            jnp.where(valid, colors_a - colors_b, 0.0),
            numerics.safe_divide(
                projected_depth - sampled_depth, projected_depth + sampled_depth
            ),
            valid.astype(jnp.float32),
        ]

    def _unexplained(
        self,
        matches: _Matches,
        inverse_depth: Array,
        angles: Array,
        unit_translation: Array,
        intrinsics: Array,
    ) -> list[Array]:
        """Returns the first correlation, and its flow less that of the egomotion.

        Args:
            matches: of all frames.
            inverse_depth: `[b h/2 w/2]`, in units of the inverse mean depth.
            angles: of the egomotion.
            unit_translation: of the egomotion, in units of the mean depth.
            intrinsics: K at half resolution.
        """
        asked = self._asked
        expected_flow = rays.rigid_flow(
            _rays_of(intrinsics, inverse_depth[..., None])[asked],
            inverse_depth[asked],
            angles[asked],
            unit_translation[asked],
        )
        focal = intrinsics[asked][:, (0, 1), (0, 1)][:, None, None, :]
        unexplained = matches.flow[asked] - lax.stop_gradient(expected_flow * focal)
        evidence = [x[asked] for x in matches.evidence]
        return [*evidence, unexplained * _flow_unit(self.radius)]

    def _scaled(self, widths: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(layers.scaled_width(w, self.width_multiplier) for w in widths)


def _rays_of(intrinsics: Array, image: Float[Array, "b h w c"]) -> Array:
    """Returns x/z and y/z of the ray through every pixel of an image."""
    _, height, width, _ = image.shape
    return rays.ray_coordinates(intrinsics, (height, width), 1)
