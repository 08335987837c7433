"""Method A: every option trains, terms mean what they say, ramps do what they say."""

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
import pytest

from mdm_jax import methods
from mdm_jax.methods import base, motion_field
from mdm_jax.structs import Batch, Motion, Pairs, Pose, Prediction
from mdm_jax.train import state as state_lib
from mdm_jax.train import step as step_lib


def _arrays(height=40, width=48, batch=2, seed=0):
    rng = np.random.default_rng(seed)
    smooth = rng.uniform(0, 255, (batch, 2, height // 8, width // 8, 3))
    frames = smooth.repeat(8, axis=2).repeat(8, axis=3).astype(np.uint8)
    intrinsics = np.array(
        [[40.0, 0, width / 2], [0, 42.0, height / 2], [0, 0, 1]], np.float32
    )
    labels = np.zeros((batch, 2, height, width), np.uint8)
    labels[:, :, 5:20, 7:30] = 3
    return {
        "frames": frames,
        "intrinsics": np.stack([intrinsics] * batch),
        "instance_labels": labels,
        "depth": rng.uniform(2, 30, (batch, 2, height, width)).astype(np.float32),
        "video_index": np.arange(batch, dtype=np.int32) % 2,
    }


OPTIONS = {
    "default": {},
    "paper_motion_net": {"networks.motion_net": "paper"},
    "paper_motion_net_without_depth": {
        "networks.motion_net": "paper",
        "motion_field.depth_input": False,
    },
    "without_ego_compensation": {"networks.ego_compensation": False},
    "without_auto_mask": {"motion_field.auto_mask": False},
    "given_masks": {"motion_field.use_mask": True, "motion_field.mask_dilation": 2},
    "burnin": {"motion_field.burnin_steps": 100},
    "intrinsics_per_pair": {"motion_field.intrinsics": "pair"},
    "intrinsics_per_video": {
        "motion_field.intrinsics": "video",
        "motion_field.num_videos": 2,
    },
    "norm_noise": {"motion_field.norm_noise": 0.5},
    "scale_normalization": {"motion_field.scale_normalization": True},
    "two_scales": {"motion_field.num_scales": 2},
    "depth_variance": {"loss_weights.depth_variance": 1e-3},
    "depth_supervision": {"loss_weights.depth_supervision": 0.1},
    "depth_consistency": {"loss_weights.depth_consistency": 0.1},
    "without_sparsity": {"loss_weights.motion_sparsity": 0.0},
    "bfloat16": {"networks.dtype": "bfloat16"},
    "zero_padding": {"networks.padding": "zeros"},
    "accumulation": {"optimizer.accumulate_steps": 2},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_takes_a_finite_training_step(name, tiny_config):
    config = tiny_config
    config.update_from_flattened_dict(OPTIONS[name])
    method = methods.create(config)
    arrays = _arrays()
    optimizer = optax.adam(1e-3)

    @jax.jit
    def create_and_step(arrays):
        from mdm_jax.structs import batch_from_arrays

        state = state_lib.create(method, optimizer, batch_from_arrays(arrays), 0)
        train_step = step_lib.make_train_step(
            method,
            optimizer,
            loss_weights=config.loss_weights,
            seed=0,
            accumulate_steps=config.optimizer.accumulate_steps,
        )
        empty = step_lib.empty_metrics(step_lib.metric_names(config.loss_weights))
        new_state, metrics = train_step(state, empty, arrays)
        return state, new_state, metrics

    state, new_state, metrics = create_and_step(arrays)
    assert int(metrics.failed_step) == -1
    means = step_lib.compute(metrics)
    assert all(np.isfinite(v) for v in means.values()), means
    assert int(new_state.step) == 1
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), state, new_state)
    moved_depth = jax.tree.leaves(moved.params["depth_net"])
    assert sum(m > 0 for m in moved_depth) > 0.5 * len(moved_depth)


def test_loss_names_must_match_the_weights():
    terms = {"rgb": jnp.ones(()), "ssim": jnp.ones(())}
    with pytest.raises(ValueError, match=r"unknown \['smim'\].*without.*\['ssim'\]"):
        base.total_loss(terms, {"rgb": 1.0, "smim": 2.0})


def test_terms_of_weight_zero_have_no_gradient():
    def total(x):
        return base.total_loss({"a": x, "b": jnp.sqrt(x)}, {"a": 2.0, "b": 0.0})[0]

    assert jax.grad(total)(jnp.zeros(())) == 2.0


def test_unknown_method_and_options_are_named(tiny_config):
    tiny_config.method = "motion_fields"
    with pytest.raises(ValueError, match="motion_field.*'motion_fields'"):
        methods.create(tiny_config)
    tiny_config.method = "motion_field"
    tiny_config.networks.motion_net = "big"
    with pytest.raises(ValueError, match="networks.motion_net expects.*paper.*'big'"):
        methods.create(tiny_config)


def test_auto_mask_keeps_only_vectors_longer_than_the_image_mean():
    residual = jnp.zeros((2, 4, 5, 3)).at[0, 1, 2].set(3.0).at[0, 0, 0].set(0.01)
    masked = motion_field.auto_mask(residual)
    expected = residual.at[0, 0, 0].set(0.0)
    np.testing.assert_array_equal(masked, expected)
    gradient = jax.grad(lambda r: jnp.sum(motion_field.auto_mask(r)))(residual)
    # The second image is all zeros, and kept; in the first, one vector is.
    expected_gradient = jnp.zeros_like(residual).at[0, 1, 2].set(1.0).at[1].set(1.0)
    np.testing.assert_array_equal(gradient, expected_gradient)


def test_a_field_of_zeros_passes_its_gradient_through_the_auto_mask():
    # Else a residual head that starts at zero would stay there for ever.
    zeros = jnp.zeros((2, 4, 5, 3))
    gradient = jax.grad(lambda r: jnp.sum(motion_field.auto_mask(r)))(zeros)
    np.testing.assert_array_equal(gradient, jnp.ones_like(zeros))


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 0.0), (50, 0.0), (75, 0.5), (100, 1.0), (500, 1.0)]
)
def test_burnin_switches_motion_on_over_its_second_half(step, expected):
    options = ml_collections.ConfigDict({"burnin_steps": 100})
    assert motion_field._burnin(options, jnp.array(step)) == pytest.approx(expected)
    assert motion_field._burnin(options, None) == 1.0


