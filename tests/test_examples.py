"""The notebooks of `examples/` run, and hold what they show.

`AFFEKT_NOTEBOOKS=write` keeps the outputs of this run in them: read them in git before you commit.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
pytest.importorskip("ipykernel", reason="ipykernel is not installed")

EXAMPLES = Path(__file__).parent.parent / "examples"
BOOKS = sorted(EXAMPLES.glob("*.ipynb"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """One working folder: what the first notebook embeds, the next ones find."""
    return tmp_path_factory.mktemp("examples")


def code(book: Any) -> list[Any]:
    return [cell for cell in book.cells if cell.cell_type == "code"]


def kinds(cell: Any) -> list[Any]:
    """What a cell shows: its streams, and the formats of its results."""
    shown = [one for one in cell.outputs if one.get("name") != "stderr"]
    return [sorted(one.data) if "data" in one else one.output_type for one in shown]


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("default")  # of the client's own libraries; the kernel has its own
def test_a_notebook_runs_and_shows_what_it_holds(path, folder):
    stored, book = (nbformat.read(path, as_version=4) for _ in range(2))
    nbclient.NotebookClient(
        book,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
    ).execute()
    if os.environ.get("AFFEKT_NOTEBOOKS") == "write":
        for cell in code(book):
            cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr"]
        nbformat.write(book, path)
        stored = book
    for now, then in zip(code(book), code(stored), strict=True):
        assert now.execution_count == then.execution_count
        assert kinds(now) == kinds(then), then.source
    assert any(cell.outputs for cell in code(stored))


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_a_notebook_names_no_place_and_links_to_what_is_there(path):
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    text = path.read_text("utf-8")
    assert not re.search(r"/(?:home|root|tmp|work)/", text)
    for cell in book.cells:
        for link in re.findall(r"\]\(([^)]+)\)", cell.source):
            assert (EXAMPLES / link).is_file(), link
        assert not any(one.output_type == "error" for one in cell.get("outputs", ()))
