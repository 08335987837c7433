"""Configs: every experiment builds, unknown fields are named, JSON keeps everything."""

import importlib.util
import json
import pathlib

import pytest

from mdm_jax import config as config_lib
from mdm_jax import explain, methods, presets, settings
from mdm_jax.training import checkpoint, optimizer

OLD_RUNS = pathlib.Path(__file__).parent / "old_runs"
CONFIGS = sorted((pathlib.Path(__file__).parents[1] / "configs").glob("*.py"))


def _load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_variant_of_every_config_builds(path):
    module = _load(path)
    for variant in ("", *module.VARIANTS):
        config = module.get_config(variant)
        config_lib.validate(config)
        methods.create(config)
        optimizer.create(config)
        weights = methods.METHODS[config.method].LOSS_WEIGHTS
        assert set(config.loss_weights) == set(weights)
    with pytest.raises(ValueError, match="'nonsense'"):
        module.get_config("nonsense")


def test_any_config_can_be_switched_to_instance_motion():
    config = config_lib.base_config()
    config.loss_weights.log_scale_pin = 0.25
    config.optimizer.learning_rate = 3e-4
    switched = presets.use_instance_motion(config)
    assert switched is config
    assert config.method == "instance_motion"
    assert config.dataset.clip_length == 3
    # The method brings its weights; what both methods have stays as it was.
    weights = methods.METHODS["instance_motion"].LOSS_WEIGHTS
    assert set(config.loss_weights) == set(weights)
    assert config.loss_weights.log_scale_pin == 0.25
    assert config.loss_weights["photometric"] == weights["photometric"] == 2.0
    assert config.optimizer.learning_rate == 3e-4
    config_lib.validate(config)
    methods.create(config)
    back = settings.from_json(settings.to_json(config))
    assert settings.flatten(back) == settings.flatten(config)


def test_unknown_fields_are_named_with_the_nearest_known_one():
    config = config_lib.base_config()
    config.optimizer.learning_rat = 1.0
    with pytest.raises(
        ValueError,
        match=r"config.optimizer.learning_rat\..*config.optimizer.learning_rate",
    ):
        config_lib.validate(config)


def test_missing_fields_are_named():
    config = config_lib.base_config()
    del config.train.batch_size
    with pytest.raises(ValueError, match="lacks config.train.batch_size"):
        config_lib.validate(config)


def test_json_keeps_every_field():
    config = config_lib.base_config()
    back = settings.from_json(settings.to_json(config))
    assert settings.flatten(back) == settings.flatten(config)


def test_schedules_do_what_their_names_say():
    config = config_lib.base_config()
    config.optimizer.learning_rate = 1.0
    config.train.num_steps = 100
    config.optimizer.warmup_steps = 10
    config.optimizer.schedule = "cosine"
    rate = optimizer.schedule(config)
    assert [float(rate(s)) for s in (0, 5, 10, 55, 100)] == pytest.approx(
        [0.0, 0.5, 1.0, 0.5, 0.0], abs=1e-6
    )
    config.optimizer.warmup_steps = 0
    config.optimizer.schedule = "halve_every"
    config.optimizer.halve_steps = 30
    rate = optimizer.schedule(config)
    assert [float(rate(s)) for s in (0, 29, 30, 65)] == [1.0, 1.0, 0.5, 0.25]
    config.optimizer.schedule = "constant"
    assert float(optimizer.schedule(config)(10_000)) == 1.0


def test_every_setting_has_a_meaning():
    known = settings.flatten(config_lib.base_config())
    meanings = explain.meanings()
    silent = {name for name in known if not meanings.get(name)}
    assert {name for name in silent if not name.startswith("loss_weights.")} == set()


def test_settings_that_differ_are_explained_without_those_of_other_methods():
    config = presets.use_instance_motion(config_lib.base_config())
    config.instance_motion.object_zoom = 32
    config.motion_field.use_mask = True
    text = explain.explain(config)
    assert (
        "instance_motion.object_zoom = 32    (default 0)\n    Side, in pixels" in text
    )
    assert "motion_field" not in text and "loss_weights" not in text


@pytest.mark.parametrize("method", methods.METHODS)
def test_the_config_of_an_old_run_is_read_by_its_present_names(method, caplog):
    path = OLD_RUNS / f"{method}.json"
    old = json.loads(path.read_text())
    with caplog.at_level("WARNING"):
        config = config_lib.read(path)
    config_lib.validate(config)
    methods.create(config)
    assert config.camera.intrinsics == old["motion_field"]["intrinsics"]
    assert config.camera.num_videos == old["motion_field"]["num_videos"]
    for owner, field in (
        ("motion_field", "motion_net"),
        ("motion_field", "ego_compensation"),
        ("instance_motion", "ego_pose"),
        ("instance_motion", "object_pose"),
    ):
        assert config[owner][field] == old["networks"][field]
    # Both methods had these; the one trained decides.
    assert config.networks.norm_noise == old[method]["norm_noise"]
    assert config.train.log_depth_pin == old[method]["log_depth_pin"]
    # A field that the run lacks.
    assert config.networks.encoder == "resnet"
    assert "config.networks.encoder=resnet" in caplog.text


def test_a_run_of_an_old_version_is_resumed_with_its_own_settings_only(tmp_path):
    (tmp_path / "checkpoints" / "2").mkdir(parents=True)
    path = tmp_path / "config.json"
    old = (OLD_RUNS / "instance_motion.json").read_text()
    path.write_text(old)
    config = config_lib.read(path)
    # Newer than the run: worth a warning, no obstacle.
    config.networks.encoder_norm = "batch"
    checkpoint.prepare_workdir(tmp_path, config)
    assert settings.from_json(path.read_text()) == config
    path.write_text(old)
    config.instance_motion.object_pose = "none"
    with pytest.raises(ValueError, match="object_pose: conv there, none now"):
        checkpoint.prepare_workdir(tmp_path, config)


def test_sizes_and_tuples_are_parsed():
    parser = settings.TupleParser()
    assert parser.parse("128x416") == parser.parse("128,416") == (128, 416)
    assert parser.parse("(0, 0.2, 0, 0)") == (0, 0.2, 0, 0)
    assert parser.parse((1, 2)) == (1, 2)
    assert parser.parse("depth_net") == ("depth_net",)
    with pytest.raises(ValueError, match="HEIGHTxWIDTH, as in 128x416; got '128x'"):
        settings.parse_size("128x")
