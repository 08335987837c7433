from __future__ import annotations

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export, test_util
from jax.sharding import NamedSharding, PartitionSpec
from scipy import ndimage

from mdm_jax.geometry import camera, intrinsics, motion, pose, warp
from mdm_jax.structs import Motion, Pose, Warped

H, W, C = 6, 9, 2
K = intrinsics.matrix(8.0, 7.5, 4.3, 2.4).astype(np.float32)
ANGLES = np.array([0.02, -0.03, 0.05], np.float32)
TRANSLATION = np.array([0.3, -0.1, 0.2], np.float32)

# Compiling is what takes time here: it is done once for all tests, and in haste.
_jit = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)
inverse_warp = _jit(warp.inverse_warp)
forward_warp = _jit(warp.forward_warp, static_argnames=("alpha", "mode", "refine"))
_pose_from_euler = jax.jit(pose.from_euler)


def _image(*shape: int, seed: int = 0) -> np.ndarray:
    shape = shape or (H, W, C)
    return np.random.default_rng(seed).uniform(size=shape).astype(np.float32)


def _depth(*shape: int, seed: int = 1) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.uniform(1.0, 8.0, shape or (H, W)).astype(np.float32)


def _batch(num: int) -> tuple[np.ndarray, ...]:
    """Images, depths, angles and translations."""
    motions = np.random.default_rng(3).normal(0, 0.1, (2, num, 3))
    return _image(num, H, W, C), _depth(num, H, W), *motions.astype(np.float32)


def _ego(angles, translation, size: tuple[int, int] = (H, W)) -> Motion:
    egomotion = _pose_from_euler(jnp.asarray(angles), jnp.asarray(translation))
    return motion.ego_only(egomotion, size)


def _still(size: tuple[int, int] = (H, W)) -> Motion:
    return _ego(np.zeros(3, np.float32), np.zeros(3, np.float32), size)


@pytest.mark.parametrize("size", [(H, W), (7, 1920)])
def test_identity_motion_leaves_the_image_unchanged(size):
    width = size[1]
    camera_matrix = intrinsics.matrix(0.7 * width, 0.8 * width, 0.48 * width, 2.6)
    for seed in range(3):
        image, depth = _image(*size, 3, seed=seed), _depth(*size, seed=seed)
        warped = inverse_warp(
            image, depth, _still(size), camera_matrix.astype(np.float32)
        )
        assert np.all(warped.valid)  # the last row and column included
        # Coordinates are exact to one unit in the last place.
        tolerance = 2 * width * np.finfo(np.float32).eps
        np.testing.assert_allclose(warped.pixels, camera.pixel_grid(*size), atol=4e-4)
        np.testing.assert_allclose(warped.image, image, atol=4 * tolerance)
        np.testing.assert_array_equal(warped.depth, depth)


def test_a_plane_parallel_to_the_image_shifts_by_whole_pixels():
    image = _image()
    # x moves by fx t / Z = 8 * 0.5 / 2 = 2 pixels.
    warped = inverse_warp(
        image,
        np.full((H, W), 2.0, np.float32),
        _ego(np.zeros(3, np.float32), np.array([0.5, 0, 0], np.float32)),
        K,
    )
    np.testing.assert_allclose(warped.image[:, :-2], image[:, 2:], atol=1e-5)
    expected = np.broadcast_to(np.arange(W) < W - 2, (H, W))
    np.testing.assert_array_equal(warped.valid, expected)
    border = np.broadcast_to(image[:, -1:], (H, 2, C))
    np.testing.assert_allclose(warped.image[:, -2:], border, atol=1e-5)


def _plane_depth(normal: np.ndarray, distance: float, K: np.ndarray) -> np.ndarray:
    """Depth of the plane `normal . X = distance` at every pixel."""
    grid = np.asarray(camera.pixel_grid(H, W), np.float64)
    rays = np.concatenate([grid, np.ones((H, W, 1))], -1) @ np.linalg.inv(K).T
    return (distance / (rays @ normal)).astype(np.float32)


