"""Members trained in several processes: the same files, one error, and no process stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affekt.cache import AffektError
from affekt.classify import run
from affekt.classify.experiments.demo.corpus import write_corpus
from affekt.classify.experiments.members import side_by_side, trainer
from affekt.classify.experiments.members.side_by_side import Fit, SideBySide, count_workers
from affekt.classify.heads.training.loop import DivergedError

from tests.support.processes import started

RECIPE = """\
manifest: clips.csv
task: valence
cache: my.cache
encoders: {{speech: spectral, text: ngram}}
split: {{scheme: speaker, test_size: 0.34, dev_size: 0.17{split}}}
members:
  mlp: {{head: mlp, on: speech, seeds: 3, {settings}}}
  both: {{head: concat, on: [speech, text], {settings}}}
  lr: {{head: logistic, on: speech, C: [0.01, 0.1]}}
ensembles: [mean]
compare: {{n_resamples: 200, learning_curve: false}}
report: {report}
"""
WAIT = 120.0  # seconds; a test that waits longer has failed


def recipe(
    folder: Path, report: str, settings: str = "max_epochs: 3, batch_size: 32", split: str = ""
) -> Path:
    path = folder / f"{report}.yaml"
    path.write_text(RECIPE.format(report=report, settings=settings, split=split), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A corpus, and a run that trained one fit after another."""
    folder = tmp_path_factory.mktemp("side")
    write_corpus(folder, voices=9, clips_per_voice=10)
    run(recipe(folder, "alone"), n_jobs=1)
    return folder


@pytest.fixture
def worth(monkeypatch) -> None:
    """More processes are worth their start however little there is to learn."""
    monkeypatch.setattr(side_by_side, "WORTH", 0)


def contents(report: Path) -> dict[str, bytes]:
    """Every file of the members but the record, which holds paths of the report."""
    return {
        path.relative_to(report).as_posix(): path.read_bytes()
        for path in sorted(report.rglob("members/*/**/*"))
        if path.suffix in (".csv", ".safetensors")
    }


def test_members_and_seeds_have_the_same_bits_as_alone(folder, worth):
    said: list[str] = []
    outcome = run(recipe(folder, "together"), n_jobs=2, progress=said.append)
    assert "training 3 members in 2 processes" in said
    assert "mlp: seed 2: dev UAR" in "\n".join(said)
    assert outcome.did == [
        *("trained mlp", "trained both", "trained lr"),
        "compared members and ensembles",
    ]
    alone, together = contents(folder / "alone"), contents(folder / "together")
    assert len(alone) == 3 * 3 + 3
    assert together == alone


@pytest.mark.parametrize("pause", [0.0, 1e9])
def test_candidates_have_lines_of_their_own_only_where_they_are_slow(folder, monkeypatch, pause):
    monkeypatch.setattr(trainer, "PAUSE", pause)
    said: list[str] = []
    path = recipe(folder, f"lines-{pause:g}")
    lines = path.read_text(encoding="utf-8").splitlines()
    lr_alone = [line for line in lines if not line.strip().startswith(("mlp", "both", "ensembles"))]
    path.write_text("\n".join(lr_alone).replace(", text: ngram", ""), encoding="utf-8")
    run(path, n_jobs=1, progress=said.append)
    lines = [line for line in said if line.startswith("lr: C")]
    expected = [f"lr: C {value}: dev UAR" for value in (0.01, 0.1)]
    assert [line[:-6] for line in lines] == (expected if pause == 0 else [])


def test_an_error_of_a_fit_is_the_error_of_the_run(folder, worth):
    with pytest.raises(DivergedError, match="the training loss is"):
        run(recipe(folder, "wild", "learning_rate: 1.0e+30, clip_norm: null"), n_jobs=2)
    assert not list((folder / "wild").glob("members/*"))


class Unsendable(AffektError):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def test_an_error_that_cannot_be_made_again_is_sent_as_words():
    sent = side_by_side.sendable(Unsendable(1, 2))
    assert (type(sent), str(sent)) == (AffektError, "1 and 2")
    assert type(side_by_side.sendable(ValueError("a"))) is ValueError


class Anywhere(Fit):
    is_alone = False


def test_a_worker_that_dies_ends_the_run_with_what_to_do():
    with SideBySide(1) as pool:
        [child] = pool._children
        child.kill()
        child.wait()
        fit: Any = Anywhere
        with pytest.raises(AffektError, match=r"ended with -9 .*--n-jobs 1"):
            pool.run([lambda: list(pool.fit_each([fit(None, None)]))])


class Unknown(Anywhere):
    def __reduce__(self):
        return int, ("not a number",)


def test_a_fit_that_a_worker_cannot_read_ends_the_run():
    with SideBySide(1) as pool:
        fit: Any = Unknown(None, None)
        waiting = threading.Timer(WAIT, pool._children[0].kill)
        waiting.start()
        with pytest.raises(ValueError, match="not a number"):
            pool.run([lambda: list(pool.fit_each([fit]))])
        waiting.cancel()


def test_processes_start_where_they_are_worth_it():
    assert count_workers([900, 900], 8) == 1
    assert count_workers([900, 900, 900], 8) == 3
    assert count_workers([900] * 5, 2) == 2
    assert count_workers([900] * 5, 1) == 1


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def children(pid: int) -> set[int]:
    found = set()
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        found |= {int(one) for one in path.read_text().split()}
    return found


def until(true) -> None:
    deadline = time.monotonic() + WAIT
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_no_process_stays_after_a_signal(folder, number, code):
    report = f"stopped-{number.name}"
    path = recipe(folder, report, "max_epochs: 1000000, early_stopping: false")
    program = (
        "from affekt.classify.experiments.members import side_by_side as s, trainer;"
        "s.WORTH = trainer.PAUSE = 0;"
        f"from affekt.classify.cli import main; main(['run', {str(path)!r}, '--n-jobs', '2'])"
    )
    with started([sys.executable, "-c", program], stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if ": epoch " in line:  # a worker is in the middle of a training
                break
        workers = children(process.pid)
        assert len(workers) >= 2, lines
        os.killpg(process.pid, number)
        rest = process.communicate()[1]
        until(lambda: not any(map(alive, workers)))
    assert process.returncode == code
    assert "Traceback" not in rest
    assert not list((folder / report).glob("members/*"))
    if number is signal.SIGINT:  # what was not finished is not taken for a member
        assert not list((folder / report).rglob("member.json")) or np.all(
            [one.parent.name == "lr" for one in (folder / report).rglob("member.json")]
        )
