"""The vision transformer of DINOv2: an image in, token maps of four of its layers out.

Dosovitskiy et al. 2021 with layer scale, as Oquab et al. 2023 (DINOv2) trained it and
Yang et al. 2024 (Depth Anything V2) use it. Position embeddings are those of a square
grid, interpolated by cubics to the grid of the image. Attention may carry low-rank
updates (LoRA; Hu et al. 2022), which are zero at first.
"""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mdm_jax.networks import layers, resampling

PATCH = 14
_EPSILON = 1e-6


class Size(NamedTuple):
    """How large a transformer is.

    Attributes:
        width: of a token.
        depth: number of layers.
        heads: of attention.
        taps: indices of the layers whose tokens are returned.
        grid: side of the square grid that the position embeddings were trained on.
    """

    width: int
    depth: int
    heads: int
    taps: tuple[int, ...]
    grid: int = 37


SMALL = Size(384, 12, 6, (2, 5, 8, 11))
BASE = Size(768, 12, 12, (2, 5, 8, 11))
LARGE = Size(1024, 24, 16, (4, 11, 17, 23))


class Dense(nn.Module):
    """A linear layer with, where rank is not 0, an update `x A B` of that rank."""

    features: int
    rank: int = 0
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b n ci"]) -> Float[Array, "b n co"]:
        width = x.shape[-1]
        kernel = self.param(
            "kernel", nn.initializers.normal(0.02), (width, self.features)
        )
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        y = x @ kernel.astype(self.dtype) + bias.astype(self.dtype)[None, None]
        if self.rank:
            a = self.param("lora_a", layers.scaled_normal(1.0), (width, self.rank))
            b = self.param("lora_b", nn.initializers.zeros, (self.rank, self.features))
            y = y + x @ a.astype(self.dtype) @ b.astype(self.dtype)
        return y


def _norm(x: Array, dtype: layers.Dtype, name: str) -> Array:
    return nn.LayerNorm(epsilon=_EPSILON, dtype=dtype, name=name)(x)


class Block(nn.Module):
    """Attention and a perceptron, each around a shortcut and scaled per channel."""

    heads: int
    rank: int = 0
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b n c"]) -> Float[Array, "b n c"]:
        b, n, width = x.shape

        def scaled(y: Array, name: str) -> Array:
            gamma = self.param(name, nn.initializers.constant(1e-5), (width,))
            return y * gamma.astype(self.dtype)[None, None]

        y = _norm(x, self.dtype, "norm1")
        y = Dense(3 * width, self.rank, self.dtype, name="qkv")(y)
        q, k, v = jnp.moveaxis(y.reshape(b, n, 3, self.heads, -1), 2, 0)
        logits = jnp.einsum("bnhc,bmhc->bhnm", q, k) * (width // self.heads) ** -0.5
        weights = jax.nn.softmax(logits.astype(jnp.float32), axis=-1)
        y = jnp.einsum("bhnm,bmhc->bnhc", weights.astype(self.dtype), v)
        y = Dense(width, self.rank, self.dtype, name="proj")(y.reshape(b, n, width))
        x = x + scaled(y, "gamma1")

        y = _norm(x, self.dtype, "norm2")
        y = Dense(4 * width, dtype=self.dtype, name="fc1")(y)
        y = nn.gelu(y, approximate=False)
        return x + scaled(Dense(width, dtype=self.dtype, name="fc2")(y), "gamma2")


class VisionTransformer(nn.Module):
    """DINOv2 without registers.

    Attributes:
        size: its size.
        rank: of the low-rank updates of attention; 0 for none.
        dtype: of the computation; parameters are float32.
    """

    size: Size = SMALL
    rank: int = 0
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, image: Float[Array, "b h w 3"]) -> list[Array]:
        """Returns the normalised patch tokens of `size.taps`, as maps `[b h/14 w/14 c]`.

        Args:
            image: standardised colours; sides are multiples of 14.

        Raises:
            ValueError: a side is not.
        """
        b, height, width, _ = image.shape
        if height % PATCH or width % PATCH:
            raise ValueError(
                f"a vision transformer expects sides that are multiples of {PATCH}, got "
                f"{height}x{width}"
            )
        rows, columns = height // PATCH, width // PATCH
        channels, grid = self.size.width, self.size.grid

        # A convolution whose stride is its kernel is a product of patches.
        x = image.astype(self.dtype).reshape(b, rows, PATCH, columns, PATCH, 3)
        x = x.transpose(0, 1, 3, 2, 4, 5).reshape(b, rows * columns, -1)
        x = Dense(channels, dtype=self.dtype, name="patch_embed")(x)

        embed_init = nn.initializers.normal(0.02)
        cls = self.param("cls_token", embed_init, (1, 1, channels))
        positions = self.param("pos_embed", embed_init, (1, 1 + grid**2, channels))
        of_patches = positions[:, 1:].reshape(1, grid, grid, channels)
        if (rows, columns) != (grid, grid):
            of_patches = resampling.resize_cubic(of_patches, (rows, columns))
        x = x + of_patches.reshape(1, rows * columns, channels).astype(self.dtype)
        first = jnp.broadcast_to(cls + positions[:, :1], (b, 1, channels))
        x = jnp.concatenate([first.astype(self.dtype), x], axis=1)

        norm = nn.LayerNorm(epsilon=_EPSILON, dtype=self.dtype, name="norm")
        maps = []
        for i in range(self.size.depth):
            block = Block(self.size.heads, self.rank, self.dtype, name=f"block{i}")
            x = block(x)
            if i in self.size.taps:
                maps.append(norm(x)[:, 1:].reshape(b, rows, columns, channels))
        return maps
