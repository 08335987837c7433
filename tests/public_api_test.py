"""The package is imported lazily, and the Python of the README runs."""

import ast
import importlib.util
import pathlib
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest

import mdm_jax
from tests.training.conftest import toy_config, trained

__all__ = ["toy_config", "trained"]

ROOT = pathlib.Path(__file__).resolve().parents[1]


def test_importing_the_package_imports_neither_jax_nor_flax():
    program = """
import sys
import mdm_jax
assert {"load", "train", "evaluate_files", "geometry", "losses"} <= set(dir(mdm_jax))
heavy = {"jax", "flax", "numpy", "cv2", "orbax", "tensorflow"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


@pytest.mark.parametrize("name", mdm_jax.__all__)
def test_public_names_exist(name):
    assert getattr(mdm_jax, name) is not None


def test_modules_of_public_packages_need_no_import_of_their_own():
    program = """
import mdm_jax
print(mdm_jax.geometry.warp.inverse_warp.__name__, mdm_jax.losses.ssim.__name__)
for owner in (mdm_jax, mdm_jax.geometry):
    try:
        owner.nothing
    except AttributeError as error:
        print(error)
"""
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    first, second, third = result.stdout.splitlines()
    assert first == "inverse_warp mdm_jax.losses.ssim"
    assert "nothing" in second and "nothing" in third


def test_the_python_of_the_readme_runs(trained, tmp_path, monkeypatch):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text[text.index("## Use from Python") :]
    match = re.search("```python\n(.*?)```", section, re.DOTALL)
    assert match is not None
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    trained().rename(tmp_path / "runs" / "mine")
    noise = np.random.default_rng(0).integers(0, 255, (64, 80, 3)).astype(np.uint8)
    film = cv2.VideoWriter(
        str(tmp_path / "drive.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (80, 64)
    )
    for i in range(4):
        film.write(np.roll(noise, i, axis=1))
    film.release()
    for name in ("a.jpg", "b.jpg"):
        cv2.imwrite(str(tmp_path / name), noise)
    code = match[1]
    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) <= 8
    names = {}
    exec(compile(code, "README.md", "exec"), names)  # noqa: S102 (our own text)
    assert names["depth"].shape == (64, 80)
    assert names["motion"]["object_motion"].shape == (64, 80, 3)
    assert (tmp_path / "out" / "video.webm").exists()


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("train", "--workdir: "),
        ("predict", "--camera_height: "),
        ("evaluate", "--protocol: "),
        ("export", "--format: "),
        ("annotate", "--masks: "),
        ("prepare", "--data_dir: "),
        ("two-view", "--max_frames: "),
    ],
)
def test_console_commands_print_their_help(name, option):
    text = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    match = re.search(rf"^    mdm-{name} = ([\w.]+):(\w+)$", text, re.MULTILINE)
    assert match is not None
    # As the script does that pip installs.
    program = f"import sys; from {match[1]} import {match[2]} as run; sys.exit(run())"
    result = subprocess.run(
        [sys.executable, "-c", program, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert re.search(option.replace("--", r"--(\[no\])?"), result.stdout), result
    # The commands share the names of flags, so that only one can be imported here.
    spec = importlib.util.find_spec(match[1])
    assert spec is not None and spec.origin is not None
    source = pathlib.Path(spec.origin).read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(source))
    assert docstring is not None and docstring.splitlines()[0] in result.stdout
