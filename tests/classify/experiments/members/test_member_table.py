"""The table of members on a terminal, and what a run tells of its members."""

from __future__ import annotations

import io
import re
import threading
from typing import Any

import pytest
from affekt.cache.commands.terminal import PlainStream
from affekt.classify import run
from affekt.classify.experiments.demo.corpus import write_corpus
from affekt.classify.experiments.members.member_table import MemberTable, member_table

RECIPE = """\
manifest: clips.csv
task: valence
cache: my.cache
encoders: {text: ngram}
split: {scheme: speaker, test_size: 0.34, dev_size: 0.17}
members:
  mlp: {head: mlp, on: text, max_epochs: 2}
  lr: {head: logistic, on: text}
ensembles: []
compare: {n_resamples: 200, learning_curve: false}
report: out
"""


def screen(text: str) -> list[str]:
    """What a terminal shows that knows lines, and how to go up and erase what is below."""
    lines = [""]
    for part in re.split(r"(\x1b\[\d+A\r\x1b\[J|\n)", text):
        if up := re.match(r"\x1b\[(\d+)A", part):
            del lines[len(lines) - 1 - int(up[1]) :]
            lines.append("")
        elif part == "\n":
            lines.append("")
        else:
            lines[-1] += part
    return lines[:-1]


@pytest.fixture
def terminal() -> tuple[PlainStream, io.BytesIO]:
    under = io.BytesIO()
    return PlainStream(io.TextIOWrapper(under, encoding="utf-8")), under


def test_rows_change_in_place_and_lines_stand_above(terminal):
    stream, under = terminal
    table = MemberTable(stream)
    table.show("lr", "waiting")
    table.show("speech\x1b[2J", "waiting")
    table.write_line("lr: training on 50 clips")
    table.show("lr", "training", 0.5, 65.0)
    table.show("lr", "training", None, 5.0)
    assert screen(under.getvalue().decode()) == [
        "lr: training on 50 clips",
        "member         state       dev  left",
        "lr             training  0.500  5 s",
        "speech\\x1b[2J  waiting",
    ]
    table.show("lr", "done", 0.625)
    table.show("speech\x1b[2J", "kept", 0.75)
    table.write_line("comparing")
    table.write_line("the next")
    assert screen(under.getvalue().decode())[-4:] == [
        "lr             done      0.625",
        "speech\\x1b[2J  kept      0.750",
        "comparing",
        "the next",
    ]


def test_a_long_table_is_not_drawn(terminal):
    stream, under = terminal
    table = MemberTable(stream)
    for number in range(16):
        table.show(f"lr{number}", "waiting")
    table.write_line("a line")
    assert screen(under.getvalue().decode()) == ["a line"]


def test_without_a_terminal_there_are_lines_only(capsys):
    with member_table(print) as (progress, on_member):
        on_member("lr", "waiting")
        progress("a line")
    assert capsys.readouterr().out == "a line\n"


def test_a_run_reports_the_state_of_members(tmp_path):
    write_corpus(tmp_path, voices=6, clips_per_voice=6)
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    rows: list[tuple] = []

    class Told:
        lock = threading.Lock()  # cannot be copied, as a terminal

        def __init__(self) -> None:
            self.own = self.lock

        def member(self, *row: Any) -> None:
            rows.append(row)

        def line(self, text: str) -> None:
            """Take a line."""

    run(path, on_member=Told().member, progress=Told().line)
    assert [row[:2] for row in rows if row[1] != "training"] == [
        ("mlp", "waiting"),
        ("lr", "waiting"),
        ("mlp", "done"),
        ("lr", "done"),
    ]
    training = [row for row in rows if row[:2] == ("mlp", "training")]
    assert len(training) == 1 + 2
    assert training[-1][3] == 0.0
    assert all(0 <= row[2] <= 1 for row in rows if len(row) > 2)
    path.write_text(RECIPE.replace("on: text}", "on: text, C: 2}"), encoding="utf-8")
    rows.clear()
    run(path, on_member=lambda *row: rows.append(row))
    assert [row[:2] for row in rows if row[1] in ("kept", "done")] == [
        ("mlp", "kept"),
        ("lr", "done"),
    ]
