"""Tests of the composition: depth, pose and motion of a pair, or why there are none."""

import dataclasses

import numpy as np
import pytest

from mdm_jax.flow import flow_sources
from mdm_jax.flow.video_frame import Frame
from mdm_jax.recording import true_motion
from mdm_jax.two_view import front_end, moving
from tests.two_view import corridors

FIRST = corridors.pose()
SECOND = corridors.pose(angles=(0, 0.01, 0), position=(0.05, 0, 0.8))


def _run(flow, backward, intrinsics=corridors.INTRINSICS, **options):
    pair = front_end.front_end(flow, backward, intrinsics, **options)
    for geometry in pair:
        assert np.isfinite(geometry.depth).all()
        assert np.isfinite(geometry.weight).all()
        np.testing.assert_array_equal(geometry.depth > 0, geometry.weight > 0)
    return pair


def _scene(second=SECOND, **options):
    flow, backward, depth, labels = corridors.pair(FIRST, second, **options)
    return *_run(flow, backward), depth, labels


def test_both_directions_are_exact_with_true_flow():
    ahead, behind, depth, _ = _scene()
    motion = corridors.source_from_target(FIRST, SECOND)
    assert ahead.state == behind.state == front_end.MOVING
    assert corridors.angle(ahead.pose.direction, motion[:3, 3]) < 0.05
    assert corridors.angle(ahead.rotation, motion[:3, :3]) < 0.01
    length = np.linalg.norm(motion[:3, 3])
    for geometry, truth in (
        (ahead, depth),
        (behind, corridors.look(SECOND)[0]),
    ):
        known = geometry.trusted
        assert known.mean() > 0.6
        error = np.abs(geometry.depth[known] * length / truth[known] - 1)
        assert np.median(error) < 2e-3
        assert (geometry.motion[known] == moving.STATIC).all()
        assert not (geometry.motion == moving.MOVES).any()
    np.testing.assert_allclose(
        behind.pose.direction, -ahead.rotation.T @ ahead.pose.direction
    )


def test_depth_is_trusted_where_it_is_right_and_weighs_by_parallax():
    flow, backward, depth, _ = corridors.pair(FIRST, SECOND)
    noise = np.random.default_rng(0).normal(0, 0.2, flow.shape).astype(np.float32)
    ahead, _ = _run(flow + noise, backward)
    motion = corridors.source_from_target(FIRST, SECOND)
    error = np.abs(ahead.depth * np.linalg.norm(motion[:3, 3]) / depth - 1)
    heavy, light = ahead.weight > 0.8, ahead.trusted & (ahead.weight < 0.6)
    assert light.any()
    assert np.median(error[heavy]) < 0.5 * np.median(error[light])


def test_a_rendered_drive_with_estimated_flow_is_close_to_the_truth(drive):
    frames = [Frame(i, f"{i:06d}", drive.frames[i]) for i in (2, 3)]
    flow = flow_sources.dense_inverse_search(*frames)
    backward = flow_sources.dense_inverse_search(*frames[::-1])
    ahead, _ = _run(flow, backward, drive.intrinsics)
    motion = true_motion.camera_motion(drive, 2, 3)
    assert corridors.angle(ahead.pose.direction, motion[:3, 3]) < 3
    assert corridors.angle(ahead.rotation, motion[:3, :3]) < 0.3
    static = ahead.trusted & ~true_motion.moving_mask(drive, 2, 3)
    assert static.mean() > 0.4
    ratio = ahead.depth[static] / drive.depth[2][static]
    assert np.mean(np.abs(ratio / np.median(ratio) - 1)) < 0.12


def test_a_standing_camera_is_said_to_stand():
    ahead, behind, *_ = _scene(FIRST)
    assert ahead.state == behind.state == front_end.STANDING
    assert ahead.pose is None
    np.testing.assert_array_equal(ahead.rotation, np.eye(3))
    assert not ahead.trusted.any()
    assert (ahead.motion == moving.UNKNOWN).all()


def test_a_camera_that_only_turns_has_a_rotation_and_no_depth():
    second = corridors.pose(angles=(0.01, 0.05, 0))
    ahead, behind, *_ = _scene(second)
    assert ahead.state == front_end.TURNING
    assert ahead.pose is None
    expected = corridors.source_from_target(FIRST, second)[:3, :3]
    assert corridors.angle(ahead.rotation, expected) < 0.01
    assert corridors.angle(behind.rotation, expected.T) < 0.01
    assert not ahead.trusted.any()


def test_flow_that_agrees_with_nothing_is_a_cut():
    rng = np.random.default_rng(0)
    flows = rng.uniform(-30, 30, (2, corridors.H, corridors.W, 2)).astype(np.float32)
    ahead, _ = _run(*flows)
    assert ahead.state == front_end.CUT
    assert ahead.rotation is None


def test_unknown_flow_is_a_cut_and_raises_nothing():
    unknown = np.full((corridors.H, corridors.W, 2), np.nan, np.float32)
    ahead, _ = _run(unknown, unknown)
    assert ahead.state == front_end.CUT
    assert ahead.median_flow == 0


