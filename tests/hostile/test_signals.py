"""SIGINT, SIGTERM and SIGHUP end every stage of every command, and leave nothing behind.

A few stages are tried; ``AFFEKT_SIGNALS=all`` tries all of them.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support import forked_commands

from .world import COMMANDS, RECIPE, build

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
PATIENCE = 60  # seconds; far more than a loaded machine needs
RUN, EVALUATION = "affekt.classify.experiments", "affekt.classify.evaluation"
#: stage -> what the command is in, and its words where they are not those of `COMMANDS`
STAGES: dict[str, tuple[str, list[str] | None]] = {
    "manifest": ("affekt.cache.manifest.described:described", None),
    "extract text": ("affekt.extract.builtin.ngram:Ngram.embed", None),
    "extract model": ("affekt.extract.encoder:Encoder.embed", None),
    "train": (f"{RUN}.members.train:train_model", None),
    "probe": ("affekt.classify.probing.nested:probe", None),
    "run: clips are embedded": ("affekt.extract.builtin.spectral:Spectral.embed", ["anew.yaml"]),
    "run: members are trained": (f"{RUN}.run:train_member", ["again.yaml"]),
    "run: models are written": (f"{RUN}.members.member_folder:replace_folder", ["again.yaml"]),
    "run: intervals are drawn": (f"{EVALUATION}.compare:resample", ["again.yaml"]),
    "run: analyses": (f"{EVALUATION}.compare:extras", ["again.yaml"]),
    "run: the report is written": (f"{RUN}.results.compare_members:describe_run", ["again.yaml"]),
    "run: the report is put in place": (f"{RUN}.results.report_folder:file_sha256", ["again.yaml"]),
    "predict run": ("affekt.classify.models.new_clips.system:System.predict", None),
    "predict file": ("affekt.extract.inputs.isolated_decoder:Decoder.__call__", None),
    "compare": (f"{EVALUATION}.compare:resample", None),
    "card": (f"{EVALUATION}.reports.card:model_card", None),
    "cache verify": ("affekt.cache.care.verifying:_check_file", None),
    "cache repair": ("affekt.cache.care.verifying:_check_file", None),
    "cache compact": ("affekt.cache.space:Space.compact", None),
    "cache export": ("affekt.cache.care.import_export:_write", None),
    "cache import": ("affekt.cache.care.import_export:_store", None),
    "cache pack": ("affekt.cache.care.packing:_copy", None),
    "cache merge": ("affekt.cache.care.merging:_copy_shards", None),
    "convert-scaler": ("affekt.classify.models.scalers.plain_scaler:_in_subprocess", None),
    "import-model": ("affekt.classify.models.published:published", None),
    "transcribe": (
        "affekt.extract.transcription.fill_in_texts:_Transcription.transcribe",
        ["transcribe", "silent.csv", "-o", "o/texts.csv", "--model", "whisper"],
    ),
    "doctor": ("affekt.cache.commands.cli_doctor:commands", None),
    "init": ("affekt.classify.experiments.first_recipe.recipe_for:_try", None),
    "demo": ("affekt.classify.experiments.demo.corpus:write_corpus", ["demo", "-o", "o/demo"]),
    "serve": ("once affekt.classify.serving.http.cli_serve:_say_ready", None),
    "run: the last report is put aside": (f"{RUN}.results.report_folder:_retire", ["fewer.yaml"]),
}
#: those that are always tried, with one signal each
FEW = (
    "extract model",
    "run: members are trained",
    "run: the report is put in place",
    "predict file",
    "cache compact",
    "serve",
)
TRIED = list(STAGES if os.environ.get("AFFEKT_SIGNALS") == "all" else FEW)
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Forks:
    """A process that forks commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-P", forked_commands.__file__],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def start(self, words: list[str], stay: str, nohup: bool = False) -> Fork:
        assert self.process.stdin is not None
        fork = Fork(self.folder)
        job = {"words": words, "stay": stay, "folder": str(self.folder), "nohup": nohup}
        job |= {"mark": fork.mark, **{name: str(fork.places[name]) for name in fork.places}}
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        fork.pid = int(self.line())
        return fork


