"""Odometry metrics against slow loops, an independent library and published tables."""

import itertools
import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mdm_jax.evaluation import (
    alignment,
    odometry,
    protocols,
    trajectory_files,
    trajectory_matching,
)
from mdm_jax.evaluation.measures import odometry_metrics

PROTOCOL = protocols.get("kitti_odometry")
# Names of the published evaluator.
ALIGNMENTS = {
    "none": "none",
    "scale": "scale",
    "6dof": "rigid",
    "7dof": "similarity",
    "scale_7dof": "similarity_scale",
}
RESULTS = {"example_0/09": "09", "example_0/10": "10", "orb_stereo/00": "00"}


def _drive(count=60, *, seed=0, step=9.0, noise=0.0):
    """Poses of a winding drive; with noise, another estimate of the same one."""
    rng = np.random.default_rng(seed)
    poses = [np.eye(4)]
    for i in range(count - 1):
        motion = np.eye(4)
        angles = np.array([0.01, 0.1 * np.sin(i / 7), 0.0])
        angles += noise * 0.02 * rng.normal(size=3)
        motion[:3, :3] = Rotation.from_rotvec(angles).as_matrix()
        motion[:3, 3] = (0, 0, step) + noise * rng.normal(size=3)
        poses.append(poses[-1] @ motion)
    return np.stack(poses)


def _slow_segments(true, predicted, frames, lengths, step):
    """As the devkit does it: one stretch after the other."""
    known = dict(zip(frames.tolist(), predicted, strict=True))
    way = [0.0]
    for a, b in itertools.pairwise(true):
        way.append(way[-1] + np.linalg.norm(b[:3, 3] - a[:3, 3]))
    found = []
    for first in range(0, len(true), step):
        for length in lengths:
            last = next(
                (i for i in range(first, len(true)) if way[i] > way[first] + length),
                None,
            )
            if last is None or first not in known or last not in known:
                continue
            motion = np.linalg.inv(known[first]) @ known[last]
            error = np.linalg.inv(motion) @ np.linalg.inv(true[first]) @ true[last]
            cosine = (np.trace(error[:3, :3]) - 1) / 2
            found.append(
                (
                    first,
                    length,
                    np.linalg.norm(error[:3, 3]) / length,
                    np.arccos(np.clip(cosine, -1, 1)) / length,
                )
            )
    return np.array(found)


@pytest.mark.parametrize("missing", [[], [0, 1], [3, 20, 21, 59]])
def test_errors_of_stretches_equal_a_slow_loop(missing):
    true, estimate = _drive(), _drive(seed=1, noise=0.3)
    frames = np.setdiff1d(np.arange(60), missing)
    options = {"lengths": (50, 100, 330), "step": 4}
    got = odometry_metrics.segment_errors(true, estimate[frames], frames, **options)
    want = _slow_segments(true, estimate[frames], frames, *options.values())
    np.testing.assert_array_equal(got.first, want[:, 0])
    np.testing.assert_array_equal(got.length, want[:, 1])
    np.testing.assert_allclose(got.translation, want[:, 2], rtol=1e-10)
    np.testing.assert_allclose(got.rotation, want[:, 3], rtol=1e-6)
    assert got.t_err_percent() == pytest.approx(100 * want[:, 2].mean())


def test_a_drive_shorter_than_any_stretch_has_no_error_rather_than_zero():
    true = _drive(5)
    got = odometry_metrics.segment_errors(true, true, np.arange(5))
    assert np.isnan(got.t_err_percent()) and np.isnan(got.r_err_deg_per_100m())


def _slow_snippet(true, predicted):
    """As SfM-Learner does it, for one snippet given in the frame of its first pose."""
    scale = np.sum(true * predicted) / np.sum(predicted**2)
    return np.sqrt(np.sum((predicted * scale - true) ** 2)) / len(true)


