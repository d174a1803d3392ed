"""Damaged files and hostile options in every command: no traceback, no changed input.

CI tries a few cases, always the same. ``make fuzz COUNT=20000`` tries as many new ones.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import random
import re
import resource
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from affekt.classify import cli
from affekt.classify.serving.http import cli_serve
from hypothesis import HealthCheck, Phase, given, settings, strategies as st

from .hostile_places import output_as_input, swap, through_a_pipe, twice
from .hostile_requests import Client, Sent, request
from .mutations import damaged, option
from .world import COMMANDS, OUTPUTS, READS, SLOW, Kept, build, call

COUNT = int(os.environ.get("AFFEKT_FUZZ", "0"))
#: slow ones are tried less often
NAMES = [name for name in COMMANDS for _ in range(1 if name in SLOW else 5)]
#: what is wrong in a case, and how often it is tried
KINDS = {"damage": 45, "option": 28, "request": 10, "output": 6, "swap": 6, "twice": 3, "pipe": 3}
SECONDS = 30  # a case that takes longer is one too
MEMORY = 4 << 30  # bytes of address space that a case may take
EXTRA = ("fastapi", "uvicorn", "python_multipart", "httpx")
#: commands that write, and those of them that go on where a memo cannot be written
FILED = ["extract text", "train", "predict clips", "card", "manifest", "cache pack"]
FILED += ["cache export", "cache import", "cache compact", "cache verify"]
TOLERANT = {"cache verify"}
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


class TooSlow(BaseException):
    """A case went on for too long."""


@dataclass
class Case:
    """One command, or one request, with one thing wrong."""

    words: list[str]
    kind: str = "option"
    path: Path | None = None
    data: bytes = b""
    was: bytes = b""
    said: str = ""
    seed: int = 0
    sent: Sent | None = None

    def __str__(self) -> str:
        words = [word if len(word) < 60 else f"{word[:50]}...({len(word)})" for word in self.words]
        if self.sent is not None:
            return f"{self.said} {self.sent}"
        if self.path is None:
            return f"{self.kind}: {self.said} {words}"
        if not self.data:
            return f"{self.kind}: {self.said} {words} {self.path}"
        pairs = enumerate(zip(self.data, self.was, strict=False))
        start = next((i for i, (a, b) in pairs if a != b), len(self.was))
        part = slice(max(0, start - 30), start + 60)
        change = f"{self.was[part]!r} -> {self.data[part]!r}"
        return f"{self.said} {words} {self.path.name}[{start}]: {change}"


def command_of(words: list[str]) -> click.Command:
    command: click.Command = cli.affekt
    for word in words[:2]:
        if isinstance(command, click.Group):
            found = command.get_command(click.Context(command), word)
            assert found is not None
            command = found
    return command


def draw(rng: random.Random, world: World) -> Case:
    name = rng.choice(NAMES)
    words = list(COMMANDS[name])
    kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
    if kind == "request" and world.client is not None:
        return Case(["serve"], kind, sent=request(rng, world.sound))
    if kind == "output" and (changed := output_as_input(rng, words)):
        return Case(changed, kind)
    if kind == "twice":
        return Case(twice(rng, words), kind)
    if kind == "pipe":
        return Case(words, kind, seed=rng.getrandbits(32))
    if kind == "option":
        for _ in range(rng.choice([1, 1, 2])):
            words += option(rng, command_of(words))
        return Case(words, kind)
    path = rng.choice(world.files[name])
    if kind == "swap":
        return Case(words, kind, path, seed=rng.getrandbits(32))
    was = world.kept.bytes[path]
    return Case(words, "damage", path, damaged(rng, path, was), was)


def problem(case: Case, world: World) -> str:
    """Run a case; return what is wrong in a line, or nothing."""
    kept, rng = world.kept, random.Random(case.seed)
    if case.path is not None:
        if case.kind == "swap":
            inside = case.path.parent != kept.folder and case.path.name not in case.words
            case.kind += f" {swap(rng, case.path, inside)}"
        else:
            case.path.unlink()
            case.path.write_bytes(case.data)
        before = kept.marks[case.path]
        kept.marks[case.path] = kept.mark(case.path)
    try:
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        with warnings.catch_warnings(), memory_limit():
            warnings.simplefilter("ignore")
            if case.sent is not None and world.client is not None:
                return world.client.problem(case.sent)
            if case.kind == "pipe":
                with through_a_pipe(rng, case.words) as words:
                    case.words = words
                    code, said = call(words)
            else:
                code, said = call(case.words)
    except TooSlow as error:
        return f"too slow: {place(error)}"
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and error.code in (1, 2, 3):
            return ""
        case.said = str(error)[:200]
        return f"traceback: {type(error).__name__} at {place(error)}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        changed = [path.relative_to(kept.folder) for path in kept.changed()]
        if case.kind == "swap folder" and case.path is not None and case.path.is_dir():
            changed.remove(case.path.relative_to(kept.folder))
        if case.path is not None:
            kept.marks[case.path] = (*before[:1], -1)  # to be restored
        kept.restore()
    if code not in (0, 1, 2, 3):
        return f"exit code {code!r}"
    if lost := _lost(case, kept, changed):
        return f"changed {lost[0]} of {' '.join(case.words[:2])}"
    if found := CONTROL.search(said):
        case.said = repr(said[max(0, found.start() - 100) : found.end() + 20])
        return f"control characters printed by {' '.join(case.words[:2])}"
    return ""


def _lost(case: Case, kept: Kept, changed: list[Path]) -> list[Path]:
    """Return the inputs that a command changed."""
    places = OUTPUTS
    if case.kind == "output":  # no output but the cache, where a command stores what it computed
        places = ("o", "my.cache", *(["out"] if "run" in case.words[:1] else []))
    lost = [path for path in changed if not path.parts[0].startswith(places)]
    if case.kind in ("option", "output", "twice"):  # an option names another place for the output
        lost = [path for path in lost if kept.folder / path in kept.bytes]
    if case.kind == "option":
        lost = [path for path in lost if str(path) not in case.words]
    return lost


@contextmanager
def memory_limit():
    """Let what reads without end fail soon."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def place(error: BaseException) -> str:
    """Return the innermost line of affekt, and the innermost of all."""
    frames = traceback.extract_tb(error.__traceback__)
    top = Path(cli.__file__).parents[1]
    own = [one for one in frames if Path(one.filename).is_relative_to(top)]
    return " < ".join(
        f"{Path(one.filename).name}:{one.lineno}" for one in [frames[-1], *own[:-4:-1]]
    )


