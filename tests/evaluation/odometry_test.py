"""Sequences are combined as documented, and what is left out is counted."""

import math

import numpy as np
import pytest

from mdm_jax.evaluation import (
    odometry,
    protocols,
    trajectory_files,
)
from mdm_jax.evaluation.report import caveats

PROTOCOL = protocols.get("kitti_odometry")
SNIPPETS = protocols.get("kitti_odometry_snippets")


def _way(count, *, bend=0.0, step=5.0):
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 2, 3] = step * np.arange(count)
    poses[:, 0, 3] = bend * np.arange(count) ** 2
    return poses


def _write(folder, name, poses, frames=None):
    folder.mkdir(exist_ok=True)
    trajectory_files.write_kitti(folder / f"{name}.txt", poses, frames=frames)


@pytest.fixture
def folders(tmp_path):
    """Two drives and a snippet, predicted, and a third drive that is not."""
    true, predicted = tmp_path / "true", tmp_path / "predicted"
    for name, count in (("01", 40), ("02", 31), ("03", 9), ("04", 5)):
        _write(true, name, _way(count))
    _write(predicted, "01", _way(40, bend=0.01))
    _write(predicted, "02", _way(31, bend=0.02)[2:], range(2, 31))
    _write(predicted, "04", _way(5))
    return predicted, true


def test_metrics_are_means_over_sequences_and_counts_are_sums(folders):
    measured, unpredicted = odometry.evaluate(PROTOCOL, *folders)
    flat = odometry.result(measured)
    one, two, three = (m.metrics for m in measured)
    assert unpredicted == ["03"]
    assert flat["odometry/ate_rmse_m"] == pytest.approx(
        (one["ate_rmse_m"] + two["ate_rmse_m"] + three["ate_rmse_m"]) / 3
    )
    assert flat["odometry/02/ate_rmse_m"] == two["ate_rmse_m"]
    assert flat["odometry/num_frames"] == 40 + 29 + 5
    assert flat["odometry/num_missing"] == 2
    assert flat["odometry/num_snippets"] == 36 + 25 + 1
    snippets = np.concatenate([m.snippets.ate for m in measured])
    assert flat["odometry/snippet_ate_std"] == pytest.approx(np.std(snippets))


def test_what_is_left_out_is_said(folders):
    measured, unpredicted = odometry.evaluate(PROTOCOL, *folders)
    rows = [sequence.row() for sequence in measured]
    warnings = caveats.of_odometry(PROTOCOL, rows, unpredicted)
    assert "not predicted: 03" in warnings
    assert any("02: 2 of 31 frames are not predicted" in w for w in warnings)


def test_the_keys_of_one_sequence_are_the_flat_ones(folders):
    predicted, true = folders
    measured, _ = odometry.evaluate(PROTOCOL, predicted / "01.txt", true / "01.txt")
    flat = odometry.result(measured)
    for key in ("ate_rmse_m", "t_err_percent", "r_err_deg_per_100m"):
        assert math.isfinite(flat[f"odometry/{key}"])
    assert flat["odometry/snippet_ate_mean"] < flat["odometry/snippet_rmse_mean_m"]
    assert not any(key.startswith("odometry/01/") for key in flat)


def test_a_snippet_that_is_not_predicted_is_an_error_unless_allowed(folders):
    measured, unpredicted = odometry.evaluate(SNIPPETS, *folders)
    assert len(measured) == 3 and unpredicted == ["03"]
    (folders[0] / "04.txt").unlink()
    with pytest.raises(ValueError, match=r"04\.txt: this snippet has no prediction"):
        odometry.evaluate(SNIPPETS, *folders)
    measured, unpredicted = odometry.evaluate(SNIPPETS, *folders, allow_missing=True)
    assert len(measured) == 2 and unpredicted == ["03", "04"]


def test_too_short_a_drive_has_no_t_err_and_that_is_said(tmp_path):
    _write(tmp_path / "true", "a", _way(6))
    measured, _ = odometry.evaluate(PROTOCOL, tmp_path / "true", tmp_path / "true")
    flat = odometry.result(measured)
    assert math.isnan(flat["odometry/t_err_percent"])
    rows = [sequence.row() for sequence in measured]
    assert "too short" in caveats.of_odometry(PROTOCOL, rows, [])[0]


def test_a_drive_too_short_for_any_snippet_is_an_error(tmp_path):
    _write(tmp_path / "true", "a", _way(4))
    measured, _ = odometry.evaluate(SNIPPETS, tmp_path / "true", tmp_path / "true")
    with pytest.raises(ValueError, match="no snippet"):
        odometry.result(measured)


def test_a_prediction_that_never_moves_names_its_sequence(tmp_path):
    _write(tmp_path / "true", "07", _way(6))
    _write(tmp_path / "still", "07", _way(6, step=0.0))
    with pytest.raises(ValueError, match="sequence 07: .* never moves"):
        odometry.evaluate(PROTOCOL, tmp_path / "still", tmp_path / "true")


def test_errors_by_length_are_means_of_their_stretches(folders):
    measured, _ = odometry.evaluate(PROTOCOL, *folders)
    rows = odometry.by_length(measured)
    assert [row["length_m"] for row in rows] == [100]
    values = np.concatenate([m.segments.translation for m in measured])
    assert values.size > 1
    assert rows[0]["t_err_percent"] == pytest.approx(100 * values.mean())
    assert rows[0]["num_segments"] == values.size