def test_norm_noise_ramps_up_quadratically():
    options = ml_collections.ConfigDict(
        {"norm_noise": 0.5, "norm_noise_ramp_steps": 100}
    )
    assert motion_field._norm_noise(options, jnp.array(50)) == pytest.approx(0.125)
    assert motion_field._norm_noise(options, jnp.array(1000)) == pytest.approx(0.5)
    assert motion_field._norm_noise(options, None) == 0.0


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


def test_true_motion_explains_the_frames_and_the_opposite_one_does_not(tiny_config):
    prediction, batch = _plane_scene()
    terms = jax.jit(
        lambda p: motion_field.loss_terms(
            p, batch, jnp.zeros(()), options=tiny_config.motion_field
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


def test_one_frame_gives_depth_alone(tiny_config):
    method = methods.create(tiny_config)
    arrays = _arrays()
    batch = Batch(
        frames=jnp.asarray(arrays["frames"] / 255.0, jnp.float32),
        intrinsics=jnp.asarray(arrays["intrinsics"]),
    )

    @jax.jit
    def predict(batch):
        variables = method.init(jax.random.key(0), batch)
        single = batch.replace(frames=batch.frames[:, :1])
        return method.predict(variables, single)[0], method.predict(variables, batch)[0]

    single, pair = predict(batch)
    assert single.pairs is None
    np.testing.assert_allclose(single.depth[:, 0], pair.depth[:, 0], rtol=1e-5)


def test_three_frames_give_four_directed_pairs(tiny_config):
    method = methods.create(tiny_config)
    arrays = _arrays()
    frames = np.concatenate([arrays["frames"], arrays["frames"][:, :1]], axis=1)
    batch = Batch(
        frames=jnp.asarray(frames / 255.0, jnp.float32),
        intrinsics=jnp.asarray(arrays["intrinsics"]),
    )

    @jax.jit
    def run(batch):
        variables = method.init(jax.random.key(0), batch)
        prediction, _ = method.predict(variables, batch)
        return prediction, method.loss_terms(prediction, batch, jnp.zeros(()))

    prediction, terms = run(batch)
    assert prediction.pairs.target_index == (0, 1, 1, 2)
    assert prediction.pairs.source_index == (1, 0, 2, 1)
    assert prediction.pairs.motion.translation.shape == (2, 4, 40, 48, 3)
    assert all(np.isfinite(v) for v in terms.values())


def test_masks_are_demanded_where_they_are_used(tiny_config):
    tiny_config.motion_field.use_mask = True
    method = methods.create(tiny_config)
    arrays = _arrays()
    batch = Batch(
        frames=jnp.zeros((1, 2, 32, 32, 3)),
        intrinsics=jnp.asarray(arrays["intrinsics"][:1]),
    )
    with pytest.raises(ValueError, match="use_mask needs instance_labels"):
        jax.eval_shape(method.init, jax.random.key(0), batch)
