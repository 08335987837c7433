"""Tests of the terms that methods take from two-view geometry."""

import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from mdm_jax import config as config_lib
from mdm_jax import presets
from mdm_jax.methods import frame_pairs, geometry_terms
from mdm_jax.structs import Batch, Motion, Pairs, Pose, Prediction

B, T, H, W = 2, 3, 5, 7
INDICES = frame_pairs.of_clip(T)
N = len(INDICES.target)
ALWAYS = ml_collections.FrozenConfigDict({"floor": 0.3, "decay_steps": 0})


def _truth(scale=1.0, residual=0.0):
    """Returns a prediction and the batch whose two-view geometry it agrees with."""
    rng = np.random.default_rng(0)
    depth = rng.uniform(2, 9, (B, T, H, W)).astype(np.float32)
    direction = rng.normal(size=(B, N, 3)).astype(np.float32)
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    rotation = np.broadcast_to(np.eye(3, dtype=np.float32), (B, N, 3, 3))
    baseline = 0.5
    target = depth[:, list(INDICES.target)]
    weight = rng.uniform(0, 1, target.shape).astype(np.float32)
    batch = Batch(
        frames=jnp.zeros((B, T, H, W, 3)),
        intrinsics=jnp.zeros((B, 3, 3)),
        pair_inverse_depth=jnp.asarray(baseline / target),
        pair_weight=jnp.asarray(np.where(weight > 0.5, weight, 0)),
        pair_rotation=jnp.asarray(rotation),
        pair_direction=jnp.asarray(direction),
    )
    translation = jnp.asarray(scale * baseline * direction)
    field = jnp.full((B, N, H, W, 3), residual)
    pairs = Pairs(
        egomotion=Pose(jnp.asarray(rotation), translation),
        motion=Motion(
            jnp.asarray(rotation)[:, :, None, None],
            field + translation[:, :, None, None],
        ),
        residual_translation=field,
        target_index=INDICES.target,
        source_index=INDICES.source,
    )
    return Prediction(jnp.asarray(scale * depth), batch.intrinsics, pairs), batch


def _terms(prediction, batch, step=0, options=ALWAYS):
    return geometry_terms.terms(prediction, batch, jnp.asarray(step), options=options)


@pytest.mark.parametrize("scale", [1.0, 7.0])
def test_terms_vanish_at_the_truth_of_any_scale(scale):
    for name, value in _terms(*_truth(scale)).items():
        assert value == pytest.approx(0, abs=1e-5), name


def test_wrong_depth_pose_and_residual_are_each_seen():
    prediction, batch = _truth()
    flat = prediction.replace(depth=jnp.ones_like(prediction.depth))
    assert _terms(flat, batch)["triangulation"] > 0.1
    pairs = prediction.require_pairs()
    back = Pose(pairs.egomotion.rotation, -pairs.egomotion.translation)
    reverse = prediction.replace(pairs=pairs.replace(egomotion=back))
    assert _terms(reverse, batch)["egomotion_prior"] == pytest.approx(2, rel=1e-4)
    moving, _ = _truth(residual=0.1)
    # sqrt(3) 0.1, in baselines.
    assert _terms(moving, batch)["static_motion"] == pytest.approx(0.3464, rel=1e-3)


def test_without_geometry_the_terms_are_zero():
    prediction, batch = _truth()
    bare = Batch(batch.frames, batch.intrinsics)
    assert _terms(prediction, bare) == dict.fromkeys(geometry_terms.LOSS_WEIGHTS, 0)


def test_terms_fall_to_their_floor():
    options = ml_collections.FrozenConfigDict({"floor": 0.3, "decay_steps": 100})
    flat, batch = _truth()
    flat = flat.replace(depth=jnp.ones_like(flat.depth))
    values = [
        float(_terms(flat, batch, step, options)["triangulation"])
        for step in (0, 50, 100, 1000)
    ]
    np.testing.assert_allclose(values, values[0] * np.array([1, 0.65, 0.3, 0.3]), 1e-5)


@pytest.mark.parametrize("method", ["motion_field", "instance_motion"])
def test_the_short_schedule_uses_geometry_and_the_papers_do_not(method):
    config = config_lib.base_config()
    if method == "instance_motion":
        presets.use_instance_motion(config)
    assert not any(config.loss_weights[name] for name in geometry_terms.LOSS_WEIGHTS)
    config = config_lib.base_config()
    presets.use_short_schedule(config)
    if method == "instance_motion":
        presets.use_instance_motion(config)
    assert all(config.loss_weights[name] for name in geometry_terms.LOSS_WEIGHTS)
