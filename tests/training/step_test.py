"""The training step: the same on any number of devices, and safe when it fails."""

import functools
import types

import flax.linen as nn
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mdm_jax import methods, numerics
from mdm_jax.geometry import pose as pose_lib
from mdm_jax.losses import (
    consistency,
    depth_priors,
    instance_consistency,
    motion_regularizers,
    object_priors,
    photometric,
    smoothness,
    two_view,
)
from mdm_jax.methods import base
from mdm_jax.methods.base import Method
from mdm_jax.networks import resnet
from mdm_jax.structs import Prediction, batch_from_arrays
from mdm_jax.training import sharding
from mdm_jax.training import state as state_lib
from mdm_jax.training import step as step_lib


def _arrays(batch=8, height=32, width=40):
    rng = np.random.default_rng(1)
    blocks = rng.uniform(0, 255, (batch, 2, height // 8, width // 8, 3))
    frames = blocks.repeat(8, axis=2).repeat(8, axis=3).astype(np.uint8)
    intrinsics = np.array([[30.0, 0, 20], [0, 31.0, 16], [0, 0, 1]], np.float32)
    return {"frames": frames, "intrinsics": np.stack([intrinsics] * batch)}


def _make(config, **options):
    method = methods.create(config)
    # Plain gradient descent: Adam's first step would hide the size of the gradient.
    optimizer = optax.sgd(1e-2)
    step = step_lib.make_train_step(
        method, optimizer, loss_weights=config.loss_weights, seed=3, **options
    )
    create = jax.jit(
        lambda arrays: state_lib.create(method, optimizer, batch_from_arrays(arrays), 0)
    )
    empty = step_lib.empty_metrics(step_lib.metric_names(config.loss_weights))
    return create, step, empty


def _assert_close(a, b, rtol):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol)


def _on_one_and_on_eight_devices(config, arrays):
    """Returns the first state, and what a step on one and one on eight makes of it."""
    assert jax.device_count() == 8
    create, step, empty = _make(config)
    first, results = create(arrays), []
    for devices in (jax.devices()[:1], jax.devices()):
        mesh = sharding.make_mesh(devices)
        layout = sharding.replicated(mesh)
        run = jax.jit(
            step,
            in_shardings=(layout, layout, sharding.by_clip(mesh)),
            out_shardings=(layout, layout),
        )
        inputs = jax.device_put((first, empty), layout)
        results.append(run(*inputs, sharding.to_devices(mesh, arrays)))
    return first, *results


def test_eight_devices_equal_one(tiny_config):
    _, one, eight = _on_one_and_on_eight_devices(tiny_config, _arrays())
    _assert_close(one[0].params, eight[0].params, rtol=2e-4)
    _assert_close(one[1].means, eight[1].means, rtol=2e-3)


class _Normed(nn.Module):
    """Takes a residual block of the encoder with batch norms for a depth net."""

    @nn.compact
    def __call__(self, batch, *, step, train):
        del step
        block = resnet.BasicBlock(5, stride=2, norm="batch")
        depth = jnp.mean(block(batch.frames[:, 0], train=train), axis=-1)
        return Prediction(depth=depth[:, None], intrinsics=batch.intrinsics)


def _normed_method(config):
    model = _Normed()

    def init(rng, batch):
        return model.init(rng, batch, step=None, train=False)

    def loss_terms(prediction, batch, step):
        del step
        terms = dict.fromkeys(config.loss_weights, jnp.zeros(()))
        bright = jnp.mean(batch.frames[:, 0, ::2, ::2], axis=-1)
        return terms | {"rgb": jnp.mean((prediction.depth[:, 0] - bright) ** 2)}

    return Method(init, functools.partial(base.apply, model), loss_terms)


def test_batch_norm_measures_the_whole_batch_on_all_devices(tiny_config, monkeypatch):
    monkeypatch.setitem(
        methods.METHODS,
        "normed",
        types.SimpleNamespace(
            create=_normed_method, config_group=None, LOSS_WEIGHTS={}
        ),
    )
    tiny_config.method = "normed"
    # Clips so different that what a device sees of them is no measure of all.
    arrays = _arrays()
    arrays["frames"] //= np.arange(1, 9, dtype=np.uint8)[:, None, None, None, None]
    first, one, eight = _on_one_and_on_eight_devices(tiny_config, arrays)
    for before, a, b in zip(
        *(
            jax.tree.leaves((s.params, s.model_state))
            for s in (first, one[0], eight[0])
        ),
        strict=True,
    ):
        moved = np.abs(a - before).max()
        assert moved > 0
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-4 * moved)
    _assert_close(one[1].means, eight[1].means, rtol=1e-5)


