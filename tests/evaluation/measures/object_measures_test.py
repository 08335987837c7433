"""Measuring single objects: truth is perfect, stillness and holes are seen."""

import dataclasses

import numpy as np
import pytest

from mdm_jax import config as config_lib
from mdm_jax.evaluation import pairs
from mdm_jax.evaluation.measures import object_measures
from mdm_jax.recording import arrays as recording_lib
from mdm_jax.recording import true_motion

EVALUATION = config_lib.base_config().evaluation
HEIGHT, WIDTH = 24, 40


def _pose(z):
    pose = np.eye(4)
    pose[2, 3] = z
    return pose


@pytest.fixture
def drive():
    """A camera that drives 1 m; one car follows it, one comes the other way."""
    labels = np.zeros((2, HEIGHT, WIDTH), np.uint8)
    labels[:, 4:14, 5:15] = 1
    labels[:, 4:14, 25:35] = 2
    depth = np.where(labels > 0, 10.0, 20.0).astype(np.float32)
    objects = np.stack(
        [np.stack([_pose(10), _pose(10)]), np.stack([_pose(11), _pose(8.5)])]
    )
    return recording_lib.Recording(
        name="two cars",
        frames=np.zeros((2, HEIGHT, WIDTH, 3), np.uint8),
        intrinsics=np.array([[30, 0, 19.5], [0, 30, 11.5], [0, 0, 1]], np.float32),
        depth=depth,
        world_from_camera=np.stack([_pose(0), _pose(1)]),
        instance_labels=labels,
        world_from_object=objects,
    )


def _pair(drive, *, depth_factor=1.0, motion_factor=1.0, unit=1.0):
    motion = true_motion.rigid_motion(drive, 0, 1)
    prediction = {
        "depth": np.asarray(drive.depth[0]) * depth_factor * unit,
        "object_motion": motion.residual_translation * motion_factor * unit,
    }
    return pairs.FramePair(drive, 0, 1, prediction)


def _result(pair, **options):
    measure = object_measures.Objects(EVALUATION, **options)
    measure.add(pair)
    return measure.result()


def test_the_truth_in_another_unit_is_perfect(drive):
    result = _result(_pair(drive, unit=0.1))
    assert result["objects/num"] == 2
    assert result["objects/num_following"] == 1
    assert result["objects/direction_deg"] == pytest.approx(0, abs=1e-3)
    assert result["objects/magnitude_error"] == pytest.approx(0, abs=1e-5)
    assert result["objects/following_hole_rate"] == 0


def test_no_motion_points_nowhere(drive):
    result = _result(_pair(drive, motion_factor=0.0))
    assert result["objects/direction_deg"] == pytest.approx(90)
    assert result["objects/magnitude_error"] == pytest.approx(1)


def test_opposite_motion_is_the_worst_direction(drive):
    result = _result(_pair(drive, motion_factor=-1.0))
    assert result["objects/direction_deg"] == pytest.approx(180, abs=1e-3)


def test_the_median_forgives_a_few_wrong_signs(drive):
    measure = object_measures.Objects(EVALUATION)
    for factor in (1.0, 1.0, -1.0):
        measure.add(_pair(drive, motion_factor=factor))
    result = measure.result()
    assert result["objects/direction_deg"] == pytest.approx(60, abs=1e-3)
    assert result["objects/direction_median_deg"] == pytest.approx(0, abs=1e-3)


def test_only_the_car_at_camera_speed_can_be_a_hole(drive):
    following = np.asarray(drive.instance_labels[0]) == 1
    oncoming = np.asarray(drive.instance_labels[0]) == 2
    holes = _result(_pair(drive, depth_factor=np.where(following, 4.0, 1.0)))
    assert holes["objects/following_hole_rate"] == 1
    none = _result(_pair(drive, depth_factor=np.where(oncoming, 4.0, 1.0)))
    assert none["objects/following_hole_rate"] == 0


def test_depth_of_objects_counts_each_once_whatever_its_size(drive):
    labels = np.array(drive.instance_labels)
    labels[0, 4:6, 5:15] = 0  # 80 pixels of one, 100 of the other
    smaller = dataclasses.replace(drive, instance_labels=labels)
    factor = np.where(labels[0] == 1, 1.5, 1.0)
    result = _result(_pair(smaller, depth_factor=factor))
    assert result["objects/abs_rel"] == pytest.approx(0.25)


def test_small_and_slow_objects_are_not_judged(drive):
    assert _result(_pair(drive), min_pixels=101)["objects/num"] == 0
    # The oncoming car does 2.5 m.
    assert _result(_pair(drive), min_translation=1.5)["objects/num"] == 1


def test_objects_that_leave_the_image_are_counted_apart(drive):
    labels = np.array(drive.instance_labels)
    labels[1][labels[1] == 2] = 0
    labels[1, 4, 25] = 2
    leaving = dataclasses.replace(drive, instance_labels=labels)
    still = np.where(labels[0] == 2, 0.0, 1.0)[..., None]
    result = _result(_pair(leaving, motion_factor=still))
    assert result["objects/num"] == 2 and result["objects/num_seen_twice"] == 1
    assert result["objects/direction_deg"] == pytest.approx(45, abs=1e-3)
    assert result["objects/direction_seen_twice_deg"] == pytest.approx(0, abs=1e-3)


def test_without_labels_there_are_no_objects(drive):
    bare = recording_lib.Recording(
        name="bare",
        frames=drive.frames,
        intrinsics=drive.intrinsics,
        depth=drive.depth,
        world_from_camera=drive.world_from_camera,
    )
    counts = ("num", "num_seen_twice", "num_following")
    assert _result(_pair(bare)) == {f"objects/{name}": 0 for name in counts}