def test_a_slanted_plane_moves_by_its_homography():
    normal, distance = np.array([0.2, -0.3, 1.0]), 4.0
    source_from_target = _ego(ANGLES, TRANSLATION)
    warped = inverse_warp(
        _image(), _plane_depth(normal, distance, K), source_from_target, K
    )
    R = np.asarray(source_from_target.rotation[0, 0], np.float64)
    # H = K (R + t n^T / d) K^-1
    induced = R + np.outer(TRANSLATION, normal) / distance
    homography = K @ induced @ np.linalg.inv(K)
    for y, x in np.ndindex(H, W):
        u, v, w = homography @ [x, y, 1]
        inside = -1e-3 <= u / w <= W - 1 + 1e-3 and -1e-3 <= v / w <= H - 1 + 1e-3
        assert warped.valid[y, x] == inside
        expected = np.clip([u / w, v / w], 0, [W - 1, H - 1])
        np.testing.assert_allclose(warped.pixels[y, x], expected, atol=1e-4)


def test_projected_depth_is_the_depth_that_the_source_camera_sees():
    normal, distance = np.array([0.1, -0.2, 1.0]), 4.0
    source_from_target = _ego(ANGLES, TRANSLATION)
    # The same plane in the source frame: n' = R n, d' = d + n' . t
    normal_source = np.asarray(source_from_target.rotation[0, 0]) @ normal
    distance_source = distance + normal_source @ TRANSLATION
    disparity_source = 1 / _plane_depth(normal_source, distance_source, K)
    target_depth = _plane_depth(normal, distance, K)
    # Disparity, not depth, is affine over the image of a plane.
    warped = inverse_warp(
        disparity_source[..., None], target_depth, source_from_target, K
    )
    valid = np.asarray(warped.valid)
    assert valid.mean() > 0.5
    np.testing.assert_allclose(
        1 / np.asarray(warped.image[..., 0])[valid],
        np.asarray(warped.depth)[valid],
        rtol=1e-5,
    )


def test_warping_a_mirrored_world_returns_the_mirrored_result():
    image, depth = _image(), _depth()
    mirror = np.diag([-1, 1, 1]).astype(np.float32)
    residual = 0.2 * jnp.asarray(_image(H, W, 3, seed=5))
    egomotion = _pose_from_euler(jnp.asarray(ANGLES), jnp.asarray(TRANSLATION))
    mirrored_egomotion = Pose(
        rotation=mirror @ egomotion.rotation @ mirror, translation=mirror @ TRANSLATION
    )
    warped = inverse_warp(image, depth, motion.total(egomotion, residual), K)
    mirrored = inverse_warp(
        image[:, ::-1],
        depth[:, ::-1],
        motion.total(mirrored_egomotion, (residual @ mirror)[:, ::-1]),
        intrinsics.flip_horizontal(K, width=W),
    )
    np.testing.assert_allclose(mirrored.image[:, ::-1], warped.image, atol=1e-4)
    np.testing.assert_allclose(mirrored.depth[:, ::-1], warped.depth, rtol=1e-5)
    np.testing.assert_array_equal(mirrored.valid[:, ::-1], warped.valid)


def test_only_depth_relative_to_translation_matters():
    scale = np.float32(7.3)
    warped = inverse_warp(_image(), _depth(), _ego(ANGLES, TRANSLATION), K)
    scaled = inverse_warp(
        _image(), scale * _depth(), _ego(ANGLES, scale * TRANSLATION), K
    )
    np.testing.assert_allclose(scaled.pixels, warped.pixels, atol=1e-4)
    np.testing.assert_allclose(scaled.depth, scale * warped.depth, rtol=1e-5)


def test_a_moved_point_seen_by_the_moved_camera_stays_where_it_was():
    # Motion field and egomotion that cancel: the residual is minus the ego part.
    residual = jnp.broadcast_to(-jnp.asarray(TRANSLATION), (H, W, 3))
    egomotion = _pose_from_euler(jnp.zeros(3), jnp.asarray(TRANSLATION))
    warped = inverse_warp(_image(), _depth(), motion.total(egomotion, residual), K)
    np.testing.assert_allclose(warped.image, _image(), atol=1e-4)


