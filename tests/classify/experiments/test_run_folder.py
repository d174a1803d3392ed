"""The folder of a run is one thing: whole, of one recipe and one process; its user's files stay."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
from affekt.cache import InputError
from affekt.classify import run
from affekt.classify.evaluation.reports.card import model_card
from affekt.classify.experiments.preview import preview
from affekt.classify.experiments.results import report_folder
from affekt.classify.experiments.results.report_folder import (
    opened_report,
    put_in_place,
    read_state,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks" / "torture"))
import interrupted_runs

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A finished report in `out`, and beside it `ready`, the next one, just before it is placed."""
    top = tmp_path_factory.mktemp("runs") / "work"
    top.mkdir()
    interrupted_runs.write_corpus(top)
    before, after = interrupted_runs.recipes(top, "repeats")
    (top / "r.yaml").write_text(before)
    run(top / "r.yaml")
    (top / "out" / "members" / "lr" / "notes.txt").write_text("mine")
    shutil.copytree(top / "out", top / "first")
    (top / "r.yaml").write_text(after)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_folder, "put_in_place", stop_if_ready)
        with pytest.raises(KeyboardInterrupt):
            run(top / "r.yaml")
    (top / "out").rename(top / "ready")
    shutil.copytree(top / "first", top / "out")
    return top


def stop_if_ready(folder: Path) -> None:
    if (folder / ".ready").exists():
        raise KeyboardInterrupt


def placed_and_killed(folder: Path, moment: int) -> int:
    """Put a report in place in a child that dies at a change of the folder; return its code."""
    pid = os.fork()
    if not pid:
        left = [moment]

        def at(event: str, _: object) -> None:
            if event in ("os.rename", "os.remove", "os.rmdir"):
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(at)
        try:
            put_in_place(folder)
            os._exit(0)
        finally:
            os._exit(1)
    return interrupted_runs.wait(pid)


def test_a_kill_at_every_moment_leaves_a_whole_report_or_a_refusal(made, tmp_path):
    shutil.copytree(made / "ready", tmp_path / "whole")
    put_in_place(tmp_path / "whole")
    expected = interrupted_runs.files(tmp_path / "whole")
    old = {str(p.relative_to(tmp_path / "whole")) for p in (tmp_path / "whole/old").rglob("*")}
    found, moment, code = set(), 0, -9
    while code:
        folder = tmp_path / "out"
        shutil.copytree(made / "ready", folder)
        code = placed_and_killed(folder, moment)
        assert code in (0, -9)
        found.add(interrupted_runs.check_whole(folder))
        put_in_place(folder)
        assert interrupted_runs.files(folder) == expected
        assert {str(p.relative_to(folder)) for p in (folder / "old").rglob("*")} == old
        shutil.rmtree(folder)
        moment += 3
    assert moment > 40
    assert found == {"refused", "whole"}


def test_what_a_recipe_no_longer_makes_is_in_old_and_the_users_files_stay(made, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(made / "ready", folder)
    (folder / "report.md").write_text("changed by hand")
    put_in_place(folder)
    assert (folder / "members" / "lr" / "notes.txt").read_text() == "mine"
    assert (folder / "old" / "report.md").read_text() == "changed by hand"
    assert not (folder / "comparison.json").exists()
    assert (folder / "old" / "comparison.json").is_file()
    with pytest.raises(InputError, match="repeat-1"):
        model_card(folder)


def test_a_report_is_of_one_recipe(made):
    text = (made / "r.yaml").read_text()
    (made / "other.yaml").write_text(text.replace("C: 10", "C: 3"))
    with pytest.raises(InputError, match=r"belongs to the recipe .*r\.yaml.*--force"):
        run(made / "other.yaml")
    with pytest.raises(InputError, match=r"belongs to the recipe .*r\.yaml.*--force"):
        preview(made / "other.yaml")
    assert not preview(made / "other.yaml", force=True).is_current
    assert not (made / "out" / ".unfinished").exists()


def test_files_of_the_user_are_not_taken_for_a_report(made, tmp_path):
    shutil.copy(made / "clips.csv", tmp_path)
    text = interrupted_runs.recipes(made, "single")[1].replace("report: out", "report: .")
    (tmp_path / "r.yaml").write_text(text.replace("my.cache", str(made / "my.cache")))
    (tmp_path / "split.csv").write_text("id,split\nmy,own\n")
    with pytest.raises(InputError, match=r"holds split\.csv, which no run wrote"):
        run(tmp_path / "r.yaml")
    assert (tmp_path / "split.csv").read_text() == "id,split\nmy,own\n"
    assert not (tmp_path / "members").exists()


def test_a_lock_of_another_program_and_links_are_refused(tmp_path):
    """A run removes its lock at its end, and what it finds in `.unfinished/` at its beginning."""
    recipe, folder, notes = (tmp_path / name for name in ("r.yaml", "out", "notes"))
    recipe.write_text("")
    folder.mkdir()
    notes.mkdir()
    (notes / "thesis.txt").write_text("mine")
    (folder / ".lock").write_text("mine")
    with pytest.raises(InputError, match="no run wrote"), opened_report(folder, recipe, force=True):
        pass
    assert (folder / ".lock").read_text() == "mine"
    (folder / ".lock").unlink()
    for name in (".unfinished", ".ready", "old"):
        (folder / name).symlink_to(notes)
        with pytest.raises(InputError, match="a link"), opened_report(folder, recipe, force=True):
            pass
        (folder / name).unlink()
    assert (notes / "thesis.txt").read_text() == "mine"


def test_one_run_at_a_time(tmp_path):
    with opened_report(tmp_path / "out", tmp_path / "r.yaml", force=False):
        pid = os.fork()
        if not pid:
            try:
                with opened_report(tmp_path / "out", tmp_path / "r.yaml", force=False):
                    os._exit(1)
            except InputError as error:
                os._exit(7 if "another run" in str(error) else 1)
            finally:
                os._exit(1)
        assert interrupted_runs.wait(pid) == 7
    assert not (tmp_path / "out" / ".unfinished").exists()
    assert read_state(tmp_path / "out") is None


def test_killed_runs_are_finished_as_if_undisturbed(tmp_path):
    """A small form of benchmarks/torture/interrupted_runs.py."""
    import random

    trials = interrupted_runs.Trials(tmp_path / "single", "single")
    for seed, fresh in ((1, False), (2, True)):
        trials.trial(random.Random(seed), fresh)
