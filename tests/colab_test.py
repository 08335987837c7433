"""The notebooks run from a fresh kernel, and are stored without what they showed."""

from __future__ import annotations

import json
import os
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "colab").glob("*.ipynb"))
assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_hold_no_outputs(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    assert all(not c["outputs"] and c["execution_count"] is None for c in code)


@pytest.mark.parametrize(
    ("name", "pictures"), [("geometry_tour", 4), ("predict_video", 4), ("train_tpu", 1)]
)
@pytest.mark.filterwarnings("default")  # of a kernel's many libraries
def test_notebooks_run_from_start_to_end(name, pictures, tmp_path, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    for variable, value in {
        "MDM_NOTEBOOK_SMOKE": "1",
        "PYTHONPATH": str(ROOT),
        # One device, and quick compilation.
        "XLA_FLAGS": "--xla_backend_optimization_level=0",
        "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
        "IPYTHONDIR": str(tmp_path / "ipython"),
    }.items():
        monkeypatch.setenv(variable, value)
    # Ranks are promoted by whom it pleases, in a notebook.
    monkeypatch.delenv("JAX_NUMPY_RANK_PROMOTION", raising=False)
    path = ROOT / "colab" / f"{name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    shown = [
        output["data"].keys()
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if output["output_type"] == "display_data"
    ]
    assert len(shown) >= pictures and all("image/png" in kinds for kinds in shown)