class Fork:
    """A command that runs, and the files in which it says how far it is."""

    count = 0

    def __init__(self, folder: Path) -> None:
        Fork.count += 1
        self.pid = 0
        self.mark = f"affekt-fork-{os.getpid()}-{Fork.count}"
        self.places = {
            name: folder.parent / self.mark / name for name in ("begun", "ended", "said")
        }
        self.places["said"].parent.mkdir()

    def has(self, what: str) -> bool:
        return self.places[what].exists() and bool(what == "begun" or self.code())

    def code(self) -> str:
        return self.places["ended"].read_text() if self.places["ended"].exists() else ""

    def said(self) -> str:
        place = self.places["said"]
        return place.read_text(errors="replace") if place.exists() else ""

    def wait(self, what: str) -> bool:
        end = time.monotonic() + PATIENCE
        while not self.has(what):
            if time.monotonic() > end or (what != "ended" and self.has("ended")):
                return False
            time.sleep(0.02)
        return True

    def children(self) -> list[str]:
        """Return the processes that it started and that go on."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                state = (place / "stat").read_text().rpartition(")")[2].split()[0]
                if self.mark.encode() in (place / "environ").read_bytes() and state not in "ZX":
                    found.append((place / "cmdline").read_text()[:200].replace("\0", " "))
        return found

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            if not self.has("ended"):
                os.kill(self.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def forks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forks") / "world"
    folder.mkdir()
    before = Path.cwd()
    os.chdir(folder)
    try:
        build(folder)
    finally:
        os.chdir(before)
    (folder / "silent.csv").write_text("id,path\n0,wav/0.wav\n")
    (folder / "again.yaml").write_text(RECIPE.replace("report: out", "report: o/out"))
    (folder / "anew.yaml").write_text(
        RECIPE.replace("report: out", "report: o/out").replace("my.cache", "o/new.cache")
    )
    shutil.copytree(folder / "out", folder / "last")
    (folder / "fewer.yaml").write_text(
        RECIPE.replace("report: out", "report: last").replace("  both:", "  other:")
    )
    one = Forks(folder)
    with one.process:
        try:
            assert one.line() == "ready"
            yield one
        finally:
            one.process.kill()


def words_of(stage: str) -> list[str]:
    words = STAGES[stage][1]
    if words is None:
        return list(COMMANDS[stage])
    return words if len(words) > 1 else ["run", *words, *["--force"] * (words == ["fewer.yaml"])]


@pytest.mark.parametrize("stage", TRIED)
def test_a_signal_ends_a_stage_and_leaves_nothing(stage, forks):
    shutil.rmtree(forks.folder / "o")
    (forks.folder / "o").mkdir()
    words = words_of(stage)
    number = SIGNALS[TRIED.index(stage) % 3]
    fork = forks.start(words, STAGES[stage][0])
    try:
        assert fork.wait("begun"), fork.said()
        os.kill(fork.pid, number)
        assert fork.wait("ended"), fork.said()
        expected = 0 if stage == "serve" else 128 + number
        assert fork.code() == str(expected), fork.said()
        assert "Traceback" not in fork.said()
        end = time.monotonic() + PATIENCE
        while (left := fork.children()) and time.monotonic() < end:
            time.sleep(0.05)
        assert not left
        assert not list(Path("/dev/shm").glob(f"*[-_]{fork.pid}[-_]*"))
        drafts = [path for path in (forks.folder / "o").rglob(".*") if f"-{fork.pid}-" in path.name]
        assert not drafts
    finally:
        fork.kill()


@pytest.mark.parametrize("stage", ["extract text", "serve"])
def test_under_nohup_a_hangup_is_ignored(stage, forks):
    shutil.rmtree(forks.folder / "o")
    (forks.folder / "o").mkdir()
    fork = forks.start(words_of(stage), STAGES[stage][0], nohup=True)
    try:
        assert fork.wait("begun"), fork.said()
        for _ in range(3):
            os.kill(fork.pid, signal.SIGHUP)
        os.kill(fork.pid, signal.SIGTERM)  # of two that wait, the hangup comes first
        assert fork.wait("ended"), fork.said()
        assert fork.code() == ("0" if stage == "serve" else "143"), fork.said()
    finally:
        fork.kill()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_module_as_a_command(number, tmp_path):
    """`python -m affekt` reads a pipe, into which nothing is written."""
    os.mkfifo(tmp_path / "clips.csv")
    words = [sys.executable, "-m", "affekt", "manifest", "clips.csv", "-o", "out.csv"]
    with subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        try:
            pipe = opened_by_a_reader(tmp_path / "clips.csv", process)
            process.send_signal(number)
            _, said = process.communicate(timeout=PATIENCE)
            os.close(pipe)
        finally:
            process.kill()
    assert process.returncode == 128 + number, said
    assert "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["clips.csv"]


def opened_by_a_reader(pipe: Path, process: subprocess.Popen[str]) -> int:
    """Wait until a process reads a pipe; return the end to write."""
    end = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:  # nobody reads it yet
                raise
        time.sleep(0.02)
    raise AssertionError(f"{pipe.name} was not opened")
