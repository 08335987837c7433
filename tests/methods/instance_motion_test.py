"""Method B: poses compose as derived, every option trains, instances never recompile."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mdm_jax import config as config_lib
from mdm_jax import methods, presets
from mdm_jax.methods import depth_nets, instance_motion
from mdm_jax.structs import batch_from_arrays
from mdm_jax.train import sharding
from mdm_jax.train import state as state_lib
from mdm_jax.train import step as step_lib

HEIGHT, WIDTH = 32, 64
# Compiling is what takes time here.
_FAST = {"xla_backend_optimization_level": 0}


class _SmallDepth(nn.Module):
    """A depth net that compiles in a moment."""

    @nn.compact
    def __call__(self, image, *, noise_stddev=0.0, train=False):
        del noise_stddev, train
        x = nn.Conv(4, (3, 3), strides=(4, 4))(image)
        x = jax.image.resize(nn.relu(x), (*image.shape[:3], 4), "linear")
        return 4.0 + nn.softplus(nn.Conv(1, (1, 1))(x)[..., 0])


@pytest.fixture
def config(tiny_config, monkeypatch):
    """Config of method B with small nets and a small depth net."""
    config = presets.use_instance_motion(tiny_config)
    config.networks.motion_width_multiplier = 0.125
    config.instance_motion.max_instances = 3
    config.instance_motion.min_instance_pixels = 4
    monkeypatch.setattr(depth_nets, "create", lambda networks: _SmallDepth())
    return config


def _arrays(batch=2, num_instances=2, seed=0, height=HEIGHT, width=WIDTH):
    rng = np.random.default_rng(seed)
    blocks = rng.uniform(0, 255, (batch, 3, height // 4, width // 4, 3))
    frames = blocks.repeat(4, axis=2).repeat(4, axis=3)
    frames = 0.8 * frames + 0.2 * rng.uniform(0, 255, frames.shape)
    labels = np.zeros((batch, 3, height, width), np.uint8)
    for i in range(num_instances):
        for t in range(3):
            x = 2 + (9 * i + t) % (width - 12)
            labels[:, t, 8 + i : 20 + i, x : x + 7] = 10 + 7 * i
    intrinsics = np.array(
        [[50.0, 0, width / 2], [0, 52.0, height / 2], [0, 0, 1]], np.float32
    )
    return {
        "frames": frames.astype(np.uint8),
        "intrinsics": np.stack([intrinsics] * batch),
        "instance_labels": labels,
    }


def _make(config, optimizer=None):
    method = methods.create(config)
    # Plain gradient descent: Adam's first step would hide the size of the gradient.
    optimizer = optimizer or optax.sgd(1e-2)
    step = step_lib.make_train_step(
        method, optimizer, loss_weights=config.loss_weights, seed=0
    )
    create = jax.jit(
        lambda arrays: state_lib.create(
            method, optimizer, batch_from_arrays(arrays), 0
        ),
        compiler_options=_FAST,
    )
    empty = step_lib.empty_metrics(step_lib.metric_names(config.loss_weights))
    return create, step, empty


def _largest(tree):
    return max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(tree))


def _moved(before, after):
    return {
        name: _largest(jax.tree.map(jnp.subtract, before[name], after[name]))
        for name in before
    }


OPTIONS = {
    # The rows of the ablation table of Lee et al. 2019 are made of these three.
    "baseline": {"networks.object_pose": "none", "loss_weights.geometric": 0.0},
    "inverse_projection": {"instance_motion.projection": "inverse"},
    "full": {},
    # What else there is to choose.
    "resnet_pose_nets_translations_only": {
        "networks.ego_pose": "resnet",
        "networks.object_pose": "resnet",
        "instance_motion.translation_only": True,
    },
    "correlation_ego_net_sampled_in_the_source": {
        "networks.ego_pose": "correlation",
        "networks.motion_width_multiplier": 0.125,
        "instance_motion.object_view": "source",
    },
    "soft_splat_cycle_loss": {
        "instance_motion.splat_mode": "soft",
        "instance_motion.cyclic_average": False,
        "loss_weights.object_cycle": 0.1,
    },
    "about_the_object_anchored_squared_smoothness_no_masks": {
        "instance_motion.rotation_center": "object",
        "instance_motion.anchor_translation": True,
        "instance_motion.smoothness": "squared_depth",
        "instance_motion.weighted_mask": False,
        "instance_motion.auto_mask": False,
        "loss_weights.log_scale_pin": 0.1,
    },
}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_takes_a_finite_training_step(name, config):
    config.update_from_flattened_dict(OPTIONS[name])
    create, step, empty = _make(config)
    arrays = _arrays()
    before = create(arrays)
    after, metrics = jax.jit(step, compiler_options=_FAST)(before, empty, arrays)
    means = step_lib.compute(metrics)
    assert int(metrics.failed_step) == -1
    assert all(np.isfinite(value) for value in means.values()), means
    moved = _moved(before.params, after.params)
    expected = {"depth_net", "ego_net"}
    if config.networks.object_pose != "none":
        expected |= {"object_net", "object_height"}
    assert set(moved) == expected
    assert all(moved.values()), moved


def test_the_number_of_instances_never_recompiles_and_none_is_no_harm(config):
    config.instance_motion.instance_budget = 2
    create, step, empty = _make(config)
    run = jax.jit(step, compiler_options=_FAST)
    state, metrics = create(_arrays()), empty
    for count in (0, 1, 5, 0):
        before = state.params
        state, metrics = run(state, empty, _arrays(num_instances=count))
        assert int(metrics.failed_step) == -1
        assert np.isfinite(step_lib.compute(metrics)["loss/total"])
        moved = _moved(before, state.params)
        assert moved["ego_net"] > 0
        assert (moved["object_net"] > 0) == (count > 0)
    assert run._cache_size() == 1


def test_renaming_instances_changes_nothing_and_what_finds_no_slot_is_counted(config):
    method = methods.create(config)

    @jax.jit
    def run(variables, arrays):
        batch = batch_from_arrays(arrays)
        prediction, _ = method.predict(variables, batch)
        terms = method.loss_terms(prediction, batch, jnp.zeros(()))
        objects = prediction.pairs.objects
        counts = instance_motion.instance_counts(prediction)
        return terms, objects.num_candidates, objects.num_dropped, counts

    arrays = _arrays(num_instances=4)
    variables = jax.jit(
        lambda arrays: method.init(jax.random.key(0), batch_from_arrays(arrays))
    )(arrays)
    # Sizes differ, so that the order by size is the same whatever the names are.
    labels = arrays["instance_labels"]
    for i, rows in enumerate((8, 9, 10, 11)):
        labels[:, :, rows : rows + i][labels[:, :, rows : rows + i] == 10 + 7 * i] = 0
    permutation = np.random.default_rng(0).permutation(255) + 1
    table = np.concatenate([[0], permutation]).astype(np.uint8)
    renamed = arrays | {"instance_labels": table[labels]}
    terms, candidates, dropped, counts = run(variables, arrays)
    other = run(variables, renamed)
    for name, value in terms.items():
        np.testing.assert_allclose(value, other[0][name], rtol=1e-6, err_msg=name)
    # Three slots for four instances, in each of two adjacent pairs.
    np.testing.assert_array_equal(candidates, [8, 8])
    np.testing.assert_array_equal(dropped, [2, 2])
    assert counts == {"instances/found": 8, "instances/dropped": 2}


def test_eight_devices_equal_one(config):
    assert jax.device_count() == 8
    # Far from where rounding decides what a warp explains.
    config.networks.initial_motion_scale = 1.0
    create, step, empty = _make(config)
    arrays = _arrays(batch=8)
    # A different number of instances in every clip.
    for clip in range(8):
        labels = arrays["instance_labels"][clip]
        labels[labels > 10 * (clip % 3)] = 0
    results = []
    for devices in (jax.devices()[:1], jax.devices()):
        mesh = sharding.make_mesh(devices)
        layout = sharding.replicated(mesh)
        state = jax.device_put(create(arrays), layout)
        run = jax.jit(
            step,
            in_shardings=(layout, layout, sharding.by_clip(mesh)),
            out_shardings=(layout, layout),
        )
        inputs = state, jax.device_put(empty, layout), sharding.to_devices(mesh, arrays)
        compiled = run.lower(*inputs).compile(compiler_options=_FAST)
        # Nothing but sums crosses devices: no image does.
        for moves in ("all-gather", "all-to-all", "collective-permute"):
            assert moves not in compiled.as_text()
        state, metrics = compiled(*inputs)
        results.append((state.params, metrics.means))
    for a, b in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4)


def test_without_masks_it_predicts_but_does_not_train(config):
    method = methods.create(config)
    arrays = _arrays()
    unmasked = {key: arrays[key] for key in ("frames", "intrinsics")}

    @jax.jit
    def predict(arrays, unmasked):
        variables = method.init(jax.random.key(0), batch_from_arrays(arrays))
        prediction, _ = method.predict(variables, batch_from_arrays(unmasked))
        single = {
            "frames": unmasked["frames"][:, :1],
            "intrinsics": arrays["intrinsics"],
        }
        single, _ = method.predict(variables, batch_from_arrays(single))
        return variables, prediction, single

    variables, prediction, single = predict(arrays, unmasked)
    assert prediction.pairs.objects is None
    assert not prediction.pairs.residual_translation.any()
    assert prediction.pairs.target_index == (0, 1, 1, 2)
    assert single.pairs is None
    np.testing.assert_allclose(single.depth[:, 0], prediction.depth[:, 0], rtol=1e-5)
    with pytest.raises(ValueError, match="no instance_labels.*object_pose=none"):
        method.predict(
            variables,
            batch_from_arrays(unmasked),
            train=True,
            step=jnp.zeros(()),
            rngs={"noise": jax.random.key(0)},
        )


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("networks.ego_pose", "none", "networks.ego_pose expects.*correlation.*'none'"),
        ("networks.depth_decoder", "disp", "depth_decoder expects.*disparity.*'disp'"),
        ("networks.encoder_depth", 101, "encoder_depth expects 18, 34 or 50, got 101"),
        ("instance_motion.projection", "back", "projection expects.*inverse.*'back'"),
        ("instance_motion.max_instances", 0, "max_instances expects 1 to 255.*got 0"),
        ("instance_motion.clips_per_pack", 0, "clips_per_pack >= 1.*got 0"),
        ("motion_field.intrinsics", "video", "needs intrinsics.*dataset.intrinsics"),
    ],
)
def test_options_that_do_not_exist_are_named(config, field, value, message):
    config.update_from_flattened_dict({field: value})
    with pytest.raises(ValueError, match=message):
        methods.create(config)


def test_norm_noise_ramps_up_quadratically():
    options = config_lib.base_config().instance_motion
    options.norm_noise, options.norm_noise_ramp_steps = 0.5, 100
    assert instance_motion._norm_noise(options, jnp.array(50)) == pytest.approx(0.125)
    assert instance_motion._norm_noise(options, None) == 0.0
