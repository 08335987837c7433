"""Structural dissimilarity of images, from means over 3x3 windows.

Notation: x and y are the images, s = x + y, d = x - y, E the (weighted) mean over a
window, var[z] = E[z^2] - E[z]^2. Since

    var[x] + var[y] = (var[s] + var[d]) / 2,    2 cov[x, y] = var[x] + var[y] - var[d],

the contrast-structure term of SSIM needs the variances of s and d only:

    (2 cov + c2) / (var[x] + var[y] + c2) = 1 - 2 var[d] / (var[s] + var[d] + 2 c2),

and the brightness term likewise their squared means. This form needs one window mean
less, and for equal images it is exactly 0 with zero gradient, which a difference of two
rounded variances is not.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class WeightedSsim(NamedTuple):
    """Dissimilarity of the windows inside the image.

    Attributes:
        dissimilarity: `[*n h-2 w-2 c]`, in [0, 1].
        average_weight: `[*n h-2 w-2]`, mean weight in each window.
    """

    dissimilarity: Array
    average_weight: Array


def weighted_ssim(
    x: Float[Array, "*n h w c"],
    y: Float[Array, "*n h w c"],
    weight: Float[Array, "*n h w"],
    *,
    c1: float = math.inf,
    c2: float = 9e-6,
    weight_epsilon: float = 0.01,
) -> WeightedSsim:
    """Returns `clip((1 - ssim) / 2, 0, 1)` of weighted 3x3 windows, and their weight.

    Pixels with a weight near 0 do not enter the moments of their windows (Li et al. 2020,
    section 3.3, with `masking.proximity_weight`).

    Args:
        x: an image in [0, 1].
        y: the image to compare with, in [0, 1].
        weight: at least 0; it has a gradient.
        c1: constant of the brightness term; infinite leaves the term out.
        c2: constant of the contrast-structure term; infinite leaves the term out.
        weight_epsilon: added to the weight, so that windows of zero weight have
            unweighted means.

    Raises:
        ValueError: the image is smaller than a window, or shapes disagree.
    """
    _check(x, y, c1, c2, smallest=3)
    if weight.shape != x.shape[:-1]:
        raise ValueError(
            f"weight expects one value per pixel of x, shape {x.shape[:-1]}, got "
            f"{weight.shape}: drop or add the channel axis"
        )
    weight = weight[..., None]
    average_weight = _window_mean(weight)
    inverse_weight = 1.0 / (average_weight + weight_epsilon)
    weight = weight + weight_epsilon

    def expectation(z: Array) -> Array:
        # E_w[z] = pool(z (W + eps)) / (pool(W) + eps)
        return _window_mean(z * weight) * inverse_weight

    return WeightedSsim(
        dissimilarity=_dissimilarity(x, y, expectation, c1, c2),
        average_weight=average_weight[..., 0],
    )


def dissimilarity(
    x: Float[Array, "*n h w c"],
    y: Float[Array, "*n h w c"],
    *,
    c1: float = 1e-4,
    c2: float = 9e-4,
) -> Float[Array, "*n h w c"]:
    """Returns `clip((1 - ssim) / 2, 0, 1)` of the 3x3 window around each pixel.

    Images are padded by reflection, so the result has their size (Lee et al. 2021, eq.
    20, with the constants of Wang et al. 2004 for images in [0, 1]).

    Args:
        x: an image in [0, 1].
        y: the image to compare with, in [0, 1].
        c1: constant of the brightness term; infinite leaves the term out.
        c2: constant of the contrast-structure term; infinite leaves the term out.

    Raises:
        ValueError: the image is smaller than 2x2, or shapes disagree.
    """
    _check(x, y, c1, c2, smallest=2)
    border = [(0, 0)] * (x.ndim - 3) + [(1, 1), (1, 1), (0, 0)]
    x = jnp.pad(x, border, mode="reflect")
    y = jnp.pad(y, border, mode="reflect")
    return _dissimilarity(x, y, _window_mean, c1, c2)


def _dissimilarity(x, y, expectation, c1, c2):
    s, d = x + y, x - y
    mean_s, mean_d = expectation(s), expectation(d)
    brightness = contrast = 0.0
    if not math.isinf(c1):
        # (1 - (2 mu_x mu_y + c1) / (mu_x^2 + mu_y^2 + c1)) / 2
        square_s, square_d = mean_s * mean_s, mean_d * mean_d
        brightness = square_d / (square_s + square_d + 2.0 * c1)
    if not math.isinf(c2):
        # (1 - (2 cov + c2) / (var_x + var_y + c2)) / 2
        var_s = expectation(s * s) - mean_s * mean_s
        var_d = expectation(d * d) - mean_d * mean_d
        contrast = var_d / (var_s + var_d + 2.0 * c2)
    # (1 - ssim) / 2 for ssim = (1 - 2 brightness) (1 - 2 contrast)
    dissimilar = brightness + contrast - 2.0 * brightness * contrast
    return jnp.clip(dissimilar, 0.0, 1.0)


@jax.custom_vjp
def _window_mean(z: Array) -> Array:
    """Returns the means over all 3x3 windows inside `[* h w c]`: `[* h-2 w-2 c]`."""
    rows = z[..., :-2, :, :] + z[..., 1:-1, :, :] + z[..., 2:, :, :]
    return (rows[..., :-2, :] + rows[..., 1:-1, :] + rows[..., 2:, :]) / 9.0


def _window_mean_forward(z):
    return _window_mean(z), None


def _window_mean_backward(_, cotangent):
    # The transpose of a window sum is the window sum of the padded cotangent. JAX's own
    # has six padded arrays and is twice as slow on CPU.
    border = [(0, 0)] * (cotangent.ndim - 3) + [(2, 2), (2, 2), (0, 0)]
    return (_window_mean(jnp.pad(cotangent, border)),)


_window_mean.defvjp(_window_mean_forward, _window_mean_backward)


def _check(x, y, c1, c2, *, smallest):
    if x.shape != y.shape:
        raise ValueError(f"x and y expect one shape, got {x.shape} and {y.shape}")
    if min(x.shape[-3:-1]) < smallest:
        raise ValueError(
            f"SSIM expects images [*n h w c] of at least {smallest}x{smallest} pixels, "
            f"got {x.shape}: use fewer scales or larger images"
        )
    if math.isinf(c1) and math.isinf(c2):
        raise ValueError("c1 and c2 are both infinite, which makes SSIM constant")
