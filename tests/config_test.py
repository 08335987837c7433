"""Configs: every experiment builds, unknown fields are named, JSON keeps everything."""

import importlib.util
import pathlib

import pytest

from mdm_jax import config as config_lib
from mdm_jax import methods, presets, settings
from mdm_jax.train import optimizer

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
