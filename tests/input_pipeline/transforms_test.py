"""Tests of transforms: pixels and everything tied to them move together."""

import cv2
import numpy as np
import pytest

from mdm_jax.geometry import view as view_lib
from mdm_jax.geometry.view import View
from mdm_jax.input_pipeline import transforms

HEIGHT, WIDTH = 36, 50
INTRINSICS = np.array([[41.0, 0, 22.3], [0, 43.0, 19.6], [0, 0, 1]], np.float32)


def _project(matrix, point):
    return (matrix @ point)[:2] / point[2]


def _dot_sample(point, intrinsics=INTRINSICS, dtype=np.uint8):
    """A black clip of two frames with a soft dot where the point projects."""
    x, y = _project(intrinsics, point)
    columns, rows = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    dot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 1.8**2))
    scale = 255 if dtype == np.uint8 else 1
    frame = (np.repeat(dot[..., None], 3, axis=2) * scale).astype(dtype)
    return {"frames": np.stack([frame, frame]), "intrinsics": intrinsics}


def _find_dot(frame):
    weight = frame[..., 0].astype(np.float64)
    columns, rows = np.meshgrid(np.arange(frame.shape[1]), np.arange(frame.shape[0]))
    return np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()


def _ramp_sample():
    """A clip whose depth and first colour say which ray each pixel looks along."""
    fx, cx = INTRINSICS[0, 0], INTRINSICS[0, 2]
    fy, cy = INTRINSICS[1, 1], INTRINSICS[1, 2]
    ray_x = np.broadcast_to((np.arange(WIDTH) - cx) / fx, (HEIGHT, WIDTH))
    ray_y = np.broadcast_to(((np.arange(HEIGHT) - cy) / fy)[:, None], (HEIGHT, WIDTH))
    rays = np.stack([ray_x, ray_y, np.ones_like(ray_x)], axis=-1).astype(np.float32)
    return {
        "frames": np.stack([rays, rays, rays]),
        "intrinsics": INTRINSICS,
        "depth": np.stack([rays[..., 0]] * 3),
        "instance_labels": np.stack([(rays[..., 1] > 0).astype(np.uint8)] * 3),
        "world_from_camera": _poses(3),
        "video_index": np.int32(4),
    }


def _poses(count):
    poses = np.tile(np.eye(4, dtype=np.float32), (count, 1, 1))
    for i in range(count):
        poses[i, :3, :3] = cv2.Rodrigues(np.array([0.1, 0.3 * i, -0.2]))[0]
        poses[i, :3, 3] = [1.0 + i, -0.5, 2.0 * i]
    return poses