@pytest.mark.parametrize("length", [3, 5])
def test_snippet_errors_equal_a_slow_loop(length):
    true, estimate = _drive(12), _drive(12, seed=1, noise=0.4)
    estimate[:, :3, 3] *= 0.1
    frames = np.setdiff1d(np.arange(12), [6])
    got = odometry_metrics.snippet_errors(
        true[frames], estimate[frames], frames, length=length
    )
    want = [
        _slow_snippet(
            *(
                odometry_metrics.rebased(poses[i : i + length])[:, :3, 3]
                for poses in (true, estimate)
            )
        )
        for i in range(12 - length + 1)
        if not i <= 6 < i + length
    ]
    np.testing.assert_allclose(got.ate, want, rtol=1e-10)
    np.testing.assert_allclose(got.rmse, np.sqrt(length) * np.array(want))


def test_a_snippet_that_stands_still_has_the_true_way_as_its_error():
    true = _drive(5, step=1.0)
    still = np.tile(np.eye(4), (5, 1, 1))
    got = odometry_metrics.snippet_errors(true, still, np.arange(5))
    way = np.sum(true[:, :3, 3] ** 2)
    assert got.counts()["num_still_snippets"] == 1
    np.testing.assert_allclose(got.ate, [np.sqrt(way) / 5])


def test_snippets_whose_scale_hides_an_error_are_counted():
    true = _drive(6, step=1.0)
    backward = np.linalg.inv(true)
    counts = odometry_metrics.snippet_errors(true, backward, np.arange(6)).counts()
    assert counts["num_snippets"] == counts["num_backward_snippets"] == 2
    standing = np.tile(np.eye(4), (6, 1, 1))
    got = odometry_metrics.snippet_errors(standing, true, np.arange(6))
    assert got.counts()["num_standing_snippets"] == 2
    np.testing.assert_array_equal(got.ate, [0, 0])


def test_another_world_and_unit_do_not_change_aligned_errors():
    true, estimate = _drive(), _drive(seed=1, noise=0.3)
    frames = np.arange(60)
    other = alignment.Similarity(
        Rotation.from_rotvec([0.5, 0.1, -2]).as_matrix(), np.array([9.0, 0, 4]), 0.03
    ).apply(estimate)
    errors = [
        odometry.measure(
            PROTOCOL, trajectory_matching.Matched("a", true, one, frames)
        ).metrics
        for one in (estimate, other)
    ]
    for key in ("ate_rmse_m", "t_err_percent", "r_err_deg_per_100m", "rpe_m"):
        assert errors[0][key] == pytest.approx(errors[1][key], rel=1e-7), key
    assert errors[1]["scale"] == pytest.approx(errors[0]["scale"] / 0.03)


@pytest.mark.parametrize("kind", ["none", "rigid", "similarity"])
def test_absolute_and_relative_errors_are_those_of_evo(kind):
    metrics = pytest.importorskip("evo.core.metrics")
    trajectory = pytest.importorskip("evo.core.trajectory")
    true, estimate = _drive(40), _drive(40, seed=2, noise=0.5)
    estimate[:, :3, 3] *= 0.7
    pair = [trajectory.PosePath3D(poses_se3=list(p)) for p in (true, estimate)]
    if kind != "none":
        pair[1].align(pair[0], correct_scale=kind == "similarity")
    similarity = alignment.align(estimate[:, :3, 3], true[:, :3, 3], kind)
    aligned = similarity.apply(estimate)

    ape = metrics.APE(metrics.PoseRelation.translation_part)
    ape.process_data(tuple(pair))
    for name, value in odometry_metrics.absolute_error(true, aligned).items():
        assert value == pytest.approx(ape.get_all_statistics()[name], rel=1e-9), name

    steps = odometry_metrics.step_errors(true, aligned, np.arange(40))
    for relation, values in (
        (metrics.PoseRelation.translation_part, steps.translation),
        (metrics.PoseRelation.rotation_angle_rad, steps.rotation),
    ):
        rpe = metrics.RPE(relation)
        rpe.process_data(tuple(pair))
        np.testing.assert_allclose(values, rpe.error, rtol=1e-6, atol=1e-12)


