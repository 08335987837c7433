"""The layers of the package: who may import whom, and what training must not import."""

from __future__ import annotations

import ast
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

PACKAGE = pathlib.Path(__file__).resolve().parents[1] / "mdm_jax"

# From the bottom. Units of one layer do not know each other, except in the lowest.
LAYERS = (
    ("command_line", "structs", "settings", "numerics", "files"),
    ("geometry", "networks"),
    ("losses", "masks", "flow"),
    ("sources",),
    ("recording",),
    ("synthetic", "input_pipeline"),
    ("two_view",),
    ("methods", "annotation", "prepared"),
    ("config",),
    ("presets", "explain"),
    ("visualize",),
    ("evaluation",),
    ("prediction",),
    ("training",),
    ("run",),
    (
        "main",
        "evaluate",
        "predict",
        "export",
        "annotate",
        "prepare",
        "two_view.__main__",
    ),
)
LAYER_OF = {unit: index for index, units in enumerate(LAYERS) for unit in units}
# Losses and input pipeline stand on geometry alone.
FORBIDDEN = {
    (unit, "networks")
    for unit in ("losses", "masks", "sources", "recording", "synthetic")
} | {("input_pipeline", "networks")}


def _unit(module: str) -> str:
    """Returns the layered unit of a dotted module name, "" for the package itself."""
    if module.endswith(".__main__"):  # A command, above the package that it is in.
        return module.removeprefix("mdm_jax.")
    return module.split(".")[1] if "." in module else ""


def _imports(source: str, *, package: str) -> Iterator[str]:
    """Yields the dotted names of the mdm_jax modules that a source imports.

    Args:
        source: Python text; imports inside functions count as well.
        package: dotted name of the package it belongs to, for relative imports.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) + 1 - node.level]
                base = ".".join([*parents, base]).rstrip(".")
            # `from mdm_jax import geometry` names the unit only in the alias.
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == "mdm_jax")


def _violations(source: str, *, module: str, is_package: bool = False) -> list[str]:
    """Returns one line for each import of a module that the layers do not allow."""
    unit = _unit(module)
    if unit not in LAYER_OF:
        return [f"{module}: unit {unit!r} has no layer; give it one in {__file__}"]
    package = module if is_package else module.rpartition(".")[0]
    found = []
    for name in _imports(source, package=package):
        imported = _unit(name)
        if imported not in LAYER_OF:  # a value of the package itself: __version__
            continue
        same = imported == unit or LAYER_OF[imported] == LAYER_OF[unit] == 0
        lower = LAYER_OF[imported] < LAYER_OF[unit]
        if not (same or lower) or (unit, imported) in FORBIDDEN:
            found.append(f"{module} imports {name}")
    return found


def test_every_module_imports_its_own_package_and_lower_layers_only():
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if is_package else parts)
        if module != "mdm_jax":
            source = path.read_text(encoding="utf-8")
            found += _violations(source, module=module, is_package=is_package)
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("mdm_jax.geometry.warp", "from mdm_jax.geometry import camera"),
        ("mdm_jax.geometry.warp", "from . import camera"),
        ("mdm_jax.losses.ssim", "from mdm_jax import numerics, structs"),
        ("mdm_jax.training.loop", "import mdm_jax\nfrom mdm_jax.methods import base"),
        ("mdm_jax.settings", "from mdm_jax import structs"),
    ],
)
def test_imports_downwards_are_allowed(module, source):
    assert not _violations(source, module=module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("mdm_jax.geometry.warp", "from mdm_jax.networks import layers"),
        ("mdm_jax.geometry.warp", "from ..networks import layers"),
        ("mdm_jax.losses.ssim", "from mdm_jax import networks"),
        ("mdm_jax.methods.base", "def f():\n    import mdm_jax.training.step"),
        ("mdm_jax.visualize.plots", "from mdm_jax.evaluation.report import writing"),
        ("mdm_jax.helpers", ""),
    ],
)
def test_imports_upwards_or_sideways_are_found(module, source):
    assert len(_violations(source, module=module)) == 1


def test_the_diagram_of_the_layers_is_this_table():
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text[text.index("## Layers") :]
    diagram = section.split("```")[1].strip()
    expected = "\n".join("  ".join(units) for units in LAYERS)
    assert diagram == expected, f"write this diagram:\n{expected}"


def test_training_does_not_import_optional_packages():
    # As where they are not installed, and they must not have been asked for either.
    program = """
import sys

ABSENT = {"tensorflow", "torch", "jaxlie"}

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ImportError(f"{name} is not installed (in this test)")

sys.meta_path.insert(0, Absent())
import mdm_jax.training.loop
assert not ABSENT & set(sys.modules), ABSENT & set(sys.modules)
"""
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
