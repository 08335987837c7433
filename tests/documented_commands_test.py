"""Every `python` command of the pages runs to its end, in toy size, and does its work.

The commands are taken from the pages as they stand there, and run as a user runs them:
each in a process of its own, those that need each other's results in the pages' order in
one folder. Only options that make a run smaller are added, behind the documented ones.
`make demo` is run as the command that the Makefile has for it.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence

import pytest

from mdm_jax.evaluation import protocols
from tests import documented_inputs, page_commands
from tests.page_commands import ROOT

Words = tuple[str, ...]

# Options whose values are read and written. A run's folder is written by training alone.
_WRITTEN = ("output", "data_dir", "workdir")
_READ = (
    *("input", "source", "masks", "images", "predictions", "ground_truth", "path"),
    *("config.dataset.path", "config.dataset.masks", "config.networks.init", "workdir"),
    "kitti_frames",
)

# What makes a command small. Equal sizes and batches share compiled programs.
_SMALLER = {
    "mdm_jax.main": (
        "--config.dataset.size=32x96",
        "--config.dataset.frames_per_drive=6",
        "--config.dataset.frames_per_evaluation_drive=6",
        "--config.train.batch_size=2",
        "--config.train.num_steps=2",
        "--config.evaluation.batch_size=2",
        "--config.evaluation.max_frames=2",
    ),
    "mdm_jax.annotate": ("--num_processes=1",),
    "mdm_jax.prepare": ("--size=32x96", "--num_processes=1"),
    "benchmarks/loader.py": (
        "--path=given/clips/video",
        "--clips=16",
        "--cases=one thread",
    ),
    "docs/demo_animation.py": ("--frames=4",),
    "benchmarks/inference.py": ("--rounds=1", "--size=32x96"),
}
# Published weights fit networks of the published width only.
_FULL_WIDTH = "--config.networks.width_multiplier=1"

# Does more computing than compiling, and has no option for less.
_OPTIMIZED = ("docs/forward_warp.py",)

# Packages that are not among those of the tests, and the extra that has them.
_EXTRAS = {"benchmarks/inference.py": ("torch", "bench")}

# What a command promises: files, `{option}` standing for the value of one of its options,
# and what it prints.
_FILES = {
    "mdm_jax.main": (
        "{workdir}/metrics.json",
        "{workdir}/metrics.jsonl",
        "{workdir}/config.json",
        "{workdir}/panel.png",
        "{workdir}/checkpoints/2",
    ),
    "mdm_jax.predict": (
        "{output}/prediction.json",
        "{output}/depth/*.png",
        "{output}/depth/*.npz",
        "{output}/points/*.ply",
        "{output}/video.webm",
        "{output}/trajectory_kitti.txt",
    ),
    "mdm_jax.annotate": (
        "{output}/*/instances/*.png",
        "{output}/*/summary.json",
        "{output}/*/overview.webm",
    ),
    "mdm_jax.prepare": ("{data_dir}/*/*/*/report.txt",),
    "docs/forward_warp.py": ("docs/forward_warp.png",),
    "docs/demo_animation.py": ("docs/demo.webp",),
}

_REPORT = ("metrics.json", "protocol.json", "per_*.csv", "report.html")
_EXPORTED = {
    "params": ("params.safetensors", "config.json"),
    "stablehlo": ("depth.jax_export", "egomotion.jax_export"),
    "onnx": ("depth.onnx",),
    "torch": ("network.safetensors",),
}
_PRINTED = {
    "mdm_jax.main": "colour error",
    "mdm_jax.prepare": "frames",
    "benchmarks/loader.py": "where the time goes",
    "benchmarks/inference.py": "ratio_of_medians",
}


def _program(words: Words) -> str:
    return words[2] if words[1] == "-m" else words[1]


def _options(words: Words) -> dict[str, str]:
    named = [word.lstrip("-").partition("=") for word in words if word[:2] == "--"]
    return {name: value for name, _, value in named}


def _written(words: Words) -> set[str]:
    """Returns the files and folders that a command makes."""
    trains = _program(words) == "mdm_jax.main"
    names = [name for name in _WRITTEN if trains or name != "workdir"]
    return {value for name, value in _options(words).items() if name in names}


def _read(words: Words) -> set[str]:
    """Returns the files and folders that a command needs."""
    values = {value for name, value in _options(words).items() if name in _READ}
    return values - _written(words)


def _lies_in(path: str, folders: set[str]) -> bool:
    return any(path == one or path.startswith(f"{one}/") for one in folders)


def _documented() -> list[Words]:
    """Returns the `python` commands of all pages, each once, in the pages' order."""
    found = []
    for page in page_commands.PAGES:
        # What came before is not told to be run.
        if page.name != "CHANGELOG.md":
            found += _python_commands(page.read_text())
    return list(dict.fromkeys(found))


def _python_commands(text: str) -> list[Words]:
    """Returns the commands of a text that run a program of the project."""
    found = []
    for words in page_commands.commands(text):
        lines = page_commands.recipe(words) if words[0] == "make" else [words]
        for line in lines:
            if pathlib.PurePath(line[0]).name == "python" and "pytest" not in line:
                found.append(("python", *line[1:]))
    return [
        tuple(word.replace("/path/to/", "given/") for word in words) for words in found
    ]


