"""Inverse and forward warp: a source image as seen from the target camera.

The inverse warp samples the source for every target pixel and needs the target's depth;
the forward warp moves every source pixel to the target and needs the source's depth.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mdm_jax import numerics
from mdm_jax.geometry import camera, motion, pose, sampling, splatting
from mdm_jax.structs import Motion, Pose, Warped

# Source depths beyond this count as unknown, as in `camera.project`, and so do those
# below its inverse, so that the gradient of 1 / depth does not overflow float32.
_FARTHEST = 1e18
# Two depths with a smaller relative difference belong to one surface.
_ONE_SURFACE = 0.1


def inverse_warp(
    source_image: Float[Array, "hs ws c"],
    target_depth: Float[Array, "h w"],
    source_from_target: Motion,
    K_target: Float[Array, "3 3"],
    K_source: Float[Array, "3 3"] | None = None,
) -> Warped:
    """Returns the source image sampled at the projections of the target's pixels.

    `p_s(p) = pi(R X_t(p) + t)`, `I^_t(p) = I_s<p_s(p)>`. Differentiable in all array
    arguments. Pixels that project outside the image or lie behind the camera are not
    valid and pass no gradient to depth, motion or intrinsics; their depth is 0 if they
    are behind the camera.

    Args:
        source_image: any map that can be sampled bilinearly: colours, features, or a
            depth map with a channel axis. To sample other maps later, use
            `Warped.pixels`.
        target_depth: depth of every target pixel, along the optical axis.
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


def forward_warp(
    source_image: Float[Array, "h w c"],
    source_depth: Float[Array, "h w"],
    target_from_source: Motion | Pose,
    K: Float[Array, "3 3"],
    *,
    alpha: int = 2,
    mode: Literal["nearest", "soft"] = "nearest",
    beta: float = 20.0,
    refine: bool = True,
) -> Warped:
    """Returns the source image with its points moved into the target's view.

    `p_t(p) = pi(R X_s(p) + t)`: the source's points are splatted into a depth map D^fw
    of the target. The points of D^fw are moved back to the source, whose image is
    sampled there, so that colours are interpolated and not scattered (Lee et al. 2019,
    section 3.2).

    A splatted depth belongs to a point up to half a pixel away from the pixel's centre,
    which is an error of several percent on a distant road. `refine` moves the pixel's
    centre back to the source, interpolates the depth there, and moves that point to the
    target instead.

    Differentiable in all array arguments: in depth and motion through D^fw, with
    gradients to the visible points (`nearest`) or to all that contribute (`soft`), and
    through the coordinates at which the image is sampled. Points behind the camera or
    outside the image, and depths that are not positive and finite, are dropped without
    gradient.

    Args:
        source_image: any map that can be sampled bilinearly: colours, or masks, which
            the caller rounds up to keep them binary.
        source_depth: depth of every source pixel, along the optical axis.
        target_from_source: one rigid motion for all pixels: a Pose, or a Motion whose
            axes other than the last are 1. For several rigid parts, warp each.
        K: intrinsics in pixels of both images.
        alpha: factor by which the source's depth is first repeated in rows and columns,
            so that approaching surfaces, which grow in the image, get no holes.
        mode: how points become a depth map, see `splatting`.
        beta: for `soft`, how strongly near points hide far ones, per unit of depth; the
            unit is the harmonic mean of the source's depth.
        refine: whether D^fw is corrected as described above; False is the published
            warp.

    Returns:
        Maps at the target's pixels: `image`, 0 in holes; `depth` D^fw in the target
        camera frame, 0 in holes; `valid`, false in holes and where the source is
        sampled outside its image; `pixels`, the sampled source pixels, clamped to the
        image.

    Raises:
        ValueError: the arguments are not one image and its depth map, the motion is
            not one for all pixels, or an option is out of range.
    """
    _check_forward(source_image, source_depth, target_from_source, alpha, mode)
    height, width = source_depth.shape
    size = (height, width)
    target_from_source = Pose(
        rotation=target_from_source.rotation.reshape(3, 3),
        translation=target_from_source.translation.reshape(3),
    )
    known = (source_depth > 1 / _FARTHEST) & (source_depth < _FARTHEST)
    depth = jnp.where(known, source_depth, 1.0)
    # The finer grid, as `alpha^2` grids of the size of the image with shifted centres.
    K_beside = _beside(K, alpha)
    points_source = jax.vmap(camera.unproject, (None, 0))(depth, K_beside)
    points_target = pose.transform(target_from_source, points_source)
    projection = camera.project(points_target, K)
    pixels = projection.pixels
    z = jnp.where(known, projection.depth, 0.0)
    if mode == "nearest":
        splatted = splatting.nearest(*jax.lax.stop_gradient((pixels, z)), size)
    else:
        disparity = jax.lax.stop_gradient(numerics.masked_mean(1 / depth, known))
        splatted = splatting.soft(pixels, z, size, beta=beta * disparity)
    depth_target = splatted.depth
    if splatted.point is not None:
        # The gradient flows through the visible point of each pixel only.
        depth_of_point = _depth_of_point(
            splatted.point, depth, target_from_source, K_beside
        )
        seen = splatting.with_gradient_of(depth_target, depth_of_point)
        depth_target = jnp.where(splatted.covered, seen, 0.0)
    if refine:
        depth_target = _refined(
            depth_target, splatted.covered, depth, known, target_from_source, K
        )
    pixels, inside = _origin(depth_target, splatted.covered, target_from_source, K)
    image = sampling.bilinear(source_image, pixels).values
    return Warped(
        image=jnp.where(splatted.covered[..., None], image, 0.0),
        depth=depth_target,
        valid=inside,
        pixels=pixels,
    )


