"""The export command: what is wrong is said in a line, what came out in another."""

import types

import pytest
from absl import logging

from mdm_jax.run import exporting


@pytest.fixture
def export(import_command):
    return import_command("export")[0]


@pytest.fixture
def command(export, monkeypatch, tmp_path):
    """Runs the command with flags of these values, in this process."""
    for name in ("configure_jax", "quiet_libraries"):
        monkeypatch.setattr(export.startup, name, lambda *_: None)

    def run(**flags):
        values = {
            "workdir": str(tmp_path / "run"),
            "output": str(tmp_path / "out"),
            "format": "params",
            "size": None,
            "step": None,
        } | flags
        for name, value in values.items():
            flag = types.SimpleNamespace(value=value)
            monkeypatch.setattr(export, f"_{name.upper()}", flag)
        verbosity = logging.get_verbosity()
        try:
            export.main(["export"])
        finally:
            logging.set_verbosity(verbosity)

    return run


def test_a_folder_without_a_run_is_named(command):
    with pytest.raises(SystemExit, match="error: --workdir=.*run"):
        command()


def test_the_size_reaches_the_export_and_the_difference_is_printed(
    command, export, monkeypatch, capsys
):
    run = types.SimpleNamespace(step=12)
    monkeypatch.setattr(export.loading, "load", lambda workdir, step: run)
    sizes = []

    def fake_export(run, form, output, *, size):
        sizes.append(size)
        return {"depth.jax_export": 2e-7}

    monkeypatch.setattr(exporting, "export", fake_export)
    command(format="stablehlo", size="64x96")
    command(format="stablehlo")
    assert sizes == [(64, 96), None]
    printed = capsys.readouterr().out
    assert "out/depth.jax_export: step 12" in printed
    assert "2.0e-07 (relative; allowed 1e-05)" in printed
    with pytest.raises(SystemExit, match="--size: a size is written HEIGHTxWIDTH"):
        command(size="64 by 96")