@pytest.fixture(scope="module")
def reference(sample_data):
    """Folder, figures, and what is measured of each published trajectory."""
    folder = sample_data / "kitti_odometry"
    expected = json.loads((folder / "expected_metrics.json").read_text())
    measured = {}
    for result, sequence in RESULTS.items():
        matched = trajectory_matching.match(
            sequence,
            trajectory_files.read_trajectory(folder / "poses" / f"{sequence}.txt"),
            trajectory_files.read_trajectory(folder / "results" / f"{result}.txt"),
        )
        measured[result] = (matched, odometry.measure(PROTOCOL, matched))
    return folder, expected, measured


@pytest.mark.parametrize("result", RESULTS)
@pytest.mark.parametrize("published", ALIGNMENTS)
def test_every_figure_of_the_published_evaluator_is_reproduced(
    reference, result, published
):
    _, expected, measured = reference
    want = expected["recomputed"][result]["kitti_odom_eval"][published]
    metrics = measured[result][1].metrics
    for key, value in want.items():
        got = metrics[f"alignment_{ALIGNMENTS[published]}/{key}"]
        assert round(got, 6) == value, key


@pytest.mark.parametrize("sequence", ["09", "10"])
def test_published_tables_are_reproduced_to_ten_digits(reference, sequence):
    _, expected, measured = reference
    want = expected["published"]["example_0, alignment 7dof"][sequence]
    metrics = measured[f"example_0/{sequence}"][1].metrics
    for key, value in want.items():
        assert metrics[key] == pytest.approx(value, rel=1e-9), key


def test_published_absolute_errors_of_evo_are_reproduced(reference):
    _, expected, measured = reference
    want = expected["published"]["orb_stereo seq 00, SE(3) alignment, APE translation"]
    matched, _ = measured["orb_stereo/00"]
    similarity = alignment.align(
        matched.predicted[:, :3, 3], matched.true[:, :3, 3], "rigid"
    )
    got = odometry_metrics.absolute_error(
        matched.true, similarity.apply(matched.predicted)
    )
    for key, value in got.items():
        assert value == pytest.approx(want[key], rel=1e-9), key


@pytest.mark.parametrize("result", RESULTS)
@pytest.mark.parametrize("length", [3, 5])
def test_snippet_errors_of_whole_drives_are_reproduced(reference, result, length):
    _, expected, measured = reference
    name = {3: "three", 5: "five"}[length]
    want = expected["recomputed"][result][f"{name}_frame_ate_sfmlearner"]
    matched, _ = measured[result]
    got = odometry_metrics.snippet_errors(
        matched.true[matched.frames], matched.predicted, matched.frames, length=length
    )
    assert got.ate.size == want["snippets"]
    assert round(float(np.mean(got.ate)), 6) == want["mean"]
    assert round(float(np.std(got.ate)), 6) == want["std"]


def test_stored_snippet_files_have_exactly_the_published_errors(reference):
    folder, expected, _ = reference
    want = expected["snippets_5frame"]
    protocol = protocols.get("kitti_odometry_snippets")
    measured, unpredicted = odometry.evaluate(
        protocol,
        folder / "snippets_5frame" / "orb_stereo" / "00",
        folder / "snippets_5frame" / "ground_truth" / "00",
    )
    assert not unpredicted
    got = {f"{one.name}.txt": round(float(one.snippets.ate[0]), 6) for one in measured}
    assert got == want["per_file"]
    flat = odometry.result(measured)
    assert flat["odometry/num_snippets"] == want["snippets"]
    assert round(flat["odometry/snippet_ate_mean"], 6) == want["mean"]
    assert round(flat["odometry/snippet_ate_std"], 6) == want["std"]


def test_lengths_of_the_drives_are_as_published(sample_data):
    folder = sample_data / "kitti_odometry"
    expected = json.loads((folder / "expected_metrics.json").read_text())
    for sequence, want in expected["ground_truth_paths"].items():
        read = trajectory_files.read_trajectory(folder / "poses" / f"{sequence}.txt")
        length = odometry_metrics.path_lengths(read.poses)[-1]
        assert len(read.poses) == want["poses"]
        assert round(float(length), 3) == want["length_m"]