SIZE = (HEIGHT, WIDTH)
VIEWS = {
    "crop": View(7, 3, (29, 38), (29, 38), SIZE),
    "shrink": view_lib.stretched(SIZE, (17, 21)),
    "enlarge": view_lib.stretched(SIZE, (83, 111)),
    "stretch": view_lib.stretched(SIZE, (80, 23)),
    "crop_then_shrink": View(4, 2, (31, 40), (16, 25), SIZE),
}
CHANGES = {
    name: lambda sample, view=view: transforms.see(sample, view)
    for name, view in VIEWS.items()
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_point_projects_with_new_intrinsics_to_where_its_colour_went(change, dtype):
    point = np.array([0.05, -0.04, 1.3])
    changed = CHANGES[change](_dot_sample(point, dtype=dtype))
    found = _find_dot(changed["frames"][1])
    np.testing.assert_allclose(found, _project(changed["intrinsics"], point), atol=0.1)


def test_flip_projects_the_mirrored_point_to_the_mirrored_pixel():
    point = np.array([0.11, -0.04, 1.3])
    sample = _dot_sample(point)
    flipped = transforms.flip_horizontal(sample)
    pixel = _project(INTRINSICS, point)
    mirrored = _project(flipped["intrinsics"], point * np.array([-1, 1, 1]))
    np.testing.assert_allclose(mirrored, [WIDTH - 1 - pixel[0], pixel[1]], atol=1e-4)
    np.testing.assert_allclose(_find_dot(flipped["frames"][0]), mirrored, atol=0.1)


@pytest.mark.parametrize("change", CHANGES)
def test_depth_and_labels_stay_on_their_rays(change):
    changed = CHANGES[change](_ramp_sample())
    matrix = changed["intrinsics"]
    height, width = changed["frames"].shape[1:3]
    ray_x = (np.arange(width) - matrix[0, 2]) / matrix[0, 0]
    ray_y = (np.arange(height) - matrix[1, 2]) / matrix[1, 1]
    # The nearest pixel of the old image is half of its pixels away at most.
    error = np.abs(changed["depth"] - ray_x[None, None, :])
    assert error.max() <= 0.5 / INTRINSICS[0, 0] + 1e-6
    sure = np.abs(ray_y) > 0.5 / INTRINSICS[1, 1]
    labels = changed["instance_labels"][:, sure]
    np.testing.assert_array_equal(
        labels, np.broadcast_to((ray_y[sure] > 0)[None, :, None], labels.shape)
    )
    # Colours interpolate exactly along a ramp, away from the border.
    np.testing.assert_allclose(
        changed["frames"][:, 3:-3, 3:-3, 0],
        np.broadcast_to(ray_x[None, None, 3:-3], (3, height - 6, width - 6)),
        atol=2e-3,
    )


def test_flip_mirrors_depth_labels_and_frames_alike():
    sample = _ramp_sample()
    flipped = transforms.flip_horizontal(sample)
    np.testing.assert_array_equal(flipped["depth"], sample["depth"][:, :, ::-1])
    np.testing.assert_array_equal(flipped["frames"], sample["frames"][:, :, ::-1])
    np.testing.assert_array_equal(
        flipped["instance_labels"], sample["instance_labels"][:, :, ::-1]
    )
    assert flipped["video_index"] == 4


def test_flipping_twice_changes_nothing():
    sample = _ramp_sample()
    twice = transforms.flip_horizontal(transforms.flip_horizontal(sample))
    for key, value in sample.items():
        np.testing.assert_allclose(twice[key], value, rtol=1e-6)


def test_flipped_poses_move_mirrored_points_like_the_mirror_image():
    sample = _ramp_sample()
    flipped = transforms.flip_horizontal(sample)
    point = np.array([0.4, -1.2, 3.0, 1.0])
    mirror = np.array([-1.0, 1, 1, 1])

    def move(poses, start):
        return np.linalg.inv(poses[2]) @ poses[0] @ start

    np.testing.assert_allclose(
        move(flipped["world_from_camera"], mirror * point),
        mirror * move(sample["world_from_camera"], point),
        rtol=1e-4,
    )
    rotations = flipped["world_from_camera"][:, :3, :3]
    np.testing.assert_allclose(np.linalg.det(rotations), np.ones(3), rtol=1e-5)


def test_crop_and_resize_leave_poses_alone():
    sample = _ramp_sample()
    for change in CHANGES.values():
        np.testing.assert_array_equal(
            change(sample)["world_from_camera"], sample["world_from_camera"]
        )


def test_shrinking_averages_a_checkerboard_to_grey():
    board = ((np.add.outer(np.arange(32), np.arange(48)) % 2) * 255).astype(np.uint8)
    image = np.repeat(board[..., None], 3, axis=2)
    for size in ((8, 12), (8, 96)):  # the second grows in width
        small = view_lib.resize_image(image, size)
        assert small.shape == (*size, 3)
        assert np.abs(small.astype(int) - 127.5).max() <= 1


def test_transforms_leave_their_argument_as_it_is():
    sample = _ramp_sample()
    before = {key: np.array(value) for key, value in sample.items()}
    for change in CHANGES.values():
        change(sample)
    transforms.flip_horizontal(sample)
    transforms.transform_colors(sample, np.zeros((3, 4)))
    for key, value in before.items():
        np.testing.assert_array_equal(sample[key], value)


def test_crop_outside_the_image_is_an_error():
    with pytest.raises(ValueError, match=r"20x30 pixels .* at .* .25, 3. does not fit"):
        View(25, 3, (20, 30), (20, 30), SIZE)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_colours_are_transformed_pixel_by_pixel_and_clipped(dtype):
    rng = np.random.default_rng(0)
    colors = rng.integers(0, 256, (2, 5, 7, 3)).astype(np.uint8)
    scale = 1.0 if dtype == np.uint8 else 255.0
    matrix = np.concatenate([rng.uniform(-1, 1.5, (3, 3)), [[0.1], [0], [-0.2]]], 1)
    frames = (colors / scale).astype(dtype)
    got = transforms.transform_colors({"frames": frames}, matrix)["frames"]
    expected = np.zeros(colors.shape)
    for pixel in np.ndindex(*colors.shape[:3]):
        expected[pixel] = matrix[:, :3] @ (colors[pixel] / 255) + matrix[:, 3]
    assert got.dtype == dtype
    np.testing.assert_allclose(
        got * scale / 255, np.clip(expected, 0, 1), atol=0.6 / 255
    )
