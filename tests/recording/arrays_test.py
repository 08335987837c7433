"""Recordings refuse inconsistent data and derive true motion from poses."""

import dataclasses

import numpy as np
import pytest

from mdm_jax.recording import arrays, true_motion

HEIGHT, WIDTH, FRAMES = 5, 7, 3


def _pose(heading, x, y, z):
    cos, sin = np.cos(heading), np.sin(heading)
    return np.array([[cos, 0, sin, x], [0, 1, 0, y], [-sin, 0, cos, z], [0, 0, 0, 1]])


@pytest.fixture
def drive():
    rng = np.random.default_rng(0)
    labels = np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8)
    labels[:, 1:4, 2:5] = 1
    labels[:, 4, 6] = 2
    moving = [_pose(0.3 * i, 0.5 * i, 0.1, 6.0 + i) for i in range(FRAMES)]
    parked = [_pose(0.7, 2.0, 0.0, 9.0)] * FRAMES
    return arrays.Recording(
        name="toy",
        frames=rng.integers(0, 256, (FRAMES, HEIGHT, WIDTH, 3), np.uint8),
        intrinsics=np.array([[6.0, 0, 3.1], [0, 5.0, 1.9], [0, 0, 1]]),
        depth=rng.uniform(3, 9, (FRAMES, HEIGHT, WIDTH)).astype(np.float32),
        world_from_camera=[_pose(0.1 * i, -0.2 * i, 0, 0.9 * i) for i in range(FRAMES)],
        instance_labels=labels,
        world_from_object=np.stack([moving, parked], axis=1),
    )


def _points(drive, frame):
    points = np.zeros((HEIGHT, WIDTH, 3))
    for y in range(HEIGHT):
        for x in range(WIDTH):
            ray = np.linalg.inv(drive.intrinsics.astype(float)) @ [x, y, 1]
            points[y, x] = ray * drive.depth[frame, y, x]
    return points


def test_camera_motion_maps_a_world_point_from_target_to_source(drive):
    point = np.array([1.0, 2.0, 3.0, 1.0])
    in_target = np.linalg.inv(drive.world_from_camera[0]) @ point
    in_source = np.linalg.inv(drive.world_from_camera[2]) @ point
    moved = true_motion.camera_motion(drive, 0, 2) @ in_target
    np.testing.assert_allclose(moved, in_source, atol=1e-12)


def test_rigid_motion_agrees_with_a_loop_over_pixels(drive):
    target, source = 0, 2
    result = true_motion.rigid_motion(drive, target, source)
    egomotion = true_motion.camera_motion(drive, target, source)
    for (y, x), label in np.ndenumerate(drive.instance_labels[target]):
        point = np.append(_points(drive, target)[y, x], 1.0)
        in_world = drive.world_from_camera[target] @ point
        if label:
            poses = drive.world_from_object[:, label - 1]
            in_world = poses[source] @ np.linalg.inv(poses[target]) @ in_world
        expected = np.linalg.inv(drive.world_from_camera[source]) @ in_world
        np.testing.assert_allclose(result.points_source[y, x], expected[:3], atol=1e-9)
        residual = expected - egomotion @ point
        np.testing.assert_allclose(
            result.residual_translation[y, x], residual[:3], atol=1e-9
        )
    assert result.known.all()


def test_only_pixels_of_the_moving_object_move(drive):
    moving = true_motion.moving_mask(drive, 1, 2, 0.05)
    np.testing.assert_array_equal(moving, drive.instance_labels[1] == 1)
    residual = true_motion.rigid_motion(drive, 1, 2).residual_translation
    assert (residual[drive.instance_labels[1] != 1] == 0).all()


def test_motion_to_the_same_frame_is_identity(drive):
    np.testing.assert_allclose(true_motion.optical_flow(drive, 1, 1), 0.0, atol=1e-9)
    assert not true_motion.moving_mask(drive, 1, 1).any()


def test_optical_flow_projects_the_moved_points(drive):
    points = true_motion.rigid_motion(drive, 0, 1).points_source
    pixels = points @ drive.intrinsics.astype(float).T
    pixels = pixels[..., :2] / pixels[..., 2:]
    flow = true_motion.optical_flow(drive, 0, 1)
    for y in range(HEIGHT):
        for x in range(WIDTH):
            np.testing.assert_allclose(flow[y, x] + (x, y), pixels[y, x], atol=1e-9)


def test_pixels_of_unknown_depth_or_absent_objects_are_not_known(drive):
    depth = drive.depth.copy()
    depth[0, 0, 0] = 0
    poses = drive.world_from_object.copy()
    poses[1, 0] = np.nan
    drive = dataclasses.replace(drive, depth=depth, world_from_object=poses)
    motion = true_motion.rigid_motion(drive, 0, 1)
    unknown = drive.instance_labels[0] == 1
    unknown[0, 0] = True
    np.testing.assert_array_equal(motion.known, ~unknown)
    assert np.isfinite(motion.points_source).all()
    assert (motion.residual_translation == 0).all()
    assert np.isnan(true_motion.optical_flow(drive, 0, 1)[unknown]).all()


def test_frames_alone_make_a_recording_without_truth(drive):
    bare = arrays.Recording(name="bare", frames=drive.frames)
    assert len(bare) == FRAMES and bare.size == (HEIGHT, WIDTH)
    with pytest.raises(ValueError, match="'bare' has no world_from_camera"):
        true_motion.camera_motion(bare, 0, 1)


def test_small_arrays_are_converted_and_large_ones_must_have_their_type(drive):
    assert drive.intrinsics.dtype == np.float32
    assert drive.world_from_camera.dtype == np.float64
    with pytest.raises(ValueError, match="depth expects float32, got float64"):
        dataclasses.replace(drive, depth=drive.depth.astype(np.float64))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("frames", np.zeros((3, 5, 7), np.uint8), "frames expects a non-empty"),
        ("frames", np.zeros((3, 5, 7, 3), np.float32), "frames expects uint8"),
        ("depth", np.zeros((3, 5, 6), np.float32), "depth expects shape"),
        ("instance_labels", np.zeros((2, 5, 7), np.uint8), "instance_labels expects"),
        ("intrinsics", np.eye(4), "intrinsics expects shape"),
        ("intrinsics", np.diag([0.6, 0.9, 1.0]), "did you pass normalised"),
        ("intrinsics", np.diag([-6.0, 5.0, 1.0]), "positive focal"),
        (
            "intrinsics",
            np.array([[6.0, 0, 30], [0, 5, 2], [0, 0, 1]]),
            "pixels of a 5x7 image",
        ),
        ("world_from_camera", np.zeros((3, 4, 4)), "world_from_camera expects rigid"),
        ("world_from_object", np.zeros((3, 2, 4, 4)), "frame 0, label 1"),
    ],
)
def test_bad_fields_are_named(drive, field, value, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(drive, **{field: value})
