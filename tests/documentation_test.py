"""The commands in the documentation name programs, options and settings that exist."""

from __future__ import annotations

import importlib.util
import pathlib
import re

import pytest

from mdm_jax import config as config_lib
from mdm_jax import settings as settings_lib
from tests import page_commands
from tests.page_commands import PAGES, ROOT


def _load(path: pathlib.Path):
    spec = importlib.util.spec_from_file_location(f"documented_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _check_program(file: pathlib.Path, words: list[str]):
    """Fails where a program of the project is given an option that it lacks."""
    text = file.read_text()
    if "command_flags.define()" in text:  # shared with other programs
        text += (ROOT / "mdm_jax/annotation/command_flags.py").read_text()
    known = set(re.findall(r'DEFINE_\w+\(\s*"(\w+)"', text))
    settings = settings_lib.flatten(config_lib.base_config())
    for word in words:
        name = word.removeprefix("--").split("=")[0]
        if name.startswith("config."):
            assert "config" in known, f"{file.name} takes no {word}"
            assert name.removeprefix("config.") in settings, word
        elif word.startswith("--config="):
            path, _, variants = word.removeprefix("--config=").partition(":")
            _load(ROOT / path).get_config(variants)
        elif word.startswith("--"):
            assert name in known, f"{file.name} has no option {word}"


def _check_make(targets: list[str]):
    makefile = (ROOT / "Makefile").read_text()
    for target in targets:
        if "=" in target:
            assert re.search(rf"^{target.split('=')[0]} \?=", makefile, re.MULTILINE), (
                target
            )
        else:
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def _check_extras(words: list[str]):
    wanted = re.findall(r"\[([\w,]+)\]", " ".join(words))
    setup = (ROOT / "setup.cfg").read_text().split("[options.extras_require]")[1]
    for extra in ",".join(wanted).split(","):
        assert not extra or re.search(rf"^{extra} =", setup, re.MULTILINE), words


def test_commands_are_found_in_blocks_and_between_backticks():
    page = """Here `python a.py --x=1`, and
make is no command; `mdm_jax.predict` neither.

```bash
python -m b \\
    --y="two words"   # as said
```

    make c D=e
"""
    assert page_commands.commands(page) == [
        ["python", "a.py", "--x=1"],
        ["python", "-m", "b", "--y=two words"],
        ["make", "c", "D=e"],
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_documented_commands_name_what_exists(page):
    for words in page_commands.commands(page.read_text()):
        if words[:2] == ["python", "-m"] and words[2].startswith("mdm_jax"):
            _check_program(ROOT / f"{words[2].replace('.', '/')}.py", words[3:])
        elif words[0] == "python" and words[1].endswith(".py"):
            _check_program(ROOT / words[1], words[2:])
        elif words[0] == "make":
            _check_make(words[1:])
        elif words[:2] == ["pip", "install"]:
            _check_extras(words[2:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_documented_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" not in target and not target.startswith("#"):
            assert (page.parent / target.split("#")[0]).exists(), target