def test_a_source_of_another_size_is_sampled_by_its_own_camera():
    size = (2 * H, 3 * W)
    resized_K = intrinsics.resize(K, from_size=(H, W), to_size=size)
    source_from_target = _ego(ANGLES, TRANSLATION)
    warped = inverse_warp(_image(), _depth(), source_from_target, K)
    resized = inverse_warp(_image(*size, C), _depth(), source_from_target, K, resized_K)
    inside = np.asarray(warped.valid)
    expected = np.array([3, 2]) * (np.asarray(warped.pixels) + 0.5) - 0.5
    np.testing.assert_allclose(resized.pixels[inside], expected[inside], atol=1e-4)
    assert np.all(resized.valid[inside])
    assert resized.image.shape == warped.image.shape


def _loss(image, depth, angles, translation, residual, K) -> jax.Array:
    egomotion = pose.from_euler(angles, translation)
    warped = warp.inverse_warp(image, depth, motion.total(egomotion, residual), K)
    photometric = jnp.where(warped.valid[..., None], jnp.square(warped.image), 0.0)
    return jnp.sum(photometric) + jnp.sum(jnp.where(warped.valid, warped.depth, 0.0))


_value_and_gradients = _jit(jax.value_and_grad(_loss, (0, 1, 2, 3, 4, 5)))


def test_gradients_agree_with_finite_differences():
    with jax.enable_x64(True):
        arguments = [
            jnp.asarray(a, jnp.float64)
            for a in (_image(), _depth(), ANGLES, TRANSLATION, 0.1 * _image(H, W, 3), K)
        ]
        test_util.check_grads(jax.jit(_loss), arguments, order=1, modes=("rev",))


@pytest.mark.parametrize(
    ("case", "depth", "translation"),
    [
        ("no motion", 2.0, (0, 0, 0)),
        ("at the optical centre", 2.0, (0, 0, -2)),
        ("on the focal plane", 2.0, (0.5, 0.1, -2)),
        ("behind the camera", 2.0, (0, 0, -5)),
        ("outside the image", 2.0, (500, 0, 0)),
        ("zero depth", 0.0, (0, 0, 0)),
        ("negative depth", -1.0, (0, 0, 0)),
        ("infinite translation", 2.0, (np.inf, 0, 0)),
        ("undefined translation", 2.0, (0, np.nan, 0)),
    ],
)
def test_values_and_gradients_are_finite(case, depth, translation):
    # One pixel stays in view, so that not everything is masked.
    depths = np.full((H, W), depth, np.float32)
    residual = np.broadcast_to(np.array(translation, np.float32), (H, W, 3)).copy()
    depths[2, 3], residual[2, 3] = 3.0, 0.0
    zero = np.zeros(3, np.float32)
    warped = inverse_warp(_image(), depths, Motion(jnp.eye(3), residual), K)
    value, gradients = _value_and_gradients(_image(), depths, zero, zero, residual, K)
    assert np.isfinite(value), case
    for array in (*jax.tree.leaves(gradients), *jax.tree.leaves(warped)):
        assert np.all(np.isfinite(array)), case
    valid = np.full((H, W), case == "no motion")
    valid[2, 3] = True
    np.testing.assert_array_equal(warped.valid, valid)
    np.testing.assert_array_equal(np.asarray(gradients[1])[~valid], 0)
    np.testing.assert_array_equal(np.asarray(gradients[4])[~valid], 0)


def test_mapped_over_devices_it_equals_one_device_and_nothing_is_exchanged():
    def step(image, depth, angles, translation) -> tuple[Warped, tuple]:
        def loss(depth, angles, translation):
            source_from_target = _ego(angles, translation)
            warped = warp.inverse_warp(image, depth, source_from_target, jnp.asarray(K))
            return jnp.sum(jnp.square(warped.image)), warped

        gradients, warped = jax.grad(loss, (0, 1, 2), has_aux=True)(
            depth, angles, translation
        )
        return warped, gradients

    devices = jax.device_count()
    assert devices > 1
    arguments = _batch(devices)
    mesh = jax.make_mesh((devices,), ("data",), (jax.sharding.AxisType.Auto,))
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    sharded = jax.device_put(arguments, sharding)
    mapped = _jit(jax.vmap(step), out_shardings=sharding)
    compiled = mapped.lower(*sharded).compile().as_text()
    for collective in ("all-gather", "all-reduce", "all-to-all", "collective-permute"):
        assert collective not in compiled
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
        mapped(*sharded),
        _jit(jax.vmap(step))(*arguments),
    )


