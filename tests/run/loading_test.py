"""A trained run is read back as it was, without its data, or with one clear error."""

import json
import shutil

import jax
import numpy as np
import pytest

from mdm_jax import config as config_lib
from mdm_jax import methods
from mdm_jax.run import loading
from mdm_jax.structs import batch_from_arrays
from mdm_jax.training import checkpoint, data


def _edit(path, **changes):
    values = json.loads(path.read_text())
    for name, value in changes.items():
        *sections, field = name.split("__")
        inner = values
        for section in sections:
            inner = inner[section]
        inner[field] = value
    path.write_text(json.dumps(values))


@pytest.mark.filterwarnings("ignore:Sharding info not provided")
def test_the_variables_are_those_of_the_checkpoint_on_one_device(trained, monkeypatch):
    workdir = trained()
    monkeypatch.setattr(data, "open_data", None)
    run = loading.load(workdir)
    assert run.step == 2 and run.workdir == workdir
    manager = checkpoint.ocp.CheckpointManager(workdir / "checkpoints")
    arguments = checkpoint.ocp.args.Composite(
        state=checkpoint.ocp.args.StandardRestore()
    )
    params = manager.restore(2, args=arguments)["state"]["params"]
    manager.close()
    # Eight devices wrote it, and Adam's memory with it.
    assert set(run.variables) == {"params"}
    assert jax.tree.structure(run.variables["params"]) == jax.tree.structure(params)
    for got, want in zip(
        jax.tree.leaves(run.variables), jax.tree.leaves(params), strict=True
    ):
        assert len(got.devices()) == 1
        np.testing.assert_array_equal(got, want)
    batch = batch_from_arrays(
        {"frames": np.zeros((1, 2, 32, 40, 3)), "intrinsics": np.eye(3)[None]}
    )
    prediction, _ = run.method.predict(run.variables, batch, step=np.int32(run.step))
    want = np.exp(np.asarray(params["log_depth"]))
    np.testing.assert_allclose(prediction.depth[0, 0], want, rtol=1e-6)


def test_what_only_the_data_told_is_remembered(trained):
    workdir = trained(**{"camera.intrinsics": "video"})
    assert (
        json.loads((workdir / "config.json").read_text())["camera"]["num_videos"] == 1
    )
    run = loading.load(workdir)
    assert run.config.camera.num_videos == 2
    assert run.variables["params"]["focal"].shape == (2,)
    assert run.config.augment.flip_probability == 0


def test_a_run_of_an_older_version_gets_the_defaults(trained):
    workdir = trained()
    shutil.copy(workdir / "settled_config.json", workdir / "config.json")
    (workdir / "settled_config.json").unlink()
    values = json.loads((workdir / "config.json").read_text())
    del values["networks"]["encoder_depth"], values["optimizer"]
    (workdir / "config.json").write_text(json.dumps(values))
    config = loading.load(workdir).config
    assert config.networks.encoder_depth == 18
    assert config.optimizer == config_lib.base_config().optimizer
    assert config.dataset.size == (32, 40)
    config_lib.validate(config)


def test_settings_of_data_and_evaluation_can_be_replaced(trained, toy_config):
    workdir = trained(**{"camera.intrinsics": "video"})
    toy_config.camera.intrinsics = "video"
    toy_config.evaluation.split = "validation"
    toy_config.dataset.path = "elsewhere"
    run = loading.load(workdir, config=toy_config)
    assert run.config.evaluation.split == "validation"
    assert run.config.dataset.path == "elsewhere"
    # The given config does not know it.
    assert run.config.camera.num_videos == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"method": "instance_motion"},
            "config.method: toy in the run, instance_motion in",
        ),
        (
            {"networks.padding": "zeros"},
            "config.networks.padding: reflect in the run, zeros",
        ),
    ],
)
def test_a_config_of_another_method_or_network_is_refused(
    trained, toy_config, changes, message
):
    workdir = trained()
    toy_config.update_from_flattened_dict(changes)
    with pytest.raises(ValueError, match=f"{message}.*omit --config"):
        loading.load(workdir, config=toy_config)


def _without_folder(workdir):
    shutil.rmtree(workdir)


def _without_config(workdir):
    (workdir / "config.json").unlink()
    (workdir / "settled_config.json").unlink()


def _with_broken_config(workdir):
    (workdir / "settled_config.json").write_text('{"seed": ')


def _with_unknown_field(workdir):
    _edit(workdir / "settled_config.json", networks__depth_output="log")


def _without_checkpoint(workdir):
    (workdir / "checkpoints" / "2").rename(
        workdir / "checkpoints" / "2.orbax-checkpoint-tmp-7"
    )


def _with_missing_state(workdir):
    shutil.rmtree(workdir / "checkpoints" / "2" / "state")


def _with_cut_arrays(workdir):
    for file in (workdir / "checkpoints" / "2" / "state").rglob("*"):
        if file.is_file() and file.parent.name == "d":
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _with_other_size(workdir):
    _edit(workdir / "settled_config.json", dataset__size=[64, 40])


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_without_folder, "no such folder; give the folder that"),
        (_without_config, "has no config.json, so no run was trained there"),
        (_with_broken_config, "settled_config.json is not a config of this version"),
        (_with_unknown_field, "unknown config field: config.networks.depth_output"),
        (_without_checkpoint, "has no checkpoint yet: wait until training"),
        (_with_missing_state, "checkpoints/2 is damaged: .*Remove that folder"),
        (_with_cut_arrays, "checkpoints/2 is damaged: .*Remove that folder"),
        (
            _with_other_size,
            r"params/log_depth: \[32, 40\] in the file, \[64, 40\] by the config",
        ),
    ],
)
def test_what_is_wrong_is_one_error_that_says_what_to_do(trained, harm, message):
    workdir = trained()
    harm(workdir)
    with pytest.raises(ValueError, match=message):
        loading.load(workdir)


def test_a_checkpoint_that_is_not_there_is_refused_with_those_that_are(trained):
    workdir = trained()
    assert loading.load(workdir, step=2).step == 2
    with pytest.raises(ValueError, match="no checkpoint of step 7, only of 2"):
        loading.load(workdir, step=7)


def test_a_loaded_run_predicts_without_the_approximations_of_training(
    trained, monkeypatch
):
    workdir = trained(**{"motion_field.burnin_steps": 100})
    toy = methods.METHODS["toy"]
    as_before = toy.create

    def for_inference(config):
        config = config.copy_and_resolve_references()
        config.motion_field.burnin_steps = 0
        return config

    def create(config):
        return as_before(config)._replace(for_inference=for_inference)

    clip = {"frames": np.zeros((1, 2, 32, 40, 3)), "intrinsics": np.eye(3)[None]}
    as_trained = loading.load(workdir).maps(clip)["object_motion"]
    np.testing.assert_allclose(as_trained, 0.02, rtol=1e-6)
    monkeypatch.setattr(toy, "create", create)
    run = loading.load(workdir)
    np.testing.assert_allclose(run.maps(clip)["object_motion"], 1.0)
    assert run.config.motion_field.burnin_steps == 100
