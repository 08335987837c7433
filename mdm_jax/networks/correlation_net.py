"""A motion net that is given the matching between frames instead of discovering it.

Plain convolutions must learn to match two frames before they can measure motion, and in
short training do not. Here features of the frames are correlated within a window, and
egomotion is read from the correlation, its soft-argmax flow, the pixels' rays and both
depths. For object motion, frame b is warped to frame a as if nothing but the camera
moved, and correlated again: what still does not match moves on its own.

Everything works at half resolution, where pixel j covers pixels 2 j and 2 j + 1 of the
image. Depth enters divided by its mean over both frames, and translations leave
multiplied by it: they scale with the depth they belong to, whatever that scale is.
"""

from __future__ import annotations

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from mdm_jax import numerics
from mdm_jax.networks import (
    correlation,
    correlation_layers,
    layers,
    motion_field_net,
    rays,
    resampling,
)

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


def _compensated(
    frame_a: Float[Array, "b h w c+4"],
    frame_b: Float[Array, "b h w c+4"],
    angles: Float[Array, "b 3"],
    translation: Float[Array, "b 3"],
    intrinsics: Float[Array, "b 3 3"],
    *,
    inverse_warp: InverseWarp,
    radius: tuple[int, int],
    sharpness: Array,
) -> list[Array]:
    """Returns what differs between frame a and frame b warped to a by the egomotion.

    That is the correlation and its flow, the difference of colours and the relative
    difference of depths, both 0 where frame b is not seen, and where it is seen.

    Args:
        frame_a: features, colours (3) and depth (1).
        frame_b: the same of frame b.
        angles: of the rotation `b_from_a`.
        translation: `b_from_a`.
        intrinsics: K of these frames.
        inverse_warp: see `CorrelationMotionNet`.
        radius: of the correlation.
        sharpness: of the soft-argmax flow.
    """
    splits = (frame_a.shape[-1] - 4, frame_a.shape[-1] - 1)
    features_a, colors_a, depth_a = jnp.split(frame_a, splits, axis=-1)
    # The gradient of a warp with respect to its source is a scatter, dear on CPU. The
    # features learn from frame a and from the first correlation.
    values, projected_depth, valid = inverse_warp(
        *lax.stop_gradient(
            (frame_b, depth_a[..., 0], angles, translation, intrinsics),
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
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        image_a: Float[Array, "b h w 3"],
        depth_a: Float[Array, "b h w"],
        image_b: Float[Array, "b h w 3"],
        depth_b: Float[Array, "b h w"],
        intrinsics: Float[Array, "b 3 3"],
        *,
        inverse_warp: InverseWarp | None = None,
        both_directions: bool = False,
    ) -> motion_field_net.MotionFieldOutput:
        """Returns the motion `b_from_a`.

        Args:
            image_a: target, colours in [0, 1].
            depth_a: its depth.
            image_b: source.
            depth_b: its depth.
            intrinsics: K of these images, in pixels.
            inverse_warp: needed for ego compensation: `(source [b h w c],
                target_depth [b h w], angles [b 3], translation [b 3], intrinsics)` to
                `(values [b h w c], projected_depth [b h w], valid [b h w])`, the source
                sampled where the target's moved points project. It is called with
                images of half resolution and never differentiated.
            both_directions: a promise that pairs 2 i and 2 i + 1 are one pair with a and
                b exchanged. Then nothing is computed twice. (Neighbours, not halves of
                the batch: devices that share a batch then exchange nothing.)

        Raises:
            ValueError: if inverse_warp is needed and missing.
        """
        if self.residual_motion and self.ego_compensation and inverse_warp is None:
            raise ValueError(
                "motion net expects inverse_warp for ego_compensation, got None: pass "
                "a sampler or set ego_compensation=False"
            )
        # The directions asked for, among both of every pair.
        asked = slice(None, None, 1 if both_directions else 2)
        if both_directions:
            images, depths = image_a, depth_a
        else:
            # Both orders of every pair, because egomotion is antisymmetric.
            images = _interleaved(image_a, image_b)
            depths = _interleaved(depth_a, depth_b)
            intrinsics = _interleaved(intrinsics, intrinsics)
        half_intrinsics = rays.halved(intrinsics)

        # <D> over both frames of a pair, the unit of length.
        mean_depth = jnp.mean(depths, axis=(1, 2))
        mean_depth = 0.5 * (mean_depth + _swapped(mean_depth))
        inputs = lax.stop_gradient(depths) if self.stop_depth_gradient else depths
        own_mean = jnp.mean(inputs, axis=(1, 2), keepdims=True)
        log_depth = resampling.average_pool(jnp.log(inputs / own_mean)[..., None])

        images = layers.centered(images)
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
        matching = [
            volume,
            flow * _flow_unit(self.radius),
            log_depth,
            _swapped(log_depth),
        ]

        # Egomotion: antisymmetric in the order of the frames, f(a, b) - f(b, a).
        trunk = correlation_layers.EgomotionTrunk(
            self._scaled(self.trunk_widths), self.dtype, name="trunk"
        )
        ordered = trunk(jnp.concatenate(matching, axis=-1), half_intrinsics)
        egomotion = nn.Dense(
            6,
            use_bias=False,
            kernel_init=layers.scaled_normal(0.01),
            name="egomotion",
        )(ordered - _swapped(ordered))
        rotation_scale = layers.LearnedScale(self.initial_scale, name="rotation_scale")
        scale = layers.LearnedScale(self.initial_scale, name="translation_scale")()
        angles = egomotion[:, :3] * rotation_scale()
        unit_translation = egomotion[:, 3:] * scale
        translation = unit_translation * mean_depth[:, None]

        # The intrinsics do not change sign with the order, so neither may this.
        bottleneck = (ordered + _swapped(ordered))[asked]
        if not self.residual_motion:
            return motion_field_net.MotionFieldOutput(
                angles=angles[asked],
                translation=translation[asked],
                residual=jnp.zeros((*depth_a.shape, 3)),
                bottleneck=bottleneck,
            )

        # Object motion: what the camera's does not explain. It is computed for the pairs
        # asked for only, and without a gradient to egomotion: explaining the scene by
        # the camera as far as possible is not this head's to undo.
        half_depth = resampling.average_pool(depths[..., None])
        _, half_height, half_width, _ = volume.shape
        half_rays = rays.ray_coordinates(half_intrinsics, (half_height, half_width), 1)
        half_rays = half_rays[asked]
        if inverse_warp is not None and self.ego_compensation:
            colors = resampling.average_pool(images)
            frames = jnp.concatenate([features, colors, half_depth], axis=-1)
            evidence = _compensated(
                frames[asked],
                _swapped(frames)[asked],
                angles[asked],
                translation[asked],
                half_intrinsics[asked],
                inverse_warp=inverse_warp,
                radius=self.residual_radius or self.radius,
                sharpness=sharpness,
            )
        else:
            inverse_depth = mean_depth[:, None, None] / half_depth[..., 0]
            expected_flow = rays.rigid_flow(
                half_rays,
                inverse_depth[asked],
                angles[asked],
                unit_translation[asked],
            )
            focal = half_intrinsics[asked][:, (0, 1), (0, 1)][:, None, None, :]
            unexplained = flow[asked] - lax.stop_gradient(expected_flow * focal)
            evidence = [x[asked] for x in matching]
            evidence.append(unexplained * _flow_unit(self.radius))
        evidence = jnp.concatenate([*evidence, half_rays], axis=-1)
        head = correlation_layers.ResidualHead(
            self._scaled(self.residual_widths), self.dtype, name="head"
        )
        residual = head(evidence.astype(self.dtype))
        _, height, width = depth_a.shape
        residual = resampling.double_bilinear(residual, (height, width))
        residual = residual * depth_a[..., None] * scale
        return motion_field_net.MotionFieldOutput(
            angles=angles[asked],
            translation=translation[asked],
            residual=residual,
            bottleneck=bottleneck,
        )

    def _scaled(self, widths: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(layers.scaled_width(w, self.width_multiplier) for w in widths)
