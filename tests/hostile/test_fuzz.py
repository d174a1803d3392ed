"""Damaged files and hostile options in every command: no traceback, no changed input.

CI tries a few cases, always the same. ``make fuzz COUNT=20000`` tries as many new ones.
"""

from __future__ import annotations

import os
import random
import re
import signal
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from affekt.classify import cli
from hypothesis import HealthCheck, given, settings, strategies as st

from .mutations import damaged, option
from .world import COMMANDS, OUTPUTS, READS, SLOW, Kept, build, call

COUNT = int(os.environ.get("AFFEKT_FUZZ", "0"))
#: slow ones are tried less often
NAMES = [name for name in COMMANDS for _ in range(1 if name in SLOW else 5)]
SECONDS = 30  # a case that takes longer is one too
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


class TooSlow(BaseException):
    """A case went on for too long."""


@dataclass
class Case:
    """One command with one thing wrong."""

    words: list[str]
    path: Path | None = None
    data: bytes = b""
    was: bytes = b""
    said: str = ""

    def __str__(self) -> str:
        words = [word if len(word) < 60 else f"{word[:50]}...({len(word)})" for word in self.words]
        if self.path is None:
            return f"{self.said} {words}"
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


def draw(rng: random.Random, kept: Kept, files: dict[str, list[Path]]) -> Case:
    name = rng.choice(NAMES)
    words = list(COMMANDS[name])
    if rng.random() < 0.4:
        for _ in range(rng.choice([1, 1, 2])):
            words += option(rng, command_of(words))
        return Case(words)
    path = rng.choice(files[name])
    was = kept.bytes[path]
    return Case(words, path, damaged(rng, path, was), was)


def problem(case: Case, kept: Kept) -> str:
    """Run a case; return what is wrong in a line, or nothing."""
    if case.path is not None:
        case.path.unlink()
        case.path.write_bytes(case.data)
        before = kept.marks[case.path]
        kept.marks[case.path] = kept._mark(case.path)
    try:
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
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
        if case.path is not None:
            kept.marks[case.path] = (*before[:1], -1)  # to be restored
        kept.restore()
    if code not in (0, 1, 2, 3):
        return f"exit code {code!r}"
    lost = [path for path in changed if not path.parts[0].startswith(OUTPUTS)]
    if case.path is None:  # an option may have named another place for the output
        lost = [path for path in lost if kept.folder / path in kept.bytes]
        lost = [path for path in lost if str(path) not in case.words]
    if lost:
        return f"changed {lost[0]} of {' '.join(case.words[:2])}"
    if CONTROL.search(said):
        found = CONTROL.search(said)
        case.said = repr(said[max(0, found.start() - 100) : found.end() + 20])
        return f"control characters printed by {' '.join(case.words[:2])}"
    return ""


def place(error: BaseException) -> str:
    """Return the innermost line of affekt, and the innermost of all."""
    frames = traceback.extract_tb(error.__traceback__)
    top = Path(cli.__file__).parents[1]
    own = [one for one in frames if Path(one.filename).is_relative_to(top)]
    return " < ".join(
        f"{Path(one.filename).name}:{one.lineno}" for one in [frames[-1], *own[:-4:-1]]
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz") / "a" / "b"
    folder.mkdir(parents=True)
    before = Path.cwd()
    os.chdir(folder)
    previous = signal.signal(signal.SIGALRM, too_slow)
    try:
        yield Kept(build(folder))
    finally:
        signal.signal(signal.SIGALRM, previous)
        os.chdir(before)


def too_slow(number, frame):
    raise TooSlow


def test_no_case_ends_in_a_traceback_or_changes_an_input(world):
    files = {
        name: sorted(
            {
                path
                for pattern in patterns
                for path in world.folder.glob(pattern)
                if path in world.bytes
            }
        )
        for name, patterns in READS.items()
    }
    found: dict[str, Case] = {}
    counts: Counter[str] = Counter()

    @settings(
        max_examples=COUNT or 100, derandomize=not COUNT, database=None, deadline=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.integers(0, 2**64 - 1))
    def one(seed):
        case = draw(random.Random(seed), world, files)
        told = problem(case, world)
        counts[case.words[0]] += 1
        if COUNT and not counts.total() % 500:
            print(f"{counts.total()} cases, {len(found)} faults", flush=True)
        if told and told not in found:
            found[told] = case
            if COUNT:
                print(f"{sum(counts.values())} {told}\n    {case}", flush=True)

    one()
    if COUNT:
        print(f"{sum(counts.values())} cases, {len(found)} faults: {dict(counts)}")
    assert not found, "\n".join(f"{told}\n    {case}" for told, case in found.items())
