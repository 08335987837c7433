"""Method B: poses compose as derived, every option trains, instances never recompile."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm_jax import methods, presets
from mdm_jax.geometry import motion as motion_lib
from mdm_jax.geometry import pose as pose_lib
from mdm_jax.methods import instance_motion
from mdm_jax.structs import Batch, Pairs, Prediction, batch_from_arrays
from mdm_jax.training import sharding

HEIGHT, WIDTH = 32, 48
CLIPS = 8
# Two places for three slots, so that there is something to leave out.
SLOTS, BUDGET = 3, 2
_FAST = {"xla_backend_optimization_level": 0}


@pytest.fixture(scope="module")
def make(make_objective, narrow_config):
    """Returns a function that gives the objective with options changed."""

    def objective(**options):
        config = presets.use_instance_motion(narrow_config())
        config.instance_motion.max_instances = SLOTS
        config.instance_motion.min_instance_pixels = 4
        config.instance_motion.instance_budget = BUDGET
        config.update_from_flattened_dict(options)
        return make_objective(config, _arrays())

    return objective


@pytest.fixture(scope="module")
def default(make):
    """The method as it is by default, compiled once."""
    return make()


def _arrays(batch=CLIPS, num_instances=2, seed=0, height=HEIGHT, width=WIDTH):
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


def test_the_geometric_loss_leaves_out_what_the_auto_mask_does(narrow_config):
    # A camera at rest sees a textured left half, whose brightness it explains by
    # moving, and a plain right half that no motion explains, with unequal depths.
    rng = np.random.default_rng(0)
    wide = rng.uniform(0.2, 0.8, (HEIGHT, WIDTH + 2, 3)).astype(np.float32)
    frames = np.stack([wide[:, :-2], wide[:, 2:]])
    frames[:, :, WIDTH // 2 :] = 0.5
    depth = np.full((1, 2, HEIGHT, WIDTH), 5.0, np.float32)
    depth[:, 1, :, WIDTH // 2 :] = 10.0
    # Pixels move by two to the left: f t / D.
    step = jnp.asarray([[[-0.2, 0, 0], [0.2, 0, 0]]], jnp.float32)
    egomotion = pose_lib.from_euler(jnp.zeros((1, 2, 3)), step)
    matrix = np.array([[50.0, 0, WIDTH / 2], [0, 50, HEIGHT / 2], [0, 0, 1]])
    matrix = jnp.asarray(matrix[None], jnp.float32)
    motion = motion_lib.ego_only(egomotion, (HEIGHT, WIDTH))
    zero = jnp.zeros_like(motion.translation)
    pairs = Pairs(egomotion, motion, zero, (0, 1), (1, 0))
    prediction = Prediction(jnp.asarray(depth), matrix, pairs)
    batch = Batch(frames=jnp.asarray(frames[None]), intrinsics=matrix)
    terms = {}
    for masked in (True, False):
        config = presets.use_instance_motion(narrow_config())
        config.instance_motion.auto_mask_geometric = masked
        terms[masked] = instance_motion.loss_terms(
            prediction, batch, jnp.zeros(()), config=config
        )
    # Plain pixels differ by (10 - 5) / (10 + 5).
    assert terms[True]["geometric"] < 0.05
    assert terms[False]["geometric"] > 0.1
    assert terms[True]["photometric"] == terms[False]["photometric"]


def test_published_weights_are_of_sums(narrow_config):
    # 4 directed pairs, 3 frames and 2 pairs of a clip of three frames.
    config = presets.use_published_weights(narrow_config())
    published = {"photometric": 2.0, "smoothness": 0.1, "height_prior": 0.02}
    counts = {"photometric": 4, "smoothness": 3, "height_prior": 2}
    ratios = {n: config.loss_weights[n] / (published[n] * counts[n]) for n in counts}
    np.testing.assert_allclose(list(ratios.values()), 0.25, rtol=1e-6)


# Every option but the defaults, in few models: compiling one takes seconds. What single
# options mean is tested with the functions that take them.
OPTIONS = {
    # The rows of the ablation table of Lee et al. 2019 are made of the first two, the
    # default, and the geometric term.
    "baseline": {"instance_motion.object_pose": "none", "loss_weights.geometric": 0.0},
    "inverse_projection_translations_cycle_loss_no_masks": {
        "instance_motion.projection": "inverse",
        "instance_motion.cyclic_average": False,
        "loss_weights.object_cycle": 0.1,
        "instance_motion.translation_only": True,
        "instance_motion.weighted_mask": False,
        "instance_motion.auto_mask": False,
        "loss_weights.log_scale_pin": 0.1,
    },
    "correlation_ego_net_soft_splat_objects_in_the_source_about_their_centre_zoomed": {
        "instance_motion.ego_pose": "correlation",
        "instance_motion.splat_mode": "soft",
        "instance_motion.object_view": "source",
        "instance_motion.rotation_center": "object",
        "instance_motion.object_zoom": 16,
        "instance_motion.smoothness": "squared_depth",
    },
}


def _check(objective, largest):
    gradients, terms, _ = objective.run(objective.params, _arrays())
    assert all(np.isfinite(value) for value in terms.values()), terms
    taught = largest(gradients)
    expected = {"depth_net", "ego_net"}
    if "object_net" in objective.params:
        expected |= {"object_net", "object_height"}
    assert set(taught) == expected
    assert all(np.isfinite(v) and v > 0 for v in taught.values()), taught
    return terms


def test_every_part_learns_from_the_default_objective(default, largest):
    terms = _check(default, largest)
    assert set(terms) == {
        "photometric",
        "geometric",
        "smoothness",
        "translation_prior",
        "height_prior",
    }


@pytest.mark.parametrize("name", OPTIONS)
def test_every_part_learns_with_every_option(name, make, largest):
    _check(make(**OPTIONS[name]), largest)


def test_resnet_pose_nets_find_the_same_kinds_of_motion(make):
    # Their own tests show that they learn.
    forms = {
        "instance_motion.ego_pose": "resnet",
        "instance_motion.object_pose": "resnet",
    }
    objective = make(**forms)
    shapes = jax.eval_shape(objective.step, objective.params, _arrays())
    gradients, _, _ = shapes
    assert "encoder" in gradients["ego_net"] and "encoder" in gradients["object_net"]


def test_the_number_of_instances_never_recompiles_and_none_is_no_harm(default, largest):
    default.run(default.params, _arrays())
    compiled = default.run._cache_size()
    for count in (0, 1, 5, 0):
        gradients, terms, _ = default.run(default.params, _arrays(num_instances=count))
        assert all(np.isfinite(value) for value in terms.values()), terms
        taught = largest(gradients)
        assert all(np.isfinite(value) for value in taught.values()), taught
        assert taught["ego_net"] > 0
        assert (taught["object_net"] > 0) == (count > 0)
    assert default.run._cache_size() == compiled == 1


def test_renaming_instances_changes_nothing_and_what_finds_no_slot_is_counted(default):
    arrays = _arrays(num_instances=4)
    # Sizes differ, so that the order by size is the same whatever the names are.
    labels = arrays["instance_labels"]
    for i, rows in enumerate((8, 9, 10, 11)):
        labels[:, :, rows : rows + i][labels[:, :, rows : rows + i] == 10 + 7 * i] = 0
    permutation = np.random.default_rng(0).permutation(255) + 1
    table = np.concatenate([[0], permutation]).astype(np.uint8)
    renamed = arrays | {"instance_labels": table[labels]}
    gradients, terms, counts = default.run(default.params, arrays)
    other_gradients, other_terms, _ = default.run(default.params, renamed)
    for name, value in terms.items():
        np.testing.assert_allclose(value, other_terms[name], rtol=1e-6, err_msg=name)
    for a, b in zip(*map(jax.tree.leaves, (gradients, other_gradients)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    # Two places for four instances, in each of two adjacent pairs.
    assert counts == {"instances/found": 8, "instances/dropped": 4}


def test_eight_devices_equal_one(default):
    assert jax.device_count() == CLIPS
    arrays = _arrays()
    # A different number of instances in every clip.
    for clip in range(CLIPS):
        labels = arrays["instance_labels"][clip]
        labels[labels > 10 * (clip % 3)] = 0
    # Motions far from where rounding decides what a warp explains.
    params = jax.tree.map(
        lambda leaf: jnp.ones(()) if leaf.ndim == 0 else leaf, default.params
    )
    mesh = sharding.make_mesh(jax.devices())
    layout = sharding.replicated(mesh)
    run = jax.jit(
        default.step,
        in_shardings=(layout, sharding.by_clip(mesh)),
        out_shardings=layout,
    )
    inputs = jax.device_put(params, layout), sharding.to_devices(mesh, arrays)
    compiled = run.lower(*inputs).compile(compiler_options=_FAST)
    # Nothing but sums crosses devices: no image does.
    for moves in ("all-gather", "all-to-all", "collective-permute"):
        assert moves not in compiled.as_text()
    together, alone = compiled(*inputs), default.run(params, arrays)
    for a, b in zip(*map(jax.tree.leaves, (together, alone)), strict=True):
        scale = float(jnp.abs(b).max())
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-3 * scale + 1e-6)


def test_without_masks_it_predicts_but_does_not_train(default):
    method, variables = default.method, {"params": default.params}
    arrays = _arrays(batch=1)
    unmasked = {key: arrays[key] for key in ("frames", "intrinsics")}
    single = {"frames": arrays["frames"][:, :1], "intrinsics": arrays["intrinsics"]}

    @functools.partial(jax.jit, compiler_options=_FAST)
    def predict(variables, unmasked, single):
        many, _ = method.predict(variables, batch_from_arrays(unmasked))
        one, _ = method.predict(variables, batch_from_arrays(single))
        return many, one

    prediction, single = predict(variables, unmasked, single)
    assert prediction.pairs.objects is None
    assert not prediction.pairs.residual_translation.any()
    assert prediction.pairs.target_index == (0, 1, 1, 2)
    assert single.pairs is None
    np.testing.assert_allclose(single.depth[:, 0], prediction.depth[:, 0], rtol=1e-5)
    with pytest.raises(ValueError, match="no instance_labels.*object_pose=none"):
        jax.eval_shape(
            lambda: method.predict(
                variables,
                batch_from_arrays(unmasked),
                train=True,
                step=jnp.zeros(()),
                rngs={"noise": jax.random.key(0)},
            )
        )


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (
            "instance_motion.ego_pose",
            "none",
            "instance_motion.ego_pose expects.*correlation.*'none'",
        ),
        ("networks.depth_decoder", "disp", "depth_decoder expects.*disparity.*'disp'"),
        ("networks.encoder_depth", 101, "encoder_depth expects 18, 34 or 50, got 101"),
        ("instance_motion.projection", "back", "projection expects.*inverse.*'back'"),
        ("instance_motion.max_instances", 0, "max_instances expects 1 to 255.*got 0"),
        ("instance_motion.clips_per_pack", 0, "clips_per_pack >= 1.*got 0"),
        ("instance_motion.object_zoom", 4, "expects 0 or at least 8.*got 4"),
        ("instance_motion.object_zoom", 32, "rotation_center=object, got 'camera'"),
        ("camera.intrinsics", "video", "needs intrinsics.*dataset.intrinsics"),
    ],
)
def test_options_that_do_not_exist_are_named(narrow_config, field, value, message):
    config = presets.use_instance_motion(narrow_config())
    config.update_from_flattened_dict({field: value})
    with pytest.raises(ValueError, match=message):
        methods.create(config)


def test_windows_are_as_large_as_the_object_net_needs(narrow_config):
    config = presets.use_instance_motion(narrow_config())
    config.instance_motion.object_pose = "resnet"
    config.instance_motion.rotation_center = "object"
    config.instance_motion.object_zoom = 64
    methods.create(config)
    config.instance_motion.object_zoom = 63
    with pytest.raises(ValueError, match="at least 64 .*object_pose=resnet, got 63"):
        methods.create(config)
