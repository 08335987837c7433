"""The warp that the papers draw: a source image seen from the target camera."""

from __future__ import annotations

from jaxtyping import Array, Float

from mdm_jax.geometry import camera, motion, sampling
from mdm_jax.structs import Motion, Warped


def inverse_warp(
    source_image: Float[Array, "hs ws c"],
    target_depth: Float[Array, "h w"],
    source_from_target: Motion,
    K_target: Float[Array, "3 3"],
    K_source: Float[Array, "3 3"] | None = None,
) -> Warped:
    """Returns the source image sampled where the target's pixels moved to.

    `p_s(p) = pi(R X_t(p) + t)`, `I^_t(p) = I_s<p_s(p)>`. Differentiable in all array
    arguments. Pixels that leave the image or fall behind the camera are not valid and
    pass no gradient to depth, motion or intrinsics; depth is 0 behind the camera.

    Args:
        source_image: anything sampled bilinearly: colours, features, a depth map with
            a channel axis. Maps to be sampled later can use `Warped.pixels`.
        target_depth: of every target pixel, along the optical axis.
        source_from_target: the motion of every target pixel's 3D point.
        K_target: intrinsics in pixels of the target.
        K_source: intrinsics in pixels of the source; None if one camera took both.

    Raises:
        ValueError: the arguments are not one image and one depth map.
    """
    if source_image.ndim != 3 or target_depth.ndim != 2:
        raise ValueError(
            "inverse_warp expects source_image [h w c] and target_depth [h w], got "
            f"{list(source_image.shape)} and {list(target_depth.shape)}: jax.vmap over "
            "a batch"
        )
    points_target = camera.unproject(target_depth, K_target)
    points_source = motion.apply(source_from_target, points_target)
    projection = camera.project(
        points_source, K_target if K_source is None else K_source
    )
    height, width, _ = source_image.shape
    clamped = sampling.clamp(projection.pixels, height=height, width=width)
    return Warped(
        image=sampling.bilinear(source_image, clamped.pixels).values,
        depth=projection.depth,
        valid=projection.in_front & clamped.inside,
        pixels=clamped.pixels,
    )