def test_many_movers_without_a_common_motion_are_inconsistent():
    rng = np.random.default_rng(0)
    # Tiles that move as they like, consistently there and back inside each tile.
    steps = rng.uniform(-9, 9, (6, 8, 2)).astype(np.float32)
    flow = np.repeat(np.repeat(steps, 10, axis=0), 13, axis=1)
    backward = flow.copy()
    rows, columns = np.indices(flow.shape[:2])
    ends = np.rint(np.stack([columns, rows], -1) + flow).astype(int)
    inside = (ends >= 0).all(-1) & (ends < (corridors.W, corridors.H)).all(-1)
    for row, column in zip(*np.nonzero(inside)):
        x, y = ends[row, column]
        backward[y, x] = -flow[row, column]
    options = dataclasses.replace(front_end.DEFAULT, min_inliers=0.6)
    ahead, _ = _run(flow, backward, options=options)
    assert ahead.state in (front_end.INCONSISTENT, front_end.CUT)
    assert ahead.pose is None


def test_a_plane_is_said_to_be_ambiguous():
    # Looking down at the road.
    first = corridors.pose(angles=(-0.9, 0, 0))
    second = corridors.pose(angles=(-0.9, 0.02, 0), position=(0, 0, 0.3))
    flow, backward, *_ = corridors.pair(first, second, planes=corridors.CORRIDOR[:1])
    noise = np.random.default_rng(0).normal(0, 0.1, flow.shape).astype(np.float32)
    ahead, _ = _run(flow + noise, backward - noise)
    assert ahead.state == front_end.PLANE
    assert ahead.pose is None
    assert not ahead.trusted.any()


def test_a_crossing_board_moves_and_its_depth_is_not_trusted():
    board = corridors.Board(-2, 1, -1.5, 1.4, 9, step=(0.5, 0.3, 0))
    ahead, _, _, labels = _scene(boards=[board])
    inside = labels == 1
    assert (ahead.motion[inside] == moving.MOVES).mean() > 0.6
    assert ahead.trusted[inside].mean() < 0.1
    assert (ahead.motion[~inside] == moving.MOVES).mean() < 0.01


def test_a_board_that_drives_ahead_is_unknown_and_never_far():
    board = corridors.Board(-1.5, 1.5, -1, 1.4, 8, step=(0.04, 0, 0.79))
    ahead, _, _, labels = _scene(boards=[board])
    inside = labels == 1
    assert (ahead.motion[inside] == moving.UNKNOWN).mean() > 0.9
    assert not ahead.depth[inside].any()


def test_a_board_that_overtakes_shrinks_and_moves():
    # Beside the axis, so that it has parallax, and faster than the camera.
    board = corridors.Board(1.5, 4.5, -1.5, 1.4, 6, step=(0, 0, 2.2))
    ahead, _, _, labels = _scene(boards=[board])
    inside = labels == 1
    assert (ahead.motion[inside] == moving.MOVES).mean() > 0.5
    assert not ahead.trusted[inside].any()


def test_overtaking_traffic_that_fills_the_picture_does_not_turn_the_camera_around():
    boards = [
        corridors.Board(-9, -0.4, -9, 1.4, 6, step=(0, 0, 2.4)),
        corridors.Board(0.4, 9, -9, 1.4, 7, step=(0, 0, 2.4)),
    ]
    straight = corridors.pose(position=(0, 0, 0.8))
    flow, backward, _, labels = corridors.pair(FIRST, straight, boards)
    assert (labels > 0).mean() > 0.5
    without = dataclasses.replace(front_end.DEFAULT, forward=False)
    deceived, _ = _run(flow, backward, options=without)
    ahead, _ = _run(flow, backward)
    assert deceived.pose.direction[2] > 0.9
    assert ahead.pose.direction[2] < -0.9
    # The traffic moves, the street does not.
    assert (ahead.motion[labels > 0] == moving.MOVES).mean() > 0.5
    assert not ahead.trusted[labels > 0].any()


def test_pixels_that_see_no_world_are_left_out():
    usable = np.ones((corridors.H, corridors.W), bool)
    usable[-20:] = False
    flow, backward, *_ = corridors.pair(FIRST, SECOND)
    flow[-20:], backward[-20:] = 0, 0
    ahead, behind = _run(flow, backward, usable=(usable, usable))
    assert ahead.state == front_end.MOVING
    for geometry in (ahead, behind):
        assert not geometry.trusted[-20:].any()
        assert (geometry.motion[-20:] == moving.UNKNOWN).all()


@pytest.mark.parametrize("shape", [(5, 7, 3), (5, 7)])
def test_wrong_shapes_are_named(shape):
    with pytest.raises(ValueError, match="flow expects"):
        front_end.front_end(np.zeros(shape), np.zeros(shape), corridors.INTRINSICS)


def test_intrinsics_that_are_not_finite_are_named():
    flow = np.zeros((5, 7, 2), np.float32)
    with pytest.raises(ValueError, match="intrinsics expect"):
        front_end.front_end(flow, flow, np.full((3, 3), np.nan))
