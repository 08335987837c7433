"""Method A: every part learns with every option, and terms mean what they say."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm_jax import methods
from mdm_jax.geometry import intrinsics as intrinsics_lib
from mdm_jax.geometry import pose as pose_lib
from mdm_jax.losses import pyramid
from mdm_jax.methods import base, motion_field
from mdm_jax.structs import Batch, Motion, Pairs, Pose, Prediction, batch_from_arrays

_FAST = {"xla_backend_optimization_level": 0}


def _arrays(height=32, width=48, batch=2, seed=0):
    rng = np.random.default_rng(seed)
    smooth = rng.uniform(0, 255, (batch, 3, height // 8, width // 8, 3))
    frames = smooth.repeat(8, axis=2).repeat(8, axis=3).astype(np.uint8)
    intrinsics = np.array(
        [[40.0, 0, width / 2], [0, 42.0, height / 2], [0, 0, 1]], np.float32
    )
    labels = np.zeros((batch, 3, height, width), np.uint8)
    labels[:, :, 5:20, 7:30] = 3
    return {
        "frames": frames,
        "intrinsics": np.stack([intrinsics] * batch),
        "instance_labels": labels,
        "video_index": np.arange(batch, dtype=np.int32) % 2,
    }


# What concerns the nets, in few models: compiling one takes seconds. The depth net is a
# small one; the real one has tests of its own, and so have steps with it.
MODELS = {
    "correlation_net_with_ego_compensation": {"motion_field.ego_compensation": True},
    "paper_net_without_depth_masks_and_intrinsics_of_the_pair": {
        "motion_field.motion_net": "paper",
        "motion_field.depth_input": False,
        "camera.intrinsics": "pair",
        "motion_field.use_mask": True,
        "motion_field.mask_dilation": 2,
    },
    "bfloat16_burnin_no_auto_mask_and_intrinsics_of_the_video": {
        "networks.dtype": "bfloat16",
        "motion_field.burnin_steps": 100,
        "motion_field.auto_mask": False,
        "camera.intrinsics": "video",
        "camera.num_videos": 2,
    },
}


@pytest.mark.parametrize("name", MODELS)
def test_every_part_learns(name, make_objective, narrow_config, largest):
    config, arrays = narrow_config(**MODELS[name]), _arrays()
    objective = make_objective(config, arrays)
    gradients, terms, _ = objective.run(objective.params, arrays)
    assert all(np.isfinite(value) for value in terms.values()), terms
    taught = largest(gradients)
    learned = config.camera.intrinsics != "given"
    assert set(taught) == {
        "depth_net",
        "motion_net",
        *(["intrinsics_head"] if learned else []),
    }
    assert all(np.isfinite(v) and v > 0 for v in taught.values()), taught


def test_the_paper_net_sees_depth(make_objective, narrow_config):
    inputs = {}
    for seen in (True, False):
        options = {"motion_field.motion_net": "paper", "motion_field.depth_input": seen}
        params = make_objective(narrow_config(**options), _arrays()).params
        inputs[seen] = params["motion_net"]["conv1"]["kernel"].shape[2]
    assert inputs == {True: 8, False: 6}


def test_pairs_of_a_clip_and_a_frame_alone(make_objective, narrow_config):
    arrays = _arrays()
    objective = make_objective(narrow_config(), arrays)
    batch = batch_from_arrays(arrays)

    @functools.partial(jax.jit, compiler_options=_FAST)
    def predict(params, batch):
        single = batch.replace(frames=batch.frames[:, :1])
        one, _ = objective.method.predict({"params": params}, single)
        three, _ = objective.method.predict({"params": params}, batch)
        return one, three

    single, clip = predict(objective.params, batch)
    assert single.pairs is None
    np.testing.assert_allclose(single.depth[:, 0], clip.depth[:, 0], rtol=1e-5)
    assert clip.pairs.target_index == (0, 1, 1, 2)
    assert clip.pairs.source_index == (1, 0, 2, 1)
    assert clip.pairs.motion.translation.shape == (2, 4, 32, 48, 3)


def test_loss_names_must_match_the_weights():
    terms = {"rgb": jnp.ones(()), "ssim": jnp.ones(())}
    with pytest.raises(ValueError, match=r"unknown \['smim'\].*without.*\['ssim'\]"):
        base.total_loss(terms, {"rgb": 1.0, "smim": 2.0})


def test_terms_of_weight_zero_have_no_gradient():
    def total(x):
        return base.total_loss({"a": x, "b": jnp.sqrt(x)}, {"a": 2.0, "b": 0.0})[0]

    assert jax.grad(total)(jnp.zeros(())) == 2.0


def test_unknown_method_and_options_are_named(narrow_config):
    config = narrow_config(method="motion_fields")
    with pytest.raises(ValueError, match="motion_field.*'motion_fields'"):
        methods.create(config)
    config.method = "motion_field"
    config.motion_field.motion_net = "big"
    with pytest.raises(
        ValueError, match="motion_field.motion_net expects.*paper.*'big'"
    ):
        methods.create(config)


def _plane_scene(shift=2.0):
    """A fronto-parallel plane seen by a camera that moves sideways by whole pixels."""
    rng = np.random.default_rng(0)
    height, width, focal, depth = 16, 24, 20.0, 5.0
    wide = rng.uniform(0.2, 0.8, (height, width + 8, 3)).astype(np.float32)
    first, second = (
        wide[:, 4 : 4 + width],
        wide[:, 4 + int(shift) : 4 + int(shift) + width],
    )
    intrinsics = np.array(
        [[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], np.float32
    )
    # A point at pixel u of the first frame is at u - shift in the second.
    step = -shift * depth / focal
    translation = np.zeros((1, 2, height, width, 3), np.float32)
    translation[:, 0, ..., 0], translation[:, 1, ..., 0] = step, -step
    rotation = np.broadcast_to(np.eye(3, dtype=np.float32), (1, 2, 3, 3))
    prediction = Prediction(
        depth=jnp.full((1, 2, height, width), depth),
        intrinsics=jnp.asarray(intrinsics[None]),
        pairs=Pairs(
            egomotion=Pose(jnp.asarray(rotation), jnp.asarray(translation[:, :, 0, 0])),
            motion=Motion(
                jnp.asarray(rotation[:, :, None, None]), jnp.asarray(translation)
            ),
            residual_translation=jnp.zeros((1, 2, height, width, 3)),
            target_index=(0, 1),
            source_index=(1, 0),
        ),
    )
    batch = Batch(
        frames=jnp.asarray(np.stack([first, second])[None]),
        intrinsics=jnp.asarray(intrinsics[None]),
    )
    return prediction, batch


OBJECTIVES = {
    "default": {},
    "scale_normalization": {"motion_field.scale_normalization": True},
    "two_scales": {"motion_field.num_scales": 2},
    "ramped_regularizers": {"motion_field.regularizer_ramp_steps": 100},
    "depth_variance": {"loss_weights.depth_variance": 1e-3},
    "depth_supervision": {"loss_weights.depth_supervision": 0.1},
    "depth_consistency": {"loss_weights.depth_consistency": 0.1},
    "log_scale_pin": {"loss_weights.log_scale_pin": 0.1},
    "without_sparsity_smoothness_wraps": {"loss_weights.motion_sparsity": 0.0},
}


def test_every_option_of_the_objective_counts_and_has_a_finite_gradient(narrow_config):
    prediction, batch = _plane_scene()
    rng = np.random.default_rng(1)
    noise = jnp.asarray(rng.uniform(0.9, 1.1, prediction.depth.shape), jnp.float32)
    field = rng.normal(0, 0.05, prediction.pairs.residual_translation.shape)
    batch = batch.replace(depth=prediction.depth)
    start = prediction.depth * noise, jnp.asarray(field, jnp.float32)

    @functools.partial(jax.jit, compiler_options=_FAST)
    def every(start):
        def total(start, name):
            config = narrow_config(**OBJECTIVES[name])
            depth, residual = start
            motion = prediction.pairs.motion
            motion = Motion(motion.rotation, motion.translation + residual)
            changed = prediction.replace(
                depth=depth,
                pairs=prediction.pairs.replace(
                    motion=motion, residual_translation=residual
                ),
            )
            terms = methods.create(config).loss_terms(changed, batch, jnp.array(60.0))
            return base.total_loss(terms, config.loss_weights)[0]

        return {name: jax.value_and_grad(total)(start, name) for name in OBJECTIVES}

    results = every(start)
    default, _ = results["default"]
    for name, (value, gradients) in results.items():
        for gradient in gradients:
            assert np.all(np.isfinite(gradient)) and np.any(gradient != 0), name
        assert name == "default" or abs(value - default) > 1e-6, name


def test_true_motion_explains_the_frames_and_the_opposite_one_does_not(narrow_config):
    prediction, batch = _plane_scene()
    terms = jax.jit(
        lambda p: motion_field.loss_terms(
            p, batch, jnp.zeros(()), config=narrow_config()
        )
    )
    good = terms(prediction)
    pairs = prediction.pairs
    opposite = Motion(pairs.motion.rotation, -pairs.motion.translation)
    wrong = terms(prediction.replace(pairs=pairs.replace(motion=opposite)))
    assert good["ssim"] < 1e-3
    assert wrong["ssim"] > 0.1
    assert good["translation_cycle"] < 1e-6
    assert good["rotation_cycle"] == 0.0
    assert good["depth_smoothness"] < 1e-6


def test_every_scale_adds_all_terms_of_images_of_half_the_size(narrow_config):
    prediction, batch = _plane_scene()
    rng = np.random.default_rng(1)
    pairs = prediction.require_pairs()
    residual = rng.normal(0, 0.1, pairs.residual_translation.shape)
    residual = jnp.asarray(residual, jnp.float32)
    turned = pose_lib.from_euler(
        jnp.asarray(rng.normal(0, 0.02, (1, 2, 3)), jnp.float32),
        pairs.egomotion.translation,
    )
    field = pairs.motion.translation + residual
    prediction = prediction.replace(
        pairs=pairs.replace(
            egomotion=turned,
            motion=Motion(turned.rotation[:, :, None, None], field),
            residual_translation=residual,
        )
    )

    @functools.partial(jax.jit, compiler_options=_FAST, static_argnames="num_scales")
    def terms(prediction, batch, num_scales):
        config = narrow_config(**{"motion_field.num_scales": num_scales})
        return motion_field.loss_terms(prediction, batch, jnp.zeros(()), config=config)

    both = terms(prediction, batch, 2)
    fine, coarse = terms(prediction, batch, 1), terms(*_halved(prediction, batch), 1)
    for name, value in both.items():
        at_finest_only = name in ("log_scale_pin", "depth_supervision")
        want = fine[name] + (0.0 if at_finest_only else 0.5 * coarse[name])
        np.testing.assert_allclose(value, want, rtol=1e-5, err_msg=name)
    for name in ("rotation_cycle", "motion_smoothness", "motion_sparsity"):
        assert both[name] > 1.2 * fine[name], name


def _halved(prediction, batch):
    """Returns a prediction and a batch at half the resolution."""
    pairs = prediction.require_pairs()
    motion = Motion(pairs.motion.rotation, pyramid.halve(pairs.motion.translation))
    residual = pyramid.halve(pairs.residual_translation)
    intrinsics = intrinsics_lib.resize(
        prediction.intrinsics, from_size=(2, 2), to_size=(1, 1)
    )
    prediction = prediction.replace(
        depth=pyramid.halve(prediction.depth[..., None])[..., 0],
        intrinsics=intrinsics,
        pairs=pairs.replace(motion=motion, residual_translation=residual),
    )
    frames = pyramid.halve(batch.frames)
    return prediction, batch.replace(frames=frames, intrinsics=intrinsics)
