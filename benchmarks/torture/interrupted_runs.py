"""Kill `affekt run` at random moments: is a report ever a mixture, does the next run finish it?

    python benchmarks/torture/interrupted_runs.py [--kills 50] [--json FILE]

Each trial starts from a finished report of an earlier recipe, or from nothing, kills a run of the
next recipe, and looks at what is there: the report is the old one or the new one, file for file, or
readers refuse it. Then the run is finished, and must leave the files of an undisturbed one. Runs
are forks of this process, so that 50 of them take a minute.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from affekt.cache import InputError
from affekt.classify import run
from affekt.classify.experiments.results.report_folder import read_state
from affekt.classify.serving.loading import open_system

sys.path.insert(0, str(Path(__file__).resolve().parent))

from kept import RESULTS, keep, origin

RECIPE = """\
manifest: clips.csv
task: valence
cache: my.cache
encoders: {{text: ngram}}
split: {{{split}}}
members:
  lr: {{head: logistic, on: text, C: {C}}}
  {second}: {{head: logistic, on: text, C: 1}}
ensembles: [mean]
compare: {{n_resamples: 100, audit_audio: false, learning_curve: false}}
report: out
"""
SPEAKER = "scheme: speaker, test_size: 0.3, dev_size: 0.2"
KINDS = {
    "single": SPEAKER,
    "two at once": SPEAKER,
    "repeats": f"{SPEAKER}, repeats: 2",
    "folds": "scheme: group-kfold, n_splits: 3, dev_size: 0.2",
}
WORDS = {"negative": "rain dark cry", "neutral": "table road", "positive": "sun laugh happy"}
NOTE = Path("members", "lr", "notes.txt")  # of the user


def write_corpus(folder: Path) -> None:
    """Write clips.csv, with the texts of ten speakers."""
    rng = random.Random(0)
    rows = ["id,text,label,speaker"]
    for speaker in range(10):
        for label, words in WORDS.items():
            for n in range(2):
                text = " ".join(rng.choices(words.split(), k=4)) + f" {rng.randrange(10**6)}"
                rows.append(f"{speaker}-{label}-{n},{text},{label},s{speaker}")
    (folder / "clips.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def recipes(folder: Path, kind: str) -> tuple[str, str]:
    """Return the recipe before and the next one, which has another member and other settings."""
    before = RECIPE.format(split=SPEAKER, C=0.1, second="old")
    return before, RECIPE.format(split=KINDS[kind], C=10, second="new")


def forked(recipe: Path) -> int:
    """Start a run in a child; return its process id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        run(recipe)
        code = 0
    except InputError as error:
        code = 2 if "another run" in str(error) else 1
    finally:
        os._exit(code)


def wait(pid: int) -> int:
    """Return the exit code of a child, or minus its signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def files(folder: Path) -> dict[str, str]:
    """Return the digests of the files that make up a report."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.startswith(("old/", ".lock")):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def results(folder: Path) -> dict[str, str]:
    """Return the same without when and how fast a report was made."""
    found = files(folder)
    for name in found:
        if Path(name).name == "comparison.json":
            data = json.loads((folder / name).read_text(encoding="utf-8"))
            del data["made"]
            found[name] = json.dumps(data)
        elif Path(name).name in ("report.md", "report.html", "run.json"):  # written from it
            found[name] = "is there"
    return found


def check_whole(folder: Path) -> str:
    """Say what a reader finds: a whole report, a refusal; raise if it is a mixture."""
    state = read_state(folder)
    try:
        if state is not None and "repeats.json" in state["files"]:
            open_system(folder / "repeat-1", system="mean")
        else:
            open_system(folder, system="mean")
    except InputError as error:
        if "did not finish" in str(error) or "replacing its report" in str(error):
            return "refused"
        if state is None and not (folder / "comparison.json").exists():
            return "nothing there"
        raise
    assert state is not None, "a report without run.json"
    now = files(folder)
    wrong = [name for name, digest in state["files"].items() if now.get(name) != digest]
    assert not wrong, f"a mixture: {wrong}"
    return "whole"


class Trials:
    """Trials of one kind, in a folder.

    Parameters
    ----------
    folder : Path
    kind : str
        A key of `KINDS`.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self.kind = folder, kind
        folder.mkdir(parents=True)
        write_corpus(folder)
        self.before, self.next = recipes(folder, kind)
        self.report = folder / "out"
        self.recipe = folder / "r.yaml"
        self.recipe.write_text(self.before, encoding="utf-8")
        run(self.recipe)
        (self.report / NOTE).write_text("mine", encoding="utf-8")
        shutil.copytree(self.report, folder / "first")
        for uses in folder.glob("*test-uses*"):
            shutil.copy(uses, folder / "uses")
        begin = time.perf_counter()
        self.recipe.write_text(self.next, encoding="utf-8")
        assert wait(forked(self.recipe)) == 0
        self.seconds = time.perf_counter() - begin
        self.expected = results(self.report)

    def trial(self, rng: random.Random, fresh: bool) -> tuple[str, int]:
        """Kill a run, look, finish it; return what a reader found, and how many were killed."""
        shutil.rmtree(self.report)
        if not fresh:
            shutil.copytree(self.folder / "first", self.report)
        pids = [forked(self.recipe) for _ in range(2 if self.kind == "two at once" else 1)]
        time.sleep(rng.uniform(0.1, 1.05) * self.seconds)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        codes = [wait(pid) for pid in pids]
        assert all(code in (-9, 0, 2) for code in codes), codes
        return self.looked_at(fresh), sum(code == -9 for code in codes)

    def looked_at(self, fresh: bool) -> str:
        """Return what a reader finds, after the run was finished and compared."""
        found = check_whole(self.report) if self.report.exists() else "nothing there"
        assert wait(forked(self.recipe)) == 0, "the next run failed"
        now = results(self.report)
        expected = {k: v for k, v in self.expected.items() if not fresh or k != NOTE.as_posix()}
        odd = {name for name in now.keys() | expected.keys() if now.get(name) != expected.get(name)}
        assert not odd, f"other files than of an undisturbed run: {sorted(odd)}"
        assert run(self.recipe).did == [], "a third run had something to do"
        return found


def main() -> None:
    """Run the trials and print what they found, one line of JSON for each kind."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="Runs that a kill interrupted.")
    parser.add_argument("--json", type=Path, help=f"keep the results, as in {RESULTS.name}")
    options = parser.parse_args()
    bad, began, lines = 0, origin(), []
    with tempfile.TemporaryDirectory() as name:
        for kind in KINDS:
            trials, found = Trials(Path(name, kind.replace(" ", "-")), kind), Counter()
            killed, wanted, number = 0, -(-options.kills // len(KINDS)), 0
            while killed < wanted and number < 10 * wanted:  # a run may end before its kill
                number += 1
                try:
                    outcome, kills = trials.trial(random.Random(number), fresh=number % 3 == 2)
                    found[f"{outcome} after {kills} kills"] += 1
                    killed += kills > 0
                except AssertionError as error:
                    found[str(error)] += 1
                    bad += 1
            line = {"killed run": kind, "interrupted": killed, "found": found, "bad": bad}
            lines.append(line)
            print(json.dumps(line), flush=True)
    if options.json:
        keep(options.json, "interrupted runs", began, lines)
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
