"""Alignments find the map that made a trajectory, and no closer one exists."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mdm_jax.evaluation import alignment

ROTATION = Rotation.from_euler("xyz", [0.3, -1.1, 2.0]).as_matrix()


def _points(seed=0, count=7):
    return np.random.default_rng(seed).normal(size=(count, 3)) * (9, 2, 5)


def _mapped(points, similarity):
    moved = similarity.scale * points @ similarity.rotation.T
    return moved + similarity.translation


def _cost(points, true, similarity):
    return np.sum((_mapped(points, similarity) - true) ** 2)


@pytest.mark.parametrize("scale", [0.02, 1.0, 40.0])
def test_a_similarity_is_recovered(scale):
    made = alignment.Similarity(ROTATION, np.array([5.0, -7.0, 100.0]), scale)
    points = _points()
    found = alignment.umeyama(points, _mapped(points, made), with_scale=True)
    np.testing.assert_allclose(found.rotation, made.rotation, atol=1e-12)
    np.testing.assert_allclose(found.translation, made.translation, atol=1e-11)
    assert found.scale == pytest.approx(scale, rel=1e-12)


def test_a_mirrored_trajectory_is_turned_and_not_mirrored_back():
    points = _points()
    found = alignment.umeyama(points, points * (1, 1, -1), with_scale=True)
    assert np.linalg.det(found.rotation) == pytest.approx(1.0)
    assert found.scale < 1


@pytest.mark.parametrize("kind", ["none", "scale", "rigid", "similarity"])
def test_no_map_of_its_kind_is_closer(kind):
    points, true = _points(1), _points(2)
    best = alignment.align(points, true, kind)
    rng = np.random.default_rng(3)
    for _ in range(50):
        turn = Rotation.from_rotvec(0.05 * rng.normal(size=3)).as_matrix()
        other = alignment.Similarity(
            turn @ best.rotation if kind in ("rigid", "similarity") else best.rotation,
            best.translation
            + (0.1 * rng.normal(size=3) if kind in ("rigid", "similarity") else 0),
            best.scale
            * (1.0 if kind in ("none", "rigid") else np.exp(0.1 * rng.normal())),
        )
        assert _cost(points, true, other) >= _cost(points, true, best) - 1e-9


def test_the_rotation_is_that_of_scipy():
    points, true = _points(4), _points(5)
    found = alignment.umeyama(points, true, with_scale=False)
    want, _ = Rotation.align_vectors(true - true.mean(0), points - points.mean(0))
    np.testing.assert_allclose(found.rotation, want.as_matrix(), atol=1e-10)


@pytest.mark.parametrize("with_scale", [False, True])
def test_the_map_is_that_of_evo(with_scale):
    geometry = pytest.importorskip("evo.core.geometry")
    points, true = _points(6, 11), _points(7, 11)
    found = alignment.umeyama(points, true, with_scale=with_scale)
    rotation, translation, scale = geometry.umeyama_alignment(
        points.T, true.T, with_scale
    )
    np.testing.assert_allclose(found.rotation, rotation, atol=1e-10)
    np.testing.assert_allclose(found.translation, translation, atol=1e-10)
    assert found.scale == pytest.approx(scale, rel=1e-12)


def test_a_straight_way_is_aligned_too():
    points = np.linspace(0, 1, 6)[:, None] * (0.0, 0.0, 1.0)
    made = alignment.Similarity(ROTATION, np.ones(3), 3.0)
    true = _mapped(points, made)
    found = alignment.umeyama(points, true, with_scale=True)
    np.testing.assert_allclose(_mapped(points, found), true, atol=1e-12)


@pytest.mark.parametrize("kind", ["scale", "similarity", "similarity_scale"])
def test_a_prediction_that_never_moves_has_no_scale(kind):
    with pytest.raises(ValueError, match="never moves"):
        alignment.align(np.zeros((4, 3)), _points(count=4), kind)


def test_an_unknown_alignment_is_refused_by_name():
    with pytest.raises(ValueError, match="similarity.*'7dof'"):
        alignment.align(_points(), _points(), "7dof")


def test_poses_keep_their_relative_rotation():
    poses = np.tile(np.eye(4), (3, 1, 1))
    poses[:, :3, :3] = Rotation.random(3, random_state=0).as_matrix()
    poses[:, :3, 3] = _points(count=3)
    made = alignment.Similarity(ROTATION, np.ones(3), 2.0)
    moved = made.apply(poses)
    np.testing.assert_allclose(moved[:, :3, 3], _mapped(poses[:, :3, 3], made))
    before, after = (
        np.swapaxes(one[:-1, :3, :3], 1, 2) @ one[1:, :3, :3] for one in (poses, moved)
    )
    np.testing.assert_allclose(before, after, atol=1e-12)
