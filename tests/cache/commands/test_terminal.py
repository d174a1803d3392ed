"""Colours of a terminal: ours where it has them, and none that a text asks for."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys

import pytest
from affekt.cache.commands import terminal
from affekt.cache.commands.terminal import GREEN, ORANGE, RED, PlainStream

TABLE = "system    UAR\n-------------\nmean *    0.7\nlr        0.6\n\n* chosen on dev\n"


class Terminal(io.BytesIO):
    """Bytes that say that they are a terminal's."""

    def isatty(self) -> bool:
        return True


def written(text: str) -> str:
    under = Terminal()
    stream = PlainStream(io.TextIOWrapper(under, encoding="utf-8"))
    stream.write(text)
    stream.flush()
    return under.getvalue().decode()


@pytest.fixture
def colours(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.mark.parametrize(
    ("settings", "is_red"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_an_error_is_red_on_a_terminal_that_has_colours(tmp_path, settings, is_red):
    ours, theirs = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    subprocess.run(
        [sys.executable, "-m", "affekt", "run", "gone.yaml"],
        cwd=tmp_path, env={**kept, "TERM": "xterm", **settings}, stderr=theirs, check=False,
    )  # fmt: skip
    said = os.read(ours, 10_000).decode()
    for end in (ours, theirs):
        os.close(end)
    assert "gone.yaml" in said
    assert said.startswith(f"\x1b[1;{RED}maffekt:\x1b[0m " if is_red else "affekt: ")


def test_nothing_is_painted_in_a_file(tmp_path, colours):
    said = subprocess.run(
        [sys.executable, "-m", "affekt", "run", "gone.yaml"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    ).stderr  # fmt: skip
    assert said.startswith("affekt: ")
    assert "\x1b" not in said


def test_head_and_chosen_row_of_a_table_stand_out(colours):
    shown = written(TABLE)
    assert shown.splitlines()[0] == "\x1b[1msystem    UAR\x1b[0m"
    assert shown.splitlines()[2] == f"\x1b[1;{GREEN}mmean *    0.7\x1b[0m"
    assert shown.count("\x1b[0m") == 2
    assert re.sub("\x1b\\[[0-9;]*m", "", shown) == TABLE


def test_a_text_cannot_ask_for_a_colour_of_its_own(colours):
    assert written("warning: \x1b[8mhidden\x1b[2J\n") == (
        f"\x1b[1;{ORANGE}mwarning:\x1b[0m \\x1b[8mhidden\\x1b[2J\n"
    )
    assert written("a \x1b[31mlabel\n") == "a \\x1b[31mlabel\n"


@pytest.mark.parametrize("colour", [GREEN, ORANGE, RED])
def test_colours_can_be_read_on_black_and_on_white(colour):
    cell = int(colour.rpartition(";")[2]) - 16  # of the cube of 6 x 6 x 6 that terminals share
    levels = [(0, 95, 135, 175, 215, 255)[cell // side % 6] / 255 for side in (36, 6, 1)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in levels]
    luminance = sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    assert (
        min((luminance + 0.05) / 0.05, 1.05 / (luminance + 0.05)) > 3.8
    )  # WCAG asks for 3 of bold


def test_json_stays_json_where_stdout_has_few_characters(tmp_path):
    """Also with a control character in a name, which `PlainStream` would write as Python does."""
    table = tmp_path / "clips.csv"
    table.write_text("text,label,weiß\x85r\na,joy,1\nb,fear,2\n", encoding="utf-8")
    for encoding in ("utf-8", "ascii"):
        found = subprocess.run(
            [sys.executable, "-m", "affekt", "manifest", str(table), "--json"],
            env={**os.environ, "PYTHONIOENCODING": encoding},
            capture_output=True,
            check=True,
        )
        assert "weiß\x85r" in json.loads(found.stdout)["kept"]


def test_a_stream_is_flushed_when_the_interpreter_ends(monkeypatch):
    """The names of a module are gone then; Python 3.13 prints what fails."""
    stream = PlainStream(io.TextIOWrapper(under := io.BytesIO(), encoding="utf-8"))
    stream.write("last")
    for name in vars(terminal):
        if not name.startswith("__"):
            monkeypatch.setattr(terminal, name, None)
    stream.close()
    assert under.closed