def test_a_batch_instead_of_one_image_is_an_error():
    with pytest.raises(ValueError, match="jax.vmap over a batch"):
        inspect.unwrap(warp.inverse_warp)(
            _image(2, H, W, C), _depth(2, H, W), _still(), K
        )


def _forward(image, depth, angles, translation, K=K, **options) -> Warped:
    target_from_source = _pose_from_euler(jnp.asarray(angles), jnp.asarray(translation))
    return forward_warp(image, depth, target_from_source, K, **options)


ZERO = np.zeros(3, np.float32)
MODES = ("nearest", "soft")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("alpha", [1, 2, 3])
def test_identity_motion_leaves_the_forward_warped_image_unchanged(mode, alpha):
    image, depth = _image(), np.full((H, W), 3.0, np.float32)
    if mode == "nearest":  # `soft` is a mean over neighbours.
        depth = _depth()
    warped = _forward(image, depth, ZERO, ZERO, alpha=alpha, mode=mode)
    assert np.all(warped.valid)
    np.testing.assert_allclose(warped.depth, depth, rtol=1e-6)
    np.testing.assert_allclose(warped.image, image, atol=1e-5)
    np.testing.assert_allclose(warped.pixels, camera.pixel_grid(H, W), atol=1e-5)


def test_a_plane_parallel_to_the_image_moves_by_whole_pixels():
    image = _image()
    # x moves by fx t / Z = 8 * 0.5 / 2 = 2 pixels.
    translation = np.array([0.5, 0, 0], np.float32)
    warped = _forward(image, np.full((H, W), 2.0, np.float32), ZERO, translation)
    np.testing.assert_allclose(warped.image[:, 2:], image[:, :-2], atol=1e-5)
    np.testing.assert_array_equal(warped.image[:, :2], 0)
    np.testing.assert_array_equal(warped.depth[:, :2], 0)
    covered = np.broadcast_to(np.arange(W) >= 2, (H, W))
    np.testing.assert_array_equal(warped.valid, covered)


def _read(image, x, y):
    """Returns the bilinear interpolation of `[H W c]`, coordinates inside."""
    weight = np.maximum(0, 1 - np.abs(np.arange(H) - y))[:, None] * np.maximum(
        0, 1 - np.abs(np.arange(W) - x)
    )
    return np.sum(weight[..., None] * image, axis=(0, 1))


