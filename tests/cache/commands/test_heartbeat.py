"""Lines that show that work goes on, on a clock of the test."""

from __future__ import annotations

import io
import sys
import threading

from affekt.cache.commands.heartbeat import Heartbeat, heartbeat
from affekt.cache.commands.terminal import PlainStream


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_line_after_every_30_seconds_of_silence():
    clock, lines = Clock(), []
    beats = Heartbeat(lines.append, clock=clock)
    beats.write_line("speech: training on 90 clips")
    for second in range(1, 96):
        clock.now = float(second)
        beats.beat()
        if second == 70:
            beats.write_line("comparing")
    assert lines == [
        "speech: training on 90 clips",
        "still speech: training on 90 clips, for 30 s",
        "still speech: training on 90 clips, for 60 s",
        "comparing",
    ]
    clock.now = 100.0
    beats.beat()
    assert lines[-1] == "still comparing, for 30 s"


def test_what_others_write_counts_as_a_sign_of_life():
    clock, lines = Clock(), []
    bar = Clock()
    beats = Heartbeat(lines.append, clock=clock, written=bar)
    clock.now, bar.now = 40.0, 20.0
    beats.beat()
    assert lines == []
    clock.now = 50.0
    beats.beat()
    assert lines == ["still at work, for 50 s"]


def test_a_log_gets_heartbeats_and_a_terminal_none(monkeypatch):
    lines = []
    before = threading.active_count()
    with heartbeat(lines.append) as progress:
        assert threading.active_count() == before + 1
        progress("hello")
    assert threading.active_count() == before
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with heartbeat(lines.append) as progress:
        assert threading.active_count() == before
        progress("again")
    assert lines == ["hello", "again"]


def test_the_stream_of_the_commands_knows_when_it_was_written():
    stream = PlainStream(io.TextIOWrapper(io.BytesIO()))
    assert stream.written == 0.0
    stream.write("x")
    assert stream.written > 0.0