@dataclass
class World:
    """The folder, its files that each command reads, and a service of it."""

    kept: Kept
    files: dict[str, list[Path]]
    client: Client | None
    sound: bytes


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz") / "a" / "b"
    folder.mkdir(parents=True)
    before = Path.cwd()
    os.chdir(folder)
    previous = signal.signal(signal.SIGALRM, too_slow)
    client = None
    try:
        kept = Kept(build(folder))
        if all(map(importlib.util.find_spec, EXTRA)):
            client = Client(folder / "out")
            kept = Kept(folder)
        yield World(kept, _files_read(kept), client, (folder / "wav" / "0.wav").read_bytes())
    finally:
        if client is not None:
            client.close()
        signal.signal(signal.SIGALRM, previous)
        os.chdir(before)


def _files_read(kept: Kept) -> dict[str, list[Path]]:
    return {
        name: sorted({p for one in patterns for p in kept.folder.glob(one) if p in kept.bytes})
        for name, patterns in READS.items()
    }


def app_ends(app):
    """Start and end a service, which would answer for ever."""
    from starlette.testclient import TestClient

    with TestClient(app):
        pass


@pytest.mark.parametrize("function", ["link", "rename", "replace", "fsync"])
def test_a_fault_of_the_file_system_ends_in_a_sentence_with_the_path(world, monkeypatch, function):
    met = 0

    def broken(*paths, **options):
        nonlocal met
        met += 1
        raise OSError(
            errno.EIO, os.strerror(errno.EIO), *(map(str, paths[:1] if paths[1:] else []))
        )

    for name in FILED:
        met = 0
        with monkeypatch.context() as patched:
            patched.setattr(os, function, broken)
            code, said = call(COMMANDS[name])
        world.kept.restore()
        assert code == (1 if met else 0) or (code == 0 and name in TOLERANT), (name, said)
        assert not code or re.search(r"Input/output error: '[^']+'", said), (name, said)


def too_slow(number, frame):
    raise TooSlow


def test_no_case_ends_in_a_traceback_or_changes_an_input(world, monkeypatch):
    monkeypatch.setattr(cli_serve, "_run", lambda app, *rest: app_ends(app))
    monkeypatch.setitem(sys.modules, "ray", None)  # an engine that is drawn would start a cluster
    found: dict[str, Case] = {}
    counts: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    seconds: Counter[str] = Counter()

    @settings(
        max_examples=COUNT or 120, derandomize=not COUNT, database=None, deadline=None,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate],
    )  # fmt: skip
    @given(st.integers(0, 2**64 - 1))
    def one(seed):
        case = draw(random.Random(seed), world)
        before = time.process_time()
        told = problem(case, world)
        seconds[case.words[0]] += time.process_time() - before
        counts[case.words[0]] += 1
        kinds[case.kind] += 1
        if COUNT and not counts.total() % 500:
            print(f"{counts.total()} cases, {len(found)} faults", flush=True)
        if told and told not in found:
            found[told] = case
            if COUNT:
                print(f"{sum(counts.values())} {told}\n    {case}", flush=True)

    one()
    if COUNT:
        print(f"{counts.total()} cases, {len(found)} faults: {dict(counts)}\n{dict(kinds)}")
        print({name: round(each / counts[name], 3) for name, each in seconds.items()})
    assert not found, "\n".join(f"{told}\n    {case}" for told, case in found.items())