def test_accumulated_parts_equal_the_whole_batch(tiny_config):
    # Per-clip scale and no batch statistics: the mean of parts is the whole.
    arrays = _arrays(batch=4)
    states = []
    for parts in (1, 2):
        create, step, empty = _make(tiny_config, accumulate_steps=parts)
        states.append(jax.jit(step)(create(arrays), empty, arrays)[0])
    _assert_close(states[0].params, states[1].params, rtol=2e-4)


def _terms():
    """Returns terms by name, as functions of n images, of which the second differs."""
    rng = np.random.default_rng(0)

    def draw(*shape, low=0.5):
        return jnp.asarray(rng.uniform(low, 1, shape), jnp.float32)

    depth, other, image = draw(2, 4, 6), draw(2, 4, 6), draw(2, 4, 6, 3)
    known = jnp.arange(48).reshape(2, 4, 6) < 30
    valid, whole = jnp.array([[True] * 3, [True, False, False]]), jnp.ones((2, 3), bool)
    step, turn = draw(2, 3, 3), pose_lib.from_euler(draw(2, 3, 3), draw(2, 3, 3))
    size, scene = draw(2, 3), draw(2)
    ego = pose_lib.from_euler(draw(2, 3), draw(2, 3))
    front = pose_lib.from_euler(draw(2, 3), draw(2, 3))
    # The front end knows the rotation of the first pair only.
    front_rotation = front.rotation.at[1].set(0.0)
    over_batch = {
        "log_scale_pin": lambda i: depth_priors.log_scale_pin(depth[i], 0.0),
        "depth_supervision": lambda i: depth_priors.sparse_depth_l1(
            depth[i], jnp.where(known, other, 0.0)[i]
        ),
        "triangulation": lambda i: two_view.triangulation(
            # A mean over pairs with trusted pixels, which the second one has not.
            depth[i],
            other[i],
            jnp.stack([other[0], 0 * other[1]])[i],
        ),
        "egomotion_prior": lambda i: two_view.egomotion_prior(
            ego.rotation[i],
            ego.translation[i],
            front_rotation[i],
            front.translation[i],
            scene[i],
        ),
        "static_motion": lambda i: numerics.masked_mean(depth[i], known[i]),
        "translation_prior": lambda i: object_priors.translation_prior(
            step[i], 0 * step[i], scene[i], valid[i]
        ),
        "height_prior": lambda i: object_priors.height_prior(
            size[i], 3 * size[i], scene[i], scene[0], scene[i], valid[i], whole[i]
        ),
        "object_cycle": lambda i: object_priors.motion_cycle(
            turn.rotation[i], step[i], turn.rotation[i], step[i], valid[i]
        ),
    }
    over_clips = {
        "photometric": lambda i: instance_consistency.photometric(
            image[i], 0.5 * image[i], jnp.where(known, 1.0, 0.0)[i], ssim_share=0.5
        ),
        "geometric": lambda i: instance_consistency.weighted_mean(
            depth[i], jnp.where(known, 1.0, 0.0)[i]
        ),
        "rgb": lambda i: photometric.masked_l1(image[i], 0.5 * image[i], known[i]),
        "smoothness": lambda i: smoothness.edge_aware_disparity(depth[i], image[i]),
        "rotation_cycle": lambda i: consistency.rotation_cycle(
            ego.rotation[i], front.rotation[i]
        ),
        "motion_sparsity": lambda i: motion_regularizers.sparsity(image[i]),
    }
    return over_batch, over_clips


