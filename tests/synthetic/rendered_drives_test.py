"""Synthetic drives look the same from frame to frame, and say the truth."""

import numpy as np
import pytest
from scipy import ndimage

from mdm_jax.recording import true_motion
from mdm_jax.synthetic import driving, rendered_drives, streets, town, traffic

SIZE = (64, 208)


@pytest.fixture(scope="module")
def drive():
    return rendered_drives.make_drive(5, num_frames=24, size=SIZE)


def _warp(drive, target, source):
    """Returns the colour error [h w] of the true warp, and which pixels are in both."""
    points, _, known = true_motion.rigid_motion(drive, target, source)
    flow = true_motion.optical_flow(drive, target, source)
    height, width = drive.size
    y, x = np.mgrid[:height, :width]
    visible = known & np.isfinite(flow).all(axis=-1)
    flow = np.where(visible[..., None], flow, 0.0)
    x, y = x + flow[..., 0], y + flow[..., 1]
    visible &= (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    image = drive.frames[source] / 255.0
    warped = [ndimage.map_coordinates(image[..., c], [y, x], order=1) for c in range(3)]
    left = np.clip(np.floor(x), 0, width - 2).astype(int)
    top = np.clip(np.floor(y), 0, height - 2).astype(int)
    labels, z = drive.instance_labels[target], points[..., 2]
    for place in [(top, left), (top + 1, left), (top, left + 1), (top + 1, left + 1)]:
        visible &= np.abs(drive.depth[source][place] - z) < 0.05 * z
        visible &= drive.instance_labels[source][place] == labels
    error = np.abs(np.stack(warped, axis=-1) - drive.frames[target] / 255.0)
    return error.mean(axis=-1), visible


def test_warping_with_the_truth_explains_co_visible_pixels(drive):
    errors, on_cars, shares, unwarped = [], [], [], []
    for target in range(0, len(drive) - 1, 5):
        for pair in ((target, target + 1), (target + 1, target)):
            error, visible = _warp(drive, *pair)
            errors.append(error[visible].mean())
            shares.append(visible.mean())
            moving = visible & true_motion.moving_mask(drive, *pair)
            on_cars.append(error[moving].mean() if moving.sum() > 20 else 0.0)
            change = np.abs(np.diff(drive.frames[list(pair)] / 255.0, axis=0))
            unwarped.append(change.mean())
    assert np.mean(errors) < 0.02 and np.max(errors) < 0.03
    assert np.max(on_cars) < 0.05
    assert np.mean(shares) > 0.6
    assert np.mean(unwarped) > 3 * np.mean(errors)


def test_the_ground_is_where_camera_height_and_pose_say(drive):
    """Rays through the bottom corners hit the plane y = 0 unless a thing is nearer."""
    frame = len(drive) // 2
    pose, matrix = drive.world_from_camera[frame], drive.intrinsics.astype(float)
    on_ground = 0
    for x in range(0, SIZE[1], 16):
        y = SIZE[0] - 1
        ray = np.linalg.inv(matrix) @ [x, y, 1.0]
        depth = -pose[1, 3] / (pose[:3, :3] @ ray)[1]
        assert drive.depth[frame, y, x] <= depth * (1 + 1e-4)
        on_ground += drive.depth[frame, y, x] > depth * (1 - 1e-4)
    assert on_ground >= 3


def test_labelled_points_lie_inside_their_car(drive):
    found = 0
    for frame in (0, 13, 23):
        matrix = np.linalg.inv(drive.intrinsics.astype(float))
        pose = drive.world_from_camera[frame]
        labels = drive.instance_labels[frame]
        for y, x in np.argwhere(labels > 0)[::29]:
            point = matrix @ [x, y, 1.0] * drive.depth[frame, y, x]
            point = pose[:3, :3] @ point + pose[:3, 3]
            car = drive.world_from_object[frame, labels[y, x] - 1]
            right, down, forward = car[:3, :3].T @ (point - car[:3, 3])
            assert abs(right) < 1.0 and abs(forward) < 2.4 and -2.2 < down < 0.01
            found += 1
    assert found > 20


def test_a_drive_is_determined_by_its_seed_and_frames_do_not_depend_on_their_number():
    long = rendered_drives.make_drive((1, 2), num_frames=14, size=(9, 33))
    again = rendered_drives.make_drive((1, 2), num_frames=14, size=(9, 33))
    short = rendered_drives.make_drive((1, 2), num_frames=6, size=(9, 33))
    for field in ("frames", "depth", "instance_labels", "world_from_camera"):
        np.testing.assert_array_equal(getattr(long, field), getattr(again, field))
        np.testing.assert_array_equal(getattr(long, field)[:6], getattr(short, field))
    known = short.world_from_object.shape[1]
    np.testing.assert_array_equal(
        long.world_from_object[:6, :known], short.world_from_object
    )


def test_splits_and_seeds_show_different_towns_and_more_drives_change_none():
    def frames(**options):
        options = {"num_drives": 1, "num_frames": 2, "size": (9, 33)} | options
        return [drive.frames for drive in rendered_drives.make_drives(**options)]

    shown = [frames(split=split)[0] for split in rendered_drives.SPLITS]
    shown.append(frames(split="train", seed=1)[0])
    two = frames(split="train", num_drives=2)
    np.testing.assert_array_equal(two[0], shown[0])
    shown.append(two[1])
    for i, one in enumerate(shown):
        assert all((one != other).mean() > 0.5 for other in shown[:i])


def _plan(seed, num_frames=400):
    seeds, length = (seed,), driving.route_length(num_frames)
    world = town.make_world(seeds, length=length)
    camera = driving.drive_camera(seeds, world.route, num_frames=num_frames)
    return world, camera, traffic.make_traffic(seeds, world, camera)


def test_the_camera_drives_stands_and_turns_on_the_spot():
    _, camera, _ = _plan(3)
    step = np.linalg.norm(np.diff(camera.world_from_camera[:, :3, 3], axis=0), axis=-1)
    turn = np.abs(np.diff(camera.yaw))
    assert step.max() < 1.5 and 0.8 < np.median(step[step > 0]) < 1.3
    still = step == 0
    assert 0 < (still & (turn == 0)).mean() < 0.2
    assert 0 < (still & (turn > 0.001)).mean() < 0.3
    height = -camera.world_from_camera[:, 1, 3]
    assert 1.35 < height.min() and height.max() < 1.85


def test_cars_move_turn_and_never_touch():
    _world, camera, tracks = _plan(4)
    assert len(tracks) > 10
    turns = [np.ptp(track.poses[:, 2]) for track in tracks]
    assert max(turns) > 1.3 and min(turns) < 0.5
    steps = [np.linalg.norm(np.diff(t.poses[:, :2], axis=0), axis=-1) for t in tracks]
    assert np.concatenate(steps).max() < 1.8
    for frame in range(0, 400, 7):
        places = [camera.place[frame + driving.LEAD_IN]]
        for track in tracks:
            if 0 <= frame - track.start < len(track.poses):
                places.append(track.poses[frame - track.start, :2])
        places = np.array(places)
        gaps = np.linalg.norm(places[:, None] - places[None], axis=-1)
        assert (gaps + 9 * np.eye(len(places))).min() > 1.8


def test_nothing_stands_on_the_road():
    world, _, _ = _plan(6)
    for box in world.boxes[world.boxes[:, 1] == 0]:
        clearance = world.route.clearance(box[None, [0, 2]])
        assert clearance[0] > min(box[4], box[6])
    assert (world.route.clearance(world.parked[:, :2]) > -1.3).all()


@pytest.mark.parametrize("spread", [0.0, 1.0, 12.0])
def test_clearance_is_to_the_nearest_of_all_streets(spread):
    route = streets.make_route((0, 0, 3), length=400.0)
    rng = np.random.default_rng(0)
    for middle in rng.uniform(-60, 260, (40, 2)):
        points = middle + rng.uniform(-spread, spread, (9, 2))
        nearest = np.full(len(points), np.inf)
        for ax, az, bx, bz, _, half_width, *_ in route.segments:
            # Finely sampled, not projected: a segment is its points.
            w = np.linspace(0, 1, 2001)[:, None]
            street = (1 - w) * [ax, az] + w * [bx, bz]
            gaps = np.linalg.norm(points[:, None] - street, axis=-1).min(axis=1)
            nearest = np.minimum(nearest, gaps - half_width)
        np.testing.assert_allclose(route.clearance(points), nearest, atol=0.02)


def test_a_longer_route_begins_like_a_shorter_one():
    short = streets.make_route((7,), length=300.0)
    long = streets.make_route((7,), length=900.0)
    assert long.legs[: len(short.legs)] == short.legs
    s = np.linspace(0, 290, 20)
    np.testing.assert_array_equal(short.at(s, 1.5), long.at(s, 1.5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "dev"}, "split expects one of train, validation, test"),
        ({"num_drives": 0}, "num_drives"),
        ({"num_frames": 0}, "num_frames"),
        ({"size": (4, 33)}, "size"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_options_are_named(options, message):
    good = {"split": "train", "num_drives": 1, "num_frames": 2, "size": (9, 33)}
    with pytest.raises(ValueError, match=message):
        rendered_drives.make_drives(**(good | options))
