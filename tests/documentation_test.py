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


def _check_program(name: str, known: set[str], words: list[str]):
    """Fails if a program of the project is given an option that it does not have."""
    settings = settings_lib.flatten(config_lib.base_config())
    for word in words:
        option = word.removeprefix("--").split("=")[0]
        if option.startswith("config."):
            assert "config" in known, f"{name} takes no {word}"
            assert option.removeprefix("config.") in settings, word
        elif word.startswith("--config="):
            path, _, variants = word.removeprefix("--config=").partition(":")
            _load(ROOT / path).get_config(variants)
        elif word.startswith("--"):
            assert option in known, f"{name} has no option {word}"


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
def test_documented_commands_name_what_exists(page, import_command):
    for words in page_commands.commands(page.read_text()):
        if words[:2] == ["python", "-m"] and words[2].startswith("mdm_jax"):
            _, options = import_command(words[2].removeprefix("mdm_jax."))
            _check_program(words[2], set(options), words[3:])
        elif words[0] == "python" and words[1].endswith(".py"):
            text = (ROOT / words[1]).read_text()
            options = re.findall(r'DEFINE_\w+\(\s*"(\w+)"', text)
            _check_program(words[1], set(options), words[2:])
        elif words[0] == "make":
            _check_make(words[1:])
        elif words[:2] == ["pip", "install"]:
            _check_extras(words[2:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_documented_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" not in target and not target.startswith("#"):
            assert (page.parent / target.split("#")[0]).exists(), target
