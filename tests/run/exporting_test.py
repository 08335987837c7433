"""Exports: every form gives what the run gives, elsewhere too, or nothing is written."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import jax
import jaxtyping
import numpy as np
import pytest

from mdm_jax import methods, presets, settings
from mdm_jax.networks import pretrained
from mdm_jax.run import exporting
from mdm_jax.run.run import Run
from mdm_jax.training import preflight

_HEIGHT, _WIDTH = 32, 40
_JAX = ("jax", "jaxlib", "numpy", "scipy", "ml_dtypes", "opt_einsum", "flatbuffers")


def _run(config):
    """Returns a run with made-up variables; nothing is compiled."""
    method = methods.create(config)
    rng = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda leaf: rng.uniform(0.01, 0.1, leaf.shape).astype(np.float32),
        preflight.variable_shapes(method, config),
    )
    return Run(config, method, variables, 7, pathlib.Path("runs/none"))


@pytest.fixture
def run(tiny_config):
    """A tiny run of method A."""
    return _run(tiny_config)


@pytest.fixture
def batch_norm_run(tiny_config):
    """One with batch norms and a disparity decoder."""
    config = tiny_config.copy_and_resolve_references()
    config.networks.norm = "batch"
    config.networks.depth_decoder = "disparity"
    return _run(config)


def _only_jax(folder):
    """Returns a folder in which nothing but JAX and what it needs can be imported."""
    folder.mkdir()
    for name in _JAX:
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.origin is not None
        package = pathlib.Path(spec.origin).parent
        (folder / name).symlink_to(package)
        libraries = package.with_name(f"{name}.libs")
        if libraries.is_dir():
            (folder / libraries.name).symlink_to(libraries)
    return folder


def test_programs_give_the_same_without_this_package(run, tmp_path):
    output = tmp_path / "programs"
    differences = exporting.export(run, "stablehlo", output)
    assert sorted(differences) == ["depth.jax_export", "egomotion.jax_export"]
    assert max(differences.values()) <= 1e-5
    about = json.loads((output / "export.json").read_text())
    assert (about["height"], about["width"], about["step"]) == (_HEIGHT, _WIDTH, 7)
    images = np.random.default_rng(1).uniform(size=(2, _HEIGHT, _WIDTH, 3))
    images = images.astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    # Nothing is on the path there but JAX and what JAX needs.
    program = f"""
import sys

sys.path.insert(0, {str(_only_jax(tmp_path / "packages"))!r})
import jax.export
import numpy as np
with open({str(output / "depth.jax_export")!r}, "rb") as file:
    read = jax.export.deserialize(bytearray(file.read()))
assert set(read.platforms) == {{"cpu", "cuda", "tpu"}}
np.save({str(tmp_path / "depth.npy")!r}, read.call(np.load("images.npy")))
for name in ("mdm_jax", "flax"):
    assert name not in sys.modules
    try:
        __import__(name)
    except ImportError:
        continue
    raise AssertionError(f"{{name}} can be imported")
"""
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program],
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    here = jax.jit(exporting.depth_function(run))(run.variables, images)
    np.testing.assert_allclose(np.load(tmp_path / "depth.npy"), here, rtol=1e-5)


@pytest.mark.parametrize("labelled", ["motion_field", "instance_motion"])
def test_runs_that_were_trained_with_masks_are_exported_and_predict_without(
    labelled, tiny_config, tmp_path, monkeypatch
):
    # Shape checks do not know that a symbolic size can be broadcast.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    config = tiny_config.copy_and_resolve_references()
    if labelled == "motion_field":
        config.motion_field.use_mask = True
    else:
        presets.use_instance_motion(config)
    run = _run(config)
    assert run.method.needs_labels
    differences = exporting.export(run, "stablehlo", tmp_path / "programs")
    assert sorted(differences) == ["depth.jax_export", "egomotion.jax_export"]
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (2, 2 * _HEIGHT, 2 * _WIDTH, 3), np.uint8)
    matrix = np.array([[60.0, 0, 39.5], [0, 60, 31.5], [0, 0, 1]])
    found = run.motion(images, matrix)
    assert not found["object_motion"].any()
    assert np.isfinite(found["depth"]).all()


@pytest.mark.parametrize("method", ["instance_motion", "motion_field"])
def test_egomotion_of_a_run_with_labels_takes_them(
    tiny_config, tmp_path, monkeypatch, method
):
    # Shape checks do not know that a symbolic size can be broadcast.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    if method == "instance_motion":
        presets.use_instance_motion(tiny_config)
        tiny_config.dataset.clip_length = 2
        tiny_config.instance_motion.max_instances = 2
    else:
        tiny_config.motion_field.use_mask = True
    run = _run(tiny_config)
    exporting.export(run, "stablehlo", tmp_path / "programs")
    file = tmp_path / "programs" / "egomotion.jax_export"
    program = jax.export.deserialize(bytearray(file.read_bytes()))
    assert program.in_avals[2].dtype == np.uint8
    assert program.in_avals[2].shape[1:] == (2, _HEIGHT, _WIDTH)
    about = json.loads((tmp_path / "programs" / "export.json").read_text())
    assert about["labels"].startswith("uint8 [b 2 h w]")


def test_parameters_come_back_with_their_config(run, tmp_path, monkeypatch):
    # What is compared is tested where it is computed, with the programs.
    monkeypatch.setattr(
        exporting, "depth_function", lambda run: lambda variables, images: images.sum()
    )
    output = tmp_path / "new" / "out"
    assert exporting.export(run, "params", output) == {"params.safetensors": 0.0}
    again = pretrained.import_own(
        run.variables, pretrained.read(output / "params.safetensors")
    )
    jax.tree.map(np.testing.assert_array_equal, again, run.variables)
    config = settings.from_json((output / "config.json").read_text())
    assert settings.to_json(config) == settings.to_json(run.config)
    with pytest.raises(ValueError, match="out exists already"):
        exporting.export(run, "params", output)


def test_the_depth_net_comes_back_from_the_layout_of_pytorch(batch_norm_run, tmp_path):
    output = tmp_path / "out"
    differences = exporting.export(batch_norm_run, "torch", output)
    assert differences == {"network.safetensors": 0.0}
    arrays = pretrained.read(output / "network.safetensors")
    assert {"encoder.layer4.1.bn2.running_var", "decoder.10.conv.bias"} <= set(arrays)


def test_what_differs_or_cannot_be_exported_leaves_nothing(
    run, batch_norm_run, tmp_path, monkeypatch
):
    refused = functools.partial(exporting.export, output=tmp_path / "out")
    with pytest.raises(ValueError, match=r"networks\.norm=batch"):
        refused(run, "torch")
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    with pytest.raises(ValueError, match="pip install jax2onnx onnxruntime"):
        refused(run, "onnx")
    monkeypatch.setattr(exporting, "_difference", lambda found, true: 2e-3)
    with pytest.raises(ValueError, match="differ by 0.002 .* allowed are 0e"):
        refused(batch_norm_run, "torch")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("which", [0, 1])
def test_a_result_that_is_no_number_is_a_difference_wherever_it_is(which):
    true = (np.ones((2, 3)), np.ones(3))
    found = [np.ones((2, 3)), np.ones(3)]
    assert exporting._difference(tuple(found), true) == 0
    found[which] = found[which] * np.nan
    assert not exporting._difference(tuple(found), true) <= 1
