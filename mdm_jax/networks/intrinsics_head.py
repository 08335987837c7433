"""Learned intrinsics: predicted from the features of a frame pair, or one per video.

Both return (fx, fy, cx, cy) in pixels of an image of the given size. Parameters are in
units of the image's sides, so that they do not depend on resolution.
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int


class PairIntrinsics(nn.Module):
    """Intrinsics from a motion net's bottleneck (Gordon et al. 2019, sec. 3).

    Kernels are initially 0, so every pair starts with f = 0.69 (w, h) and the centre.
    """

    @nn.compact
    def __call__(
        self, bottleneck: Float[Array, "b c"], size: tuple[int, int]
    ) -> Float[Array, "b 4"]:
        """Returns (fx, fy, cx, cy) of each pair, in pixels.

        The caller averages the two directions of a pair.

        Args:
            bottleneck: features of the pair.
            size: (h, w) of the image.
        """
        height, width = size
        unit = jnp.asarray([[width, height]], jnp.float32)

        def linear(name):
            return nn.Dense(
                2,
                kernel_init=nn.initializers.zeros,
                precision=lax.Precision.HIGHEST,
                name=name,
            )(bottleneck)

        # f = softplus(linear) (W, H), c = (linear + 0.5) (W, H)
        focal = nn.softplus(linear("focal")) * unit
        center = (linear("center") + 0.5) * unit
        return jnp.concatenate([focal, center], axis=-1)


class VideoIntrinsics(nn.Module):
    """One learned camera per video, for videos of unknown cameras.

    Attributes:
        num_videos: number of cameras.
    """

    num_videos: int

    @nn.compact
    def __call__(
        self, video_index: Int[Array, " b"], size: tuple[int, int]
    ) -> Float[Array, "b 4"]:
        """Returns (fx, fy, cx, cy) of each clip, in pixels.

        Args:
            video_index: the video of each clip, in [0, num_videos).
            size: (h, w) of the image.
        """
        height, width = size
        shape = (self.num_videos, 2)
        focal = self.param("focal", nn.initializers.ones, shape)
        center = self.param("center", nn.initializers.constant(0.5), shape)
        unit = jnp.asarray([[width, height]], jnp.float32)
        # f = x (H + W) / 2, c = y (W, H) from the border, half a pixel before pixel 0.
        # The start, x = 1 and y = 1/2, is `geometry.intrinsics.initial_guess`.
        return jnp.concatenate(
            [
                focal[video_index] * (height + width) / 2.0,
                center[video_index] * unit - 0.5,
            ],
            axis=-1,
        )
