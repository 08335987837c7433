"""Trajectory files read as they were meant, and mistakes are named by file and line."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mdm_jax.evaluation import trajectory_files


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


def test_all_three_forms_hold_the_same_poses(tmp_path):
    poses = _poses()
    trajectory_files.write_kitti(tmp_path / "a.txt", poses)
    trajectory_files.write_kitti(tmp_path / "b.txt", poses, frames=[0, 2, 3, 7, 8])
    _tum(tmp_path / "c.txt", 0.1 * np.arange(5), poses)
    a, b, c = (_read(tmp_path / f"{name}.txt") for name in "abc")
    for one in (a, b, c):
        np.testing.assert_allclose(one.poses, poses, atol=1e-8)
    assert a.frames is None and a.times is None
    np.testing.assert_array_equal(b.frames, [0, 2, 3, 7, 8])
    np.testing.assert_allclose(c.times, 0.1 * np.arange(5))


def test_commas_and_comments_are_read(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("# a comment\n\n1.5, 1,2,3, 0,0,0,1\n2.5, 1,2,4, 0,0,0,1\n")
    assert _read(path).poses[1, 2, 3] == 4


IDENTITY = "1 0 0 0 0 1 0 0 0 0 1 0"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no poses"),
        (f"{IDENTITY}\n1 2 3\n", r"a\.txt:2: got 3 numbers"),
        (f"{IDENTITY}\n0 {IDENTITY}\n", r"a\.txt:2: got 13 numbers"),
        ("1 2 3 4 5 6 7 8 9\n", r"a\.txt:1: got 9 numbers"),
        (f"{IDENTITY}\n{IDENTITY.replace('1', 'x', 1)}\n", r"a\.txt:2: could not"),
        (f"{IDENTITY}\n1 0 0 nan 0 1 0 0 0 0 1 0\n", r"a\.txt:2: .*not finite"),
        (f"{IDENTITY}\n2 0 0 0 0 1 0 0 0 0 1 0\n", r"a\.txt:2: .*no rotation"),
        (f"{IDENTITY}\n-1 0 0 0 0 1 0 0 0 0 1 0\n", r"a\.txt:2: .*no rotation"),
        ("0.5 0 0 0 0 0 0 1\n# c\n1 0 0 0 0 0 0 2\n", r"a\.txt:3: .*length 1"),
        (f"3 {IDENTITY}\n\n3 {IDENTITY}\n", r"a\.txt:3: frame 3 follows 3"),
        (f"0.5 {IDENTITY}\n", r"a\.txt:1: .*whole number"),
        ("2 0 0 0 0 0 0 1\n1 0 0 0 0 0 0 1\n", r"a\.txt:2: time 1 follows 2"),
    ],
)
def test_what_is_no_trajectory_is_named_by_file_and_line(tmp_path, text, message):
    path = tmp_path / "a.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        _read(path)


def test_tum_files_written_are_read_as_they_were(tmp_path):
    rng = np.random.default_rng(0)
    turns = Rotation.from_rotvec(rng.normal(size=(40, 3)) * 2)
    half = Rotation.from_rotvec(np.pi * np.eye(3))
    poses = np.tile(np.eye(4), (43, 1, 1))
    poses[:, :3, :3] = Rotation.concatenate([turns, half]).as_matrix()
    poses[:, :3, 3] = rng.normal(size=(43, 3))
    times = np.arange(43) / 7
    path = tmp_path / "a.txt"
    trajectory_files.write_tum(path, poses, times=times)
    again = _read(path)
    np.testing.assert_allclose(again.poses, poses, atol=1e-8)
    np.testing.assert_allclose(again.times, times, atol=1e-6)
    quaternions = np.loadtxt(path)[:, 4:]
    other = Rotation.from_quat(quaternions).as_matrix()
    np.testing.assert_allclose(other, poses[:, :3, :3], atol=1e-8)


@pytest.fixture
def written(tmp_path):
    """Folder of the trajectories of two drives, one of them in two parts."""
    for name in ("new/a", "new/b/0", "new/b/7"):
        trajectory_files.write_kitti(tmp_path / f"{name}.txt", _poses())
    return tmp_path / "new"


def _files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*.*")}


def test_trajectories_of_an_earlier_evaluation_are_replaced(written, tmp_path):
    folder, truth = tmp_path / "out" / "trajectories", tmp_path / "true"
    for name in ("a", "gone", "b/3"):
        trajectory_files.write_kitti(tmp_path / f"old/{name}.txt", _poses(seed=1))
    trajectory_files.save(tmp_path / "old", folder, truth=truth)
    trajectory_files.write_kitti(folder / "of/others.txt", _poses(seed=2))
    for _ in range(2):
        trajectory_files.save(written, folder, truth=truth)
        assert _files(folder) - {".kept"} == {
            "a.txt",
            "b/0.txt",
            "b/7.txt",
            "of/others.txt",
        }
        assert (folder / "a.txt").read_bytes() == (written / "a.txt").read_bytes()


@pytest.mark.parametrize("truth", [".", "b.txt"])
def test_the_truth_is_never_replaced(written, tmp_path, truth):
    folder = tmp_path / "trajectories"
    trajectory_files.write_kitti(folder / "b.txt", _poses())
    with pytest.raises(ValueError, match="holds the truth .*choose another --output"):
        trajectory_files.save(written, folder, truth=folder / truth)
    assert _files(folder) == {"b.txt"}