def test_accumulation_changes_the_terms_that_its_documentation_names():
    documentation = step_lib.make_train_step.__doc__ or ""
    over_batch, over_clips = _terms()
    for name, term in {**over_batch, **over_clips}.items():
        whole = term(slice(0, 2))
        parts = np.mean([term(slice(0, 1)), term(slice(1, 2))])
        differs = abs(parts - whole) > 1e-3 * abs(whole)
        assert differs == (name in over_batch), (name, whole, parts)
        assert differs == (f"`{name}`" in documentation), name


def test_a_step_that_is_not_finite_is_named_and_undone(tiny_config):
    create, step, empty = _make(tiny_config)
    run = jax.jit(step)
    good = _arrays(batch=2)
    state, metrics = run(create(good), empty, good)
    bad = dict(good, intrinsics=np.full_like(good["intrinsics"], np.nan))
    after, metrics = run(state, metrics, bad)
    assert int(metrics.failed_step) == 1
    _assert_close(after.params, state.params, rtol=0)
    assert int(after.step) == 1
    # And it stays so, for the host looks only with the next log line.
    later, metrics = run(after, metrics, good)
    assert int(metrics.failed_step) == 1
    _assert_close(later.params, state.params, rtol=0)


def test_metrics_are_means_since_the_last_reset(tiny_config):
    create, step, empty = _make(tiny_config)
    run = jax.jit(step)
    arrays = _arrays(batch=2)
    state, first = run(create(arrays), empty, arrays)
    _, second = run(state, empty, arrays)
    _, both = run(state, first, arrays)
    a, b, mean = (step_lib.compute(m)["loss/total"] for m in (first, second, both))
    assert mean == pytest.approx((a + b) / 2, rel=1e-5)


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_the_step_lowers_for_every_platform(platform, tiny_config):
    create, step, empty = _make(tiny_config)
    arrays = _arrays(batch=2)
    state = jax.eval_shape(create, arrays)
    exported = jax.export.export(jax.jit(step), platforms=[platform])(
        state, empty, arrays
    )
    assert exported.platforms == (platform,)
    assert len(exported.mlir_module_serialized) > 10_000


def test_random_keys_depend_on_seed_stream_and_step():
    keys = [
        state_lib.random_key(seed, stream, step)
        for seed in (0, 1)
        for stream in (0, 1)
        for step in (0, 1)
    ]
    data = np.array([jax.random.key_data(key) for key in keys])
    assert len(np.unique(data, axis=0)) == len(keys)


def test_batch_size_must_fit_devices_and_accumulation():
    mesh = sharding.make_mesh()
    sharding.check_batch_size(mesh, 16, 2)
    with pytest.raises(ValueError, match="batch_size=12 must be a multiple of 8"):
        sharding.check_batch_size(mesh, 12, 1)


def test_the_step_compiles_once_for_all_batches(tiny_config):
    create, step, empty = _make(tiny_config)
    run = jax.jit(step)
    arrays = _arrays(batch=2)
    state, metrics = create(arrays), empty
    for _ in range(3):
        state, metrics = run(state, metrics, arrays)
    assert run._cache_size() == 1
    assert jnp.isfinite(metrics.means["loss/total"].compute())


def test_variation_of_depth_tells_a_street_from_a_wall():
    street = jnp.broadcast_to(jnp.linspace(1.0, 3.0, 6)[:, None], (2, 3, 6, 8))
    wall = jnp.full((2, 3, 6, 8), 5.0)
    expected = np.std(np.linspace(1, 3, 6)) / 2
    for depth, value in ((street, expected), (7.0 * street, expected), (wall, 0.0)):
        np.testing.assert_allclose(step_lib.depth_variation(depth), value, atol=1e-6)