@pytest.mark.parametrize(
    ("alpha", "refine"), [(1, False), (2, False), (3, False), (2, True)]
)
def test_forward_warping_agrees_with_a_slow_loop(alpha, refine):
    image, depth = _image(), _depth()
    target_from_source = _pose_from_euler(ANGLES, TRANSLATION)
    R = np.asarray(target_from_source.rotation, np.float64)
    t = np.asarray(TRANSLATION, np.float64)
    inverse_K = np.linalg.inv(K.astype(np.float64))
    warped = _forward(image, depth, ANGLES, TRANSLATION, alpha=alpha, refine=refine)
    z_buffer = np.full((H, W), np.inf)
    for row, column in np.ndindex(alpha * H, alpha * W):
        # Centre of the sub-pixel, in pixels of the source.
        y, x = (row + 0.5) / alpha - 0.5, (column + 0.5) / alpha - 0.5
        z = float(depth[row // alpha, column // alpha])
        u, v, w = K @ (R @ (z * inverse_K @ [x, y, 1]) + t)
        u, v = int(np.floor(u / w + 0.5)), int(np.floor(v / w + 0.5))
        if w > 0 and 0 <= u < W and 0 <= v < H:
            z_buffer[v, u] = min(z_buffer[v, u], w)
    hole = np.isinf(z_buffer)
    assert 0 < hole.sum() < H * W / 2
    num_refined = 0
    for v, u in np.argwhere(~hole) if refine else ():
        x, y, w = K @ (R.T @ (z_buffer[v, u] * inverse_K @ [u, v, 1] - t))
        x, y = x / w, y / w
        if 0 <= x <= W - 1 and 0 <= y <= H - 1:
            z = 1 / _read(1 / depth[..., None], x, y)[0]
            moved = (R @ (z * inverse_K @ [x, y, 1]) + t)[2]
            if abs(moved - z_buffer[v, u]) < 0.1 * z_buffer[v, u]:
                z_buffer[v, u] = moved
                num_refined += 1
    assert (num_refined > 5) == refine
    np.testing.assert_allclose(warped.depth, np.where(hole, 0, z_buffer), rtol=1e-5)
    np.testing.assert_array_equal(np.asarray(warped.image)[hole], 0)
    for v, u in np.argwhere(~hole):
        x, y, w = K @ (R.T @ (z_buffer[v, u] * inverse_K @ [u, v, 1] - t))
        x, y = x / w, y / w
        inside = 0 <= x <= W - 1 and 0 <= y <= H - 1
        assert warped.valid[v, u] == inside
        x, y = np.clip(x, 0, W - 1), np.clip(y, 0, H - 1)
        np.testing.assert_allclose(warped.pixels[v, u], [x, y], atol=1e-4)
        expected = _read(image, x, y)
        np.testing.assert_allclose(warped.image[v, u], expected, atol=1e-4)


def test_refined_depth_of_a_slanted_plane_is_that_of_the_pixel_centres():
    # Seen from the target, n . X = d is R n . X = d + R n . t.
    normal, distance = np.array([0.1, 0.25, 1.0]), 4.0
    R = np.asarray(_pose_from_euler(ANGLES, TRANSLATION).rotation, np.float64)
    moved = R @ normal
    expected = _plane_depth(moved, distance + moved @ TRANSLATION, K)
    depth = _plane_depth(normal, distance, K)
    errors = []
    for refine in (False, True):
        warped = _forward(_image(), depth, ANGLES, TRANSLATION, refine=refine)
        error = np.abs(np.asarray(warped.depth) / expected - 1)
        errors.append(error[np.asarray(warped.valid)].mean())
    assert errors[0] > 0.01
    assert errors[1] < 0.1 * errors[0]


@pytest.mark.parametrize("mode", MODES)
def test_what_is_near_hides_what_is_far(mode):
    # A near rectangle moves three pixels to the right, in front of a far wall.
    near = np.zeros((H, W), bool)
    near[1:4, 1:3] = True
    depth = np.where(near, 2.0, 200.0).astype(np.float32)
    translation = np.array([0.75, 0, 0], np.float32)
    warped = _forward(near[..., None] * 1.0, depth, ZERO, translation, mode=mode)
    moved = np.roll(near, 3, axis=1)
    seen = np.asarray(warped.depth)
    np.testing.assert_allclose(seen[moved], 2.0, rtol=1e-5)
    np.testing.assert_allclose(warped.image[..., 0][moved], 1.0, atol=1e-5)
    # `soft` sees it half a pixel around, too.
    around = moved
    if mode == "soft":
        around = ndimage.binary_dilation(moved, np.ones((3, 3)))
    np.testing.assert_allclose(seen[~around & ~near], 200.0, rtol=1e-5)
    if mode == "nearest":
        np.testing.assert_array_equal(seen[near & ~moved], 0)  # Nothing is known here.


def test_repeating_the_depth_closes_the_holes_of_a_surface_that_comes_near():
    # A wall at depth 4 comes to 4 / 1.8: every pixel spreads over 1.8 x 1.8.
    translation = np.array([0, 0, 4 / 1.8 - 4], np.float32)
    depth = np.full((H, W), 4.0, np.float32)
    holes = [
        np.mean(_forward(_image(), depth, ZERO, translation, alpha=alpha).depth == 0)
        for alpha in (1, 2)
    ]
    assert holes[0] > 0.5 and holes[1] == 0


def test_forward_warping_a_mirrored_world_returns_the_mirrored_result():
    image, depth = _image(), _depth()
    mirror = np.diag([-1, 1, 1]).astype(np.float32)
    target_from_source = _pose_from_euler(jnp.asarray(ANGLES), jnp.asarray(TRANSLATION))
    mirrored_motion = Pose(
        rotation=mirror @ target_from_source.rotation @ mirror,
        translation=mirror @ TRANSLATION,
    )
    warped = _forward(image, depth, ANGLES, TRANSLATION)
    mirrored = forward_warp(
        image[:, ::-1],
        depth[:, ::-1],
        mirrored_motion,
        intrinsics.flip_horizontal(K, width=W),
    )
    np.testing.assert_allclose(mirrored.image[:, ::-1], warped.image, atol=1e-4)
    np.testing.assert_allclose(mirrored.depth[:, ::-1], warped.depth, rtol=1e-5)
    np.testing.assert_array_equal(mirrored.valid[:, ::-1], warped.valid)


@pytest.mark.parametrize("mode", MODES)
def test_forward_warping_too_depends_on_relative_depth_only(mode):
    scale = np.float32(7.3)
    warped = _forward(_image(), _depth(), ANGLES, TRANSLATION, mode=mode)
    scaled = _forward(
        _image(), scale * _depth(), ANGLES, scale * TRANSLATION, mode=mode
    )
    np.testing.assert_allclose(scaled.pixels, warped.pixels, atol=1e-4)
    np.testing.assert_allclose(scaled.depth, scale * warped.depth, rtol=1e-4)


def test_a_motion_equal_at_all_pixels_is_a_pose():
    target_from_source = _pose_from_euler(jnp.asarray(ANGLES), jnp.asarray(TRANSLATION))
    field = Motion(
        rotation=target_from_source.rotation[None, None],
        translation=target_from_source.translation[None, None],
    )
    warped = forward_warp(_image(), _depth(), field, K)
    expected = _forward(_image(), _depth(), ANGLES, TRANSLATION)
    np.testing.assert_allclose(warped.image, expected.image, atol=1e-5)


def _forward_loss(image, depth, angles, translation, K, mode="nearest") -> jax.Array:
    target_from_source = pose.from_euler(angles, translation)
    warped = warp.forward_warp(image, depth, target_from_source, K, mode=mode)
    weights = jnp.cos(jnp.arange(H * W * C, dtype=jnp.float32)).reshape(H, W, C)
    photometric = jnp.where(warped.valid[..., None], weights * warped.image, 0.0)
    # Where not valid, pixels are clamped, and without gradient.
    pixels = jnp.where(warped.valid[..., None], warped.pixels, 0.0)
    return jnp.sum(photometric) + jnp.sum(warped.depth) + jnp.sum(pixels) / 8


_forward_value_and_gradients = _jit(
    jax.value_and_grad(_forward_loss, (0, 1, 2, 3, 4)), static_argnums=5
)


def test_gradients_of_forward_warping_agree_with_finite_differences():
    with jax.enable_x64(True):
        arguments = [
            jnp.asarray(a, jnp.float64)
            for a in (_image(), _depth(), ANGLES, TRANSLATION, K)
        ]
        # A small step, lest a point crosses to the next pixel.
        test_util.check_grads(
            jax.jit(_forward_loss), arguments, 1, ("rev",), rtol=1e-4, eps=1e-7
        )


def test_gradients_of_soft_forward_warping_agree_with_finite_differences():
    with jax.enable_x64(True):
        image, depth, angles, translation, camera_matrix = (
            jnp.asarray(a, jnp.float64)
            for a in (_image(), _depth(), ANGLES, TRANSLATION, K)
        )

        @jax.jit
        def loss(image, angles, translation, camera_matrix):
            # Not of depth: the hardness of the splat, which depends on the depths
            # through their mean, has no gradient; see the tests of splatting.
            return _forward_loss(
                image, depth, angles, translation, camera_matrix, "soft"
            )

        arguments = image, angles, translation, camera_matrix
        test_util.check_grads(loss, arguments, 1, ("rev",), rtol=1e-4, eps=1e-7)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("case", "depth", "translation"),
    [
        ("at the optical centre", 2.0, (0, 0, -2)),
        ("on the focal plane", 2.0, (0.5, 0.1, -2)),
        ("behind the camera", 2.0, (0, 0, -2.5)),
        ("outside the image", 0.01, (1, 0, 0)),
        ("zero depth", 0.0, (0, 0, 0.5)),
        ("vanishing depth", 1e-30, (0, 0, 0.5)),
        ("negative depth", -1.0, (0, 0, 2)),
        ("undefined depth", np.nan, (0, 0, 0)),
        ("infinite depth", np.inf, (0, 0, 0)),
        ("enormous depth", 3e38, (0, 0, 0)),
    ],
)
def test_forward_warped_values_and_gradients_are_finite(mode, case, depth, translation):
    # A patch stays in view, so that not everything is dropped.
    depths = np.full((H, W), depth, np.float32)
    depths[2:4, 3:6] = 30.0
    translation = np.array(translation, np.float32)
    arguments = _image(), depths, ZERO, translation, K
    value, gradients = _forward_value_and_gradients(*arguments, mode)
    assert np.isfinite(value), case
    warped = _forward(*arguments[:4], mode=mode)
    for array in (*jax.tree.leaves(gradients), *jax.tree.leaves(warped)):
        assert np.all(np.isfinite(array)), case
    assert np.any(warped.valid)
    assert np.all(np.asarray(warped.depth)[np.asarray(warped.valid)] > 20)
    np.testing.assert_array_equal(np.asarray(gradients[1])[depths != 30], 0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("translation", [(np.nan, 0, 0), (0, np.inf, 0), (0, 0, -99)])
def test_a_motion_that_leaves_nothing_in_view_returns_holes(mode, translation):
    translation = np.array(translation, np.float32)
    warped = _forward(_image(), _depth(), ZERO, translation, mode=mode)
    assert not np.any(warped.valid)
    for array in (warped.image, warped.depth, warped.pixels):
        np.testing.assert_array_equal(array, 0)


def _forward_gradients(mode):
    """Returns a function of one image: its forward warp, and the gradient of that."""

    def step(image, depth, angles, translation):
        def loss(depth, angles, translation):
            target_from_source = pose.from_euler(angles, translation)
            warped = warp.forward_warp(
                image, depth, target_from_source, jnp.asarray(K), mode=mode
            )
            return jnp.sum(jnp.square(warped.image)), warped

        gradients, warped = jax.grad(loss, (0, 1, 2), has_aux=True)(
            depth, angles, translation
        )
        return warped, gradients

    return step


@pytest.mark.parametrize("mode", MODES)
def test_forward_warps_of_many_images_equal_each_alone_and_exchange_nothing(mode):
    step = _forward_gradients(mode)
    devices = jax.device_count()
    assert devices > 1
    arguments = _batch(devices)
    mesh = jax.make_mesh((devices,), ("data",), (jax.sharding.AxisType.Auto,))
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    sharded = jax.device_put(arguments, sharding)
    mapped = _jit(jax.vmap(step), out_shardings=sharding)
    compiled = mapped.lower(*sharded).compile().as_text()
    for collective in ("all-gather", "all-reduce", "all-to-all", "collective-permute"):
        assert collective not in compiled
    together, alone = mapped(*sharded), _jit(step)
    for index in range(devices):
        one = alone(*(a[index] for a in arguments))
        for many, single in zip(jax.tree.leaves(together), jax.tree.leaves(one)):
            np.testing.assert_allclose(many[index], single, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("mode", MODES)
def test_forward_warps_on_a_cpu_alone_are_the_same(monkeypatch, mode):
    step = jax.vmap(_forward_gradients(mode))
    arguments = _batch(3)
    together = _jit(step)(*arguments)
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    in_turn = jax.jit(lambda *batch: step(*batch))
    assert "stablehlo.while" in in_turn.lower(*arguments).as_text()
    for one, other in zip(
        jax.tree.leaves(in_turn(*arguments)), jax.tree.leaves(together)
    ):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_forward_warping_lowers_for_cpus_gpus_and_tpus(mode):
    gradient = jax.jit(jax.grad(_forward_loss, (1, 2, 3)), static_argnums=5)
    arguments = (_image(), _depth(), ANGLES, TRANSLATION, K, mode)
    exported = export.export(gradient, platforms=("cpu", "cuda", "tpu"))
    assert exported(*arguments).platforms == ("cpu", "cuda", "tpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source_image": _image(2, H, W, C)}, "jax.vmap over a batch"),
        (
            {"source_image": _image(H, W + 1, C)},
            "source_image .h w c. and source_depth",
        ),
        ({"target_from_source": _still()}, "one rigid motion.*warp each rigid part"),
        ({"alpha": 0}, "alpha expects an integer of at least 1, got 0"),
        ({"alpha": 1.5}, "alpha expects an integer"),
        ({"mode": "hard"}, "mode expects 'nearest' or 'soft', got 'hard'"),
    ],
)
def test_forward_warping_names_what_is_wrong(change, message):
    arguments = {
        "source_image": _image(),
        "source_depth": _depth(),
        "target_from_source": _pose_from_euler(ZERO, ZERO),
        "K": K,
    }
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(warp.forward_warp)(**{**arguments, **change})
