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
from mdm_jax.networks import correlation, layers, motion_field_net

InverseWarp = Callable[[Array, Array, Array, Array, Array], tuple[Array, Array, Array]]


def rays(
    intrinsics: Float[Array, "b 3 3"], size: tuple[int, int], stride: int
) -> Float[Array, "b h w 2"]:
    """Returns x/z and y/z of the ray `K^-1 p~` through every stride-th pixel.

    Args:
        intrinsics: of the unstrided grid.
        size: (h, w) of the strided grid.
        stride: pixel (i, j) of the strided grid lies at (stride i, stride j).
    """
    height, width = size
    focal_x, focal_y, center_x, center_y = (
        intrinsics[:, i, j][:, None, None] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2))
    )
    x = (stride * jnp.arange(width, dtype=jnp.float32))[None, None, :]
    y = (stride * jnp.arange(height, dtype=jnp.float32))[None, :, None]
    shape = (intrinsics.shape[0], height, width)
    return jnp.stack(
        [
            jnp.broadcast_to((x - center_x) / focal_x, shape),
            jnp.broadcast_to((y - center_y) / focal_y, shape),
        ],
        axis=-1,
    )


def _halved(intrinsics: Float[Array, "b 3 3"]) -> Float[Array, "b 3 3"]:
    """Returns K of the half-resolution grid: c' = (c + 0.5) / 2 - 0.5."""
    scale = jnp.asarray([[0.5, 1.0, 0.5], [1.0, 0.5, 0.5], [1.0, 1.0, 1.0]])
    shift = jnp.asarray([[0.0, 0.0, -0.25], [0.0, 0.0, -0.25], [0.0, 0.0, 0.0]])
    return intrinsics * scale[None] + shift[None]


def rigid_flow(
    rays_a: Float[Array, "b h w 2"],
    inverse_depth: Float[Array, "b h w"],
    angles: Float[Array, "b 3"],
    translation: Float[Array, "b 3"],
) -> Float[Array, "b h w 2"]:
    """Returns the first-order motion of the rays under `X -> R X + t`.

    Longuet-Higgins and Prazdny 1980, eq. 2.3, for the rotation `1 + [angles]x`.

    Args:
        rays_a: x/z and y/z.
        inverse_depth: 1/z.
        angles: small Euler angles, radians.
        translation: in units of depth.
    """
    x, y = rays_a[..., 0], rays_a[..., 1]
    turn_x, turn_y, turn_z = (angles[:, i][:, None, None] for i in range(3))
    move_x, move_y, move_z = (translation[:, i][:, None, None] for i in range(3))
    flow_x = turn_y - turn_z * y + x * (turn_y * x - turn_x * y)
    flow_y = turn_z * x - turn_x + y * (turn_y * x - turn_x * y)
    flow_x = flow_x + (move_x - x * move_z) * inverse_depth
    flow_y = flow_y + (move_y - y * move_z) * inverse_depth
    return jnp.stack([flow_x, flow_y], axis=-1)


class FeatureEncoder(nn.Module):
    """Two convolutions to unit vectors at half resolution.

    Attributes:
        features: length of the vectors.
        dtype: of the convolutions.
    """

    features: int = 16
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h w 3"]
    ) -> Float[Array, "b (h+1)//2 (w+1)//2 c"]:
        """Returns float32 features of centred colours."""
        # Each 2x2 block of the image is one pixel here: the features are centred where
        # average pooling has its pixels, and no convolution is strided.
        x = layers.space_to_depth(layers.pad_to_even(image))
        x = nn.relu(layers.Conv(self.features, dtype=self.dtype, name="conv1")(x))
        linear = nn.initializers.lecun_normal()
        x = layers.Conv(
            self.features,
            use_bias=False,
            kernel_init=linear,
            dtype=self.dtype,
            name="conv2",
        )(x)
        x = x.astype(jnp.float32)
        # What all pixels have in common says nothing about which is which: without it,
        # an untrained encoder's soft-argmax flow has half the error.
        x = x - jnp.mean(x, axis=(1, 2), keepdims=True)
        # The bound keeps gradients small where an image is flat and features vanish.
        squared = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
        return x * lax.rsqrt(squared + 1e-6)


class EgomotionTrunk(nn.Module):
    """Strided convolutions with ray coordinates at each level, then a mean.

    Attributes:
        widths: of the convolutions, each halving the resolution.
        dtype: of the convolutions.
    """

    widths: tuple[int, ...]
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], intrinsics: Float[Array, "b 3 3"]
    ) -> Float[Array, "b k"]:
        """Returns features of the pair, float32; intrinsics are of x's grid."""
        for index, width in enumerate(self.widths):
            conv = layers.Conv(width, 3, 2, dtype=self.dtype, name=f"conv{index + 1}")
            coordinates = rays(intrinsics, x.shape[1:3], 2**index).astype(self.dtype)
            x = jnp.concatenate([x.astype(self.dtype), coordinates], axis=-1)
            x = nn.relu(conv(x))
        return jnp.mean(x.astype(jnp.float32), axis=(1, 2))