def _chains(commands: Sequence[Words]) -> list[list[Words]]:
    """Returns groups of commands of which none needs what another group makes."""
    chains: list[list[Words]] = []
    for words in commands:
        paths = _read(words) | _written(words)
        before = [
            chain
            for chain in chains
            if any(_lies_in(path, _written(one)) for one in chain for path in paths)
        ]
        chains = [chain for chain in chains if chain not in before]
        chains.append([one for chain in before for one in chain] + [words])
    return [sorted(chain, key=commands.index) for chain in chains]


def _training_of(workdir: str) -> Words | None:
    """Returns the command that an experiment's file has for a run that no page trains."""
    for path in sorted((ROOT / "configs").glob("*.py")):
        docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
        for words in _python_commands(docstring):
            if workdir in _written(words):
                return words
    return None


class Workplace:
    """A folder in which commands are run one after the other."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.made: set[str] = set()
        for name in ("benchmarks", "configs", "datasets"):
            (folder / name).symlink_to(ROOT / name)
        # Programs there write their pictures beside them.
        shutil.copytree(ROOT / "docs", folder / "docs")
        (folder / "given").mkdir()

    def run(self, words: Words):
        """Runs a command in toy size and checks what it promises."""
        program = _program(words)
        smaller = _made_smaller(words)
        for path in sorted(_read(smaller)):
            self._provide(path, words)
        # One device, and quick compilation.
        flags = "" if program in _OPTIMIZED else "--xla_backend_optimization_level=0"
        started = time.time()
        done = subprocess.run(
            [sys.executable, *smaller[1:]],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": flags},
        )
        shown = f"{shlex.join(words)}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        package, extra = _EXTRAS.get(program, ("", ""))
        if package and importlib.util.find_spec(package) is None:
            assert done.returncode == 1 and f"[{extra}]" in done.stderr, shown
            return
        assert done.returncode == 0, f"exit status {done.returncode}: {shown}"
        expected = _promised(words)
        for pattern in expected:
            paths = list(self.folder.glob(pattern))
            assert paths, f"no {pattern} after {shown}"
            # Not left by another command. Clocks of file systems are coarse.
            newest = max(path.stat().st_mtime for path in paths)
            assert newest > started - 0.1, f"an old {pattern} after {shown}"
        for text in _printed(words):
            assert text in done.stdout, f"{text!r} is not told by {shown}"
        assert expected or _printed(words), (
            f"{program}: say in {pathlib.Path(__file__).name} what it promises"
        )
        self.made |= _written(words)

    def _provide(self, path: str, words: Words):
        """Makes an input, unless a command or an earlier call did."""
        if _lies_in(path, self.made):
            return
        if write := documented_inputs.INPUTS.get(path):
            write(self.folder / path)
        elif training := _training_of(path):
            self.run(training)
        else:
            pytest.fail(
                f"{shlex.join(words)}\nneeds the input {path!r}, which no command"
                " before it makes: add it to tests/documented_inputs.py"
            )
        self.made.add(path)


def _made_smaller(words: Words) -> Words:
    """Returns the command with options for toy size behind its own."""
    smaller = list(words)
    for index, word in enumerate(words):
        if word.startswith("--config="):
            smaller[index] += ",smoke" if ":" in word else ":smoke"
    smaller += _SMALLER.get(_program(words), ())
    if "config.networks.init" in _options(words):
        smaller.append(_FULL_WIDTH)
    return tuple(smaller)


def _promised(words: Words) -> list[str]:
    """Returns the files that must be there after a command, as patterns."""
    program, options = _program(words), _options(words)
    patterns: Sequence[str] = _FILES.get(program, ())
    if program == "mdm_jax.export":
        patterns = [f"{{output}}/{name}" for name in _EXPORTED[options["format"]]]
    elif program == "mdm_jax.evaluate" and "output" in options:
        patterns = [f"{{output}}/{name}" for name in _REPORT]
    return [pattern.format_map(options) for pattern in patterns]


def _printed(words: Words) -> list[str]:
    """Returns what a command must print."""
    program, protocol = _program(words), _options(words).get("protocol", "")
    if protocol == "list":
        return list(protocols.PROTOCOLS)
    if program == "mdm_jax.evaluate":
        is_depth = isinstance(protocols.get(protocol), protocols.DepthProtocol)
        return [protocol, "Abs Rel" if is_depth else "ATE"]
    return [_PRINTED[program]] if program in _PRINTED else []


_CHAINS = _chains(_documented())
assert _CHAINS


@pytest.mark.parametrize(
    "chain", _CHAINS, ids=lambda chain: f"{_program(chain[0])}+{len(chain) - 1}"
)
def test_documented_commands_run(chain, tmp_path):
    workplace = Workplace(tmp_path)
    for words in chain:
        workplace.run(words)


def test_an_input_that_is_not_made_up_is_named(tmp_path):
    words = ("python", "-m", "mdm_jax.annotate", "--input=other", "--output=out")
    with pytest.raises(pytest.fail.Exception, match="needs the input 'other'"):
        Workplace(tmp_path).run(words)
    assert not (tmp_path / "out").exists()