def _origin(
    depth_target: jax.Array, covered: jax.Array, target_from_source: Pose, K: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns the source pixels of the target's pixels, `[h w 2]`, and their validity.

    The pixels are clamped to the source image. The validity, bool `[h w]`, is false for
    holes, behind the source camera and outside of its image.

    Args:
        depth_target: D^fw `[h w]`, in the target camera's frame.
        covered: bool `[h w]`, false in holes.
        target_from_source: one pose.
        K: intrinsics of both images.
    """
    height, width = depth_target.shape
    points_target = camera.unproject(depth_target, K)
    points_source = pose.transform(pose.inverse(target_from_source), points_target)
    projection = camera.project(points_source, K)
    clamped = sampling.clamp(
        jnp.where(covered[..., None], projection.pixels, -1.0),
        height=height,
        width=width,
    )
    # Otherwise XLA would compute this again for each of the following reads.
    pixels = jax.lax.optimization_barrier(clamped.pixels)
    return pixels, covered & projection.in_front & clamped.inside


def _refined(
    depth_target: jax.Array,
    covered: jax.Array,
    source_depth: jax.Array,
    known: jax.Array,
    target_from_source: Pose,
    K: jax.Array,
) -> jax.Array:
    """Returns D^fw at the centres of the pixels.

    It is unchanged where the source shows another surface there, or the surface's edge.

    Args:
        depth_target: D^fw `[h w]`, 0 in holes.
        covered: bool `[h w]`, false in holes.
        source_depth: `[h w]`, positive.
        known: bool `[h w]`, whether the source depth is known.
        target_from_source: one pose.
        K: intrinsics of both images.
    """
    pixels, inside = _origin(depth_target, covered, target_from_source, K)
    # Planes are linear in 1 / depth.
    inverse = jnp.stack([1 / source_depth, known.astype(source_depth.dtype)], axis=-1)
    inverse, fraction_known = jnp.moveaxis(
        sampling.bilinear(inverse, pixels).values, -1, 0
    )
    x = (pixels[..., 0] - K[0, 2]) / K[0, 0]
    y = (pixels[..., 1] - K[1, 2]) / K[1, 1]
    points_source = jnp.stack([x, y, jnp.ones_like(x)], axis=-1) / inverse[..., None]
    moved = pose.transform(target_from_source, points_source)[..., 2]
    same_surface = jnp.abs(moved - depth_target) < _ONE_SURFACE * depth_target
    same_surface &= (fraction_known > 1 - 1e-6) & inside
    return jnp.where(same_surface, moved, depth_target)


def _beside(K: jax.Array, alpha: int) -> jax.Array:
    """Returns the intrinsics `[alpha^2 3 3]` of the parts of a finer grid.

    Pixel (x, y) of part `j alpha + i` has the ray of the finer grid's pixel
    `(alpha x + i, alpha y + j)`.
    """
    offset = (jnp.arange(alpha, dtype=jnp.float32) + 0.5) / alpha - 0.5
    y, x = jnp.meshgrid(offset, offset, indexing="ij")
    K = jnp.tile(1.0 * jnp.asarray(K), (alpha * alpha, 1, 1))
    return K.at[:, 0, 2].add(-x.ravel()).at[:, 1, 2].add(-y.ravel())


def _depth_of_point(
    point: jax.Array,
    source_depth: jax.Array,
    target_from_source: Pose,
    K_beside: jax.Array,
) -> jax.Array:
    """Returns the depth in the target frame of given points of the finer source.

    Args:
        point: int `[h w]`, indices into the flattened `[alpha^2 h w]` points.
        source_depth: `[h w]`.
        target_from_source: one pose.
        K_beside: `[alpha^2 3 3]`, intrinsics of the parts of the finer source.
    """
    part, index = jnp.divmod(point, source_depth.size)
    y, x = jnp.divmod(index, source_depth.shape[1])
    depth = source_depth.ravel().at[index].get(mode="promise_in_bounds")
    centre = K_beside[:, :2, 2].at[part].get(mode="promise_in_bounds")
    ray_x = (x - centre[..., 0]) / K_beside[0, 0, 0]
    ray_y = (y - centre[..., 1]) / K_beside[0, 1, 1]
    # The last row of R D(p) K^-1 p~ + t.
    row = target_from_source.rotation[2]
    ray_z_target = row[0] * ray_x + row[1] * ray_y + row[2]
    return ray_z_target * depth + target_from_source.translation[2]


def _check_forward(source_image, source_depth, target_from_source, alpha, mode):
    if source_image.ndim != 3 or source_image.shape[:2] != source_depth.shape:
        raise ValueError(
            "forward_warp expects source_image [h w c] and source_depth [h w], got "
            f"{list(source_image.shape)} and {list(source_depth.shape)}: jax.vmap over "
            "a batch"
        )
    rotation, translation = target_from_source.rotation, target_from_source.translation
    if rotation.size != 9 or translation.size != 3:
        raise ValueError(
            "forward_warp expects one rigid motion, rotation [1 1 3 3] and translation "
            f"[1 1 3], got {list(rotation.shape)} and {list(translation.shape)}: a field "
            "of motions has no inverse pose; warp each rigid part separately"
        )
    if alpha != int(alpha) or alpha < 1:
        raise ValueError(f"alpha expects an integer of at least 1, got {alpha}")
    if mode not in ("nearest", "soft"):
        raise ValueError(f"mode expects 'nearest' or 'soft', got {mode!r}")
