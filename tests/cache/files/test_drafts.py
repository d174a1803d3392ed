"""Unfinished files: of random names, never through a link, and gone at the next run."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from affekt.cache import Manifest
from affekt.cache.files.atomic_writes import write_whole, written
from affekt.classify import Predictions
from affekt.classify.ensembles.saved import write_replays
from affekt.classify.experiments.results.repeats import write_repeats
from affekt.classify.models.folders.model_folder import CONFIG, FORMAT, write_folder

MODEL = {
    "affekt": "0", "task": {}, "labels": [], "features": [], "scale": False,
    "head": {"name": "x", "state": {}}, "record": {},
}  # fmt: skip


def write_model(place: Path) -> None:
    write_folder(place, MODEL, {"a": np.zeros(2)})


def write_predictions(place: Path) -> None:
    Predictions(["a"], ["x", "y"], [[0, 1]]).write(place)


def write_scaler(place: Path) -> None:
    write_whole(place, b"content", durable=True)


def write_clips(place: Path) -> None:
    Manifest.from_rows([{"id": "a", "text": "b"}]).write(place)


WRITERS = {
    "model": write_model,
    "pred.csv": write_predictions,
    "scaler.safetensors": write_scaler,
    "clips.csv": write_clips,
}


@pytest.fixture(scope="module")
def dead() -> int:
    """Process id of a process that has ended."""
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as process:
        process.wait()
    return process.pid


@pytest.mark.parametrize("name", WRITERS)
def test_what_a_killed_run_left_goes_at_the_next(tmp_path, dead, name):
    host = socket.gethostname()
    gone = tmp_path / f".{name}.{host}-{dead}-0123abcd"
    stay = [
        tmp_path / f".{name}.{host}-{os.getpid()}-0123abcd",  # of a run that goes on
        tmp_path / f".{name}.elsewhere-{dead}-0123abcd",  # of another machine
        tmp_path / f".{name}.{host}-{dead}-notes",  # of the user
        tmp_path / f".{name}.backup.tmp",
    ]
    for place in [gone, *stay]:
        if name == "model":
            place.mkdir()
            (place / "model.safetensors").write_bytes(b"half")
        else:
            place.write_bytes(b"half")
    WRITERS[name](tmp_path / name)
    assert {path.name for path in tmp_path.iterdir()} == {name, *(path.name for path in stay)}


def test_no_draft_has_a_name_that_others_can_guess(tmp_path):
    """A link under the name of a draft would lead its content to another file."""
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    report = tmp_path / "report"
    report.mkdir()
    (report / "report.md").write_text("# Report\n")
    for name in ("report.md", "repeats.json", "ensembles.json", "ensembles.safetensors"):
        (report / f"{name}.part").symlink_to(mine)
        (report / f".{name}.part").symlink_to(mine)
    write_whole(report / "report.md", "# Report\nmore")
    write_replays(report, {})
    with pytest.raises(KeyError):  # what it would write is not there; the draft is
        write_repeats(report, {})
    assert mine.read_text() == "mine"
    assert (report / "report.md").read_text() == "# Report\nmore"
    assert all(path.is_symlink() for path in report.glob("*.part"))


def test_a_draft_is_never_written_through_a_link(tmp_path, monkeypatch):
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    monkeypatch.setattr(
        "affekt.cache.files.atomic_writes.uuid.uuid4", lambda: type("U", (), {"hex": "0" * 32})
    )
    start = f".a.csv.{socket.gethostname()}-{os.getpid()}-{32 * '0'}"
    (tmp_path / start).symlink_to(mine)
    with pytest.raises(FileExistsError), written(tmp_path / "a.csv") as draft:
        draft.write_text("x")
    assert mine.read_text() == "mine"


def test_what_is_written_is_whole(tmp_path):
    write_model(tmp_path / "model")
    assert f'"{FORMAT}"' in (tmp_path / "model" / CONFIG).read_text()
    for name, write in list(WRITERS.items())[1:]:
        write(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 0
    assert not list(tmp_path.glob(".*"))