class ResidualHead(nn.Module):
    """A small U-Net whose three output channels start at zero.

    Attributes:
        widths: from the input's resolution down, each level at half the one before.
        dtype: of the convolutions.
    """

    widths: tuple[int, ...]
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w 3"]:
        """Returns the head's output, float32."""
        # Many measurements of a pixel to few channels, before pixels are compared.
        mix = layers.Conv(self.widths[0], 1, dtype=self.dtype, name="mix")
        x = nn.relu(mix(x))
        skips = []
        for index, width in enumerate(self.widths):
            stride = 1 if index == 0 else 2
            name = f"down{index}"
            x = layers.Conv(width, 3, stride, dtype=self.dtype, name=name)(x)
            x = nn.relu(x)
            skips.append(x)
        skips.pop()
        for index in reversed(range(len(skips))):
            width, skip = self.widths[index], skips[index]
            x = layers.TransposedConv(width, self.dtype, name=f"up{index}")(x)
            x = nn.relu(x[:, : skip.shape[1], : skip.shape[2], :])
            x = jnp.concatenate([x, skip], axis=-1)
            x = nn.relu(layers.Conv(width, dtype=self.dtype, name=f"merge{index}")(x))
        return layers.Conv(
            3, kernel_init=nn.initializers.zeros, dtype=self.dtype, name="output"
        )(x).astype(jnp.float32)


def _swapped(x: Array) -> Array:
    """Returns the two halves of the batch exchanged: frame a's values become b's."""
    return jnp.concatenate([x[x.shape[0] // 2 :], x[: x.shape[0] // 2]])


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
            both_directions: a promise that the second half of the batch is the first
                with a and b exchanged. Then nothing is computed twice.

        Raises:
            ValueError: if inverse_warp is needed and missing.
        """
        if self.ego_compensation and inverse_warp is None:
            raise ValueError(
                "motion net expects inverse_warp for ego_compensation, got None: pass "
                "a sampler or set ego_compensation=False"
            )
        pairs = image_a.shape[0]
        if both_directions:
            images, depths = image_a, depth_a
        else:
            # Both orders of every pair, because egomotion is antisymmetric.
            images = jnp.concatenate([image_a, image_b])
            depths = jnp.concatenate([depth_a, depth_b])
            intrinsics = jnp.concatenate([intrinsics, intrinsics])
        half_intrinsics = _halved(intrinsics)

        # <D> over both frames of a pair, the unit of length.
        mean_depth = jnp.mean(depths, axis=(1, 2))
        mean_depth = 0.5 * (mean_depth + _swapped(mean_depth))
        inputs = lax.stop_gradient(depths) if self.stop_depth_gradient else depths
        own_mean = jnp.mean(inputs, axis=(1, 2), keepdims=True)
        log_depth = layers.average_pool(jnp.log(inputs / own_mean)[..., None])

        images = layers.centered(images)
        encoder = FeatureEncoder(self.features, self.dtype, name="encoder")
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
        trunk = EgomotionTrunk(
            self._scaled(self.trunk_widths), self.dtype, name="trunk"
        )
        ordered = trunk(jnp.concatenate(matching, axis=-1), half_intrinsics)
        egomotion = nn.Dense(
            6,
            use_bias=False,
            kernel_init=nn.initializers.variance_scaling(0.01, "fan_in", "normal"),
            name="egomotion",
        )(ordered - _swapped(ordered))
        rotation_scale = layers.LearnedScale(self.initial_scale, name="rotation_scale")
        scale = layers.LearnedScale(self.initial_scale, name="translation_scale")()
        angles = egomotion[:, :3] * rotation_scale()
        unit_translation = egomotion[:, 3:] * scale
        translation = unit_translation * mean_depth[:, None]

        # Object motion: what the camera's does not explain. It is computed for the pairs
        # asked for only, and without a gradient to egomotion: explaining the scene by
        # the camera as far as possible is not this head's to undo.
        half_depth = layers.average_pool(depths[..., None])
        half_rays = rays(half_intrinsics, volume.shape[1:3], 1)[:pairs]
        if self.ego_compensation:
            colors = layers.average_pool(images)
            frames = jnp.concatenate([features, colors, half_depth], axis=-1)
            evidence = _compensated(
                frames[:pairs],
                _swapped(frames)[:pairs],
                angles[:pairs],
                translation[:pairs],
                half_intrinsics[:pairs],
                inverse_warp=inverse_warp,
                radius=self.residual_radius or self.radius,
                sharpness=sharpness,
            )
        else:
            inverse_depth = mean_depth[:, None, None] / half_depth[..., 0]
            expected_flow = rigid_flow(
                half_rays,
                inverse_depth[:pairs],
                angles[:pairs],
                unit_translation[:pairs],
            )
            focal = half_intrinsics[:pairs, (0, 1), (0, 1)][:, None, None, :]
            unexplained = flow[:pairs] - lax.stop_gradient(expected_flow * focal)
            evidence = [x[:pairs] for x in matching]
            evidence.append(unexplained * _flow_unit(self.radius))
        evidence = jnp.concatenate([*evidence, half_rays], axis=-1)
        head = ResidualHead(self._scaled(self.residual_widths), self.dtype, name="head")
        residual = head(evidence.astype(self.dtype))
        residual = layers.double_bilinear(residual, depth_a.shape[1:3])
        residual = residual * depth_a[..., None] * scale
        return motion_field_net.MotionFieldOutput(
            angles=angles[:pairs],
            translation=translation[:pairs],
            residual=residual,
            # The intrinsics do not change sign with the order, so neither may this.
            bottleneck=(ordered + _swapped(ordered))[:pairs],
        )

    def _scaled(self, widths: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(layers.scaled_width(w, self.width_multiplier) for w in widths)
