"""Poses of the same moment are compared, and what is missing is counted or refused."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mdm_jax.evaluation import trajectory_files, trajectory_matching

IDENTITY = "1 0 0 0 0 1 0 0 0 0 1 0"


def _poses(count=5, seed=0):
    rng = np.random.default_rng(seed)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = Rotation.random(count, random_state=seed).as_matrix()
    poses[:, :3, 3] = rng.normal(size=(count, 3))
    return poses


def _tum(path, times, poses):
    quaternions = Rotation.from_matrix(poses[:, :3, :3]).as_quat()
    rows = np.column_stack([times, poses[:, :3, 3], quaternions])
    np.savetxt(path, rows, fmt="%.12g", header="time x y z qx qy qz qw")
    return path


def _read(path):
    return trajectory_files.read_trajectory(path)


def _pair(tmp_path, frames, count=6):
    poses = _poses(count)
    trajectory_files.write_kitti(tmp_path / "true.txt", poses)
    trajectory_files.write_kitti(
        tmp_path / "predicted.txt", poses[[f % count for f in frames]], frames=frames
    )
    return _read(tmp_path / "true.txt"), _read(tmp_path / "predicted.txt")


def test_frames_missing_at_the_start_are_left_out_and_counted(tmp_path):
    matched = trajectory_matching.match("a", *_pair(tmp_path, [2, 3, 4, 5]))
    np.testing.assert_array_equal(matched.frames, [2, 3, 4, 5])
    np.testing.assert_allclose(matched.true[2:], matched.predicted, atol=1e-8)
    assert matched.num_missing == 2


@pytest.mark.parametrize(
    ("frames", "missing"), [([0, 1, 3, 4, 5], 2), ([0, 1, 2, 3], 4)]
)
def test_other_missing_frames_are_an_error_unless_allowed(tmp_path, frames, missing):
    pair = _pair(tmp_path, frames)
    with pytest.raises(
        ValueError, match=rf"predicted\.txt: no pose of frame {missing}"
    ):
        trajectory_matching.match("a", *pair)
    matched = trajectory_matching.match("a", *pair, allow_missing=True)
    assert matched.num_missing == 6 - len(frames)


def test_frames_beyond_the_truth_are_an_error(tmp_path):
    with pytest.raises(ValueError, match="frame 6 is not in the truth"):
        trajectory_matching.match("a", *_pair(tmp_path, [4, 5, 6]))


def test_another_count_without_frame_numbers_is_an_error(tmp_path):
    for name, count in (("true", 6), ("predicted", 5)):
        trajectory_files.write_kitti(tmp_path / f"{name}.txt", _poses(count))
    with pytest.raises(ValueError, match=r"5 poses, but 6 in the truth .*number"):
        trajectory_matching.match(
            "a", _read(tmp_path / "true.txt"), _read(tmp_path / "predicted.txt")
        )


def test_poses_of_the_same_time_belong_together(tmp_path):
    poses, times = _poses(), 0.1 * np.arange(5)
    true = _read(_tum(tmp_path / "true.txt", times, poses))
    shifted = _read(_tum(tmp_path / "b.txt", times[1:] + 0.004, poses[1:]))
    matched = trajectory_matching.match("a", true, shifted)
    np.testing.assert_array_equal(matched.frames, [1, 2, 3, 4])

    late = _read(_tum(tmp_path / "c.txt", times + 0.05, poses))
    with pytest.raises(ValueError, match=r"c\.txt: the pose at 0\.05.* no true pose"):
        trajectory_matching.match("a", true, late)
    near = np.array([0.1, 0.101, 0.2, 0.3, 0.4])
    twice = _read(_tum(tmp_path / "d.txt", near, poses))
    with pytest.raises(ValueError, match=r"d\.txt: .* both nearest to true pose 1"):
        trajectory_matching.match("a", true, twice)


def test_times_of_the_frames_may_come_from_a_file_of_their_own(tmp_path):
    poses, times = _poses(), 0.1 * np.arange(5)
    trajectory_files.write_kitti(tmp_path / "true.txt", poses)
    np.savetxt(tmp_path / "times.txt", times)
    true = _read(tmp_path / "true.txt")
    predicted = _read(_tum(tmp_path / "p.txt", times[2:], poses[2:]))
    with pytest.raises(ValueError, match="pass the times"):
        trajectory_matching.match("a", true, predicted)
    read = trajectory_files.read_times(tmp_path / "times.txt")
    matched = trajectory_matching.match("a", true, predicted, times=read)
    np.testing.assert_array_equal(matched.frames, [2, 3, 4])
    with pytest.raises(ValueError, match="5 poses but 4 times"):
        trajectory_matching.match("a", true, predicted, times=read[:4])


def test_files_are_paired_by_name(tmp_path):
    for folder, names in (("true", "abc"), ("predicted", "ca")):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / f"{name}.txt").write_text(IDENTITY)
    pairs = trajectory_matching.paired_files(tmp_path / "predicted", tmp_path / "true")
    assert [name for name, (_, path) in pairs.items() if path] == ["a", "c"]
    assert pairs["b"][1] is None
    (tmp_path / "predicted" / "d.txt").write_text(IDENTITY)
    with pytest.raises(ValueError, match=r"d\.txt: .* has no d\.txt"):
        trajectory_matching.paired_files(tmp_path / "predicted", tmp_path / "true")
