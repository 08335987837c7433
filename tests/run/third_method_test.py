"""A method is one file, one line and one config: all else works without knowing it."""

import json

import cv2
import numpy as np
import pytest

import mdm_jax
from mdm_jax import explain, methods
from mdm_jax.evaluation import protocols
from mdm_jax.run import evaluate_run, exporting
from tests.third_method import brightness, config


@pytest.fixture
def registered(monkeypatch):
    """The line in `METHODS`."""
    monkeypatch.setitem(methods.METHODS, "brightness", brightness)


def test_a_third_method_is_trained_evaluated_predicted_and_exported(
    registered, tmp_path
):
    workdir = tmp_path / "run"
    final = mdm_jax.train(config.get_config(), str(workdir))
    assert 0 < final["test_drive/depth/abs_rel"] < 10
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    assert {"loss/colour", "loss/speed"} <= set(json.loads(lines[0]))
    settled = json.loads((workdir / "settled_config.json").read_text())
    assert settled["brightness"]["num_recordings"] == 2

    run = mdm_jax.load(workdir)
    assert run.step == 2 and "speed" in run.variables["params"]
    report = evaluate_run.report_drives(run, protocols.get("synthetic"))
    assert report.tables

    frames = tmp_path / "frames"
    frames.mkdir()
    images = np.random.default_rng(0).integers(0, 255, (4, 48, 96, 3), np.uint8)
    for i, image in enumerate(images):
        cv2.imwrite(str(frames / f"{i}.png"), image)
    (result,) = run.predict(frames, tmp_path / "out", intrinsics="fov:60")
    assert result["frames"] == 4
    # Brighter pixels differ from darker ones by as much as in the run itself.
    depth = run.depth(images)
    assert depth.shape == (4, 48, 96) and depth.min() >= 0.5

    differences = exporting.export(run, "stablehlo", tmp_path / "exported")
    assert set(differences) == {"depth.jax_export", "egomotion.jax_export"}


def test_its_settings_are_checked_and_explained(registered):
    c = config.get_config()
    c.brightness.nearest = 0.25
    text = explain.explain(c)
    assert "brightness.nearest = 0.25    (default 0.5)\n    Smallest depth." in text
    c.camera.intrinsics = "video"
    with pytest.raises(ValueError, match="config.method=brightness needs intrinsics"):
        methods.create(c)
