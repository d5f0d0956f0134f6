"""The tutorials run from top to bottom, on drawn data, and show what they promise."""

import os
import subprocess
import sys

import nbformat
import pytest

from helpers.pages import ROOT

pytestmark = pytest.mark.slow

TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))


EXECUTE = """
import sys
import nbformat
from nbclient import NotebookClient

notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=300).execute()
nbformat.write(notebook, sys.argv[2])
"""
"""In a process of its own: the kernel's sockets are no affair of the other tests."""


def texts(cell):
    """What a cell printed and what its last line gave, as text."""
    parts = [
        output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in cell.outputs
    ]
    return "".join(parts)


def has_picture(cell):
    return any("image/png" in output.get("data", {}) for output in cell.outputs)


@pytest.fixture
def run_notebook(tmp_path, monkeypatch):
    """Runs a notebook in a folder of its own; its `l2s` is the one that is tested."""
    command = tmp_path / "bin" / "l2s"
    command.parent.mkdir()
    call = "import sys; from l2s_jax.cli.app import main; sys.argv[0] = 'l2s'; sys.exit(main())"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{call}" "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", os.path.join(os.environ["L2S_CACHE"], "compiled"))
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    work = tmp_path / "work"
    work.mkdir()

    def run(path):
        done = tmp_path / path.name
        subprocess.run([sys.executable, "-c", EXECUTE, path, done], cwd=work, check=True, timeout=400)
        return nbformat.read(done, as_version=4), work

    return run


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_tutorials_are_kept_without_output(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert cell.cell_type == "markdown" or (not cell.outputs and cell.execution_count is None)


def test_from_patches_to_a_network(run_notebook):
    notebook, work = run_notebook(ROOT / "docs" / "tutorials" / "patches.ipynb")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert sum(map(has_picture, code)) == 3
    table = next(texts(cell) for cell in code if "per_group" in cell.source)
    assert "macro F1, pooled" in table and "labels" in table
    assert (work / "runs" / "labels" / "report.html").exists()
    assert (work / "predictions" / "example.png").exists()


def test_from_a_slide_to_qupath_and_back(run_notebook):
    notebook, work = run_notebook(ROOT / "docs" / "tutorials" / "slides.ipynb")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert sum(map(has_picture, code)) == 3
    assert "regions added" in "".join(map(texts, code))
    assert (work / "agreement" / "metrics.json").exists()
