"""Closed streams, a full disk, limits and odd names: a sentence and the documented exit code."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from affekt.classify import cli

if os.name == "nt":
    pytest.skip("POSIX shells and limits", allow_module_level=True)

AFFEKT = [sys.executable, "-P", "-m", "affekt"]
ROWS = "id,path,text,label\na,a.wav,glad,joy\nb,b.wav,sorry,sad\n"


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    (tmp_path / "clips.csv").write_text(ROWS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(words: str, redirected: str = "", before: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command in a shell."""
    line = f'{before} exec "$@" {words} {redirected}'
    command = ["bash", "-c", line, "affekt", *AFFEKT]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_changes_nothing_but_what_is_printed(here, closed):
    done = run("extract clips.csv --cache my.cache --encoder ngram", closed)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    assert run("cache verify my.cache").stdout.startswith("2 rows in 1 shard,")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_under_the_standard_output_is_said(here):
    done = run("manifest clips.csv -o o.csv", "> /dev/full")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "No space left on device" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("extract clips.csv --cache my.cache --encoder ngram", 0),
        ("extract nothing.csv --cache my.cache --encoder ngram", 2),
        ("nonsense", 2),
    ],
)
def test_messages_that_a_full_disk_does_not_take_change_nothing(here, words, code):
    done = run(words, "2> /dev/full")
    assert done.returncode == code
    if not code:
        assert done.stdout.startswith("ngram-bag-")
        assert run("cache verify my.cache").stdout.startswith("2 rows in 1 shard,")


@pytest.mark.parametrize(
    ("before", "code", "told"),
    [
        ("ulimit -f 1;", 2, "cache my.cache cannot be written: File too large; raise the limit"),
        ("ulimit -f 8;", 1, "File too large: "),
        ("unset HOME;", 0, "2 clips"),
        ("export HOME=/dev/null/x TMPDIR=/dev/null/x;", 0, "2 clips"),
        ("export LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0;", 0, "2 clips"),
    ],
)
def test_limits_and_an_odd_environment(here, before, code, told):
    done = run("extract clips.csv --cache my.cache --encoder ngram", before=before)
    assert done.returncode == code, done.stderr
    assert told in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr


@pytest.mark.parametrize("error", [MemoryError(), ImportError("x.so: failed to map segment")])
def test_too_little_memory_is_said_wherever_it_shows(monkeypatch, capsys, error):
    def broken(*args, **options):
        raise error

    monkeypatch.setattr(cli.affekt, "main", broken)
    with pytest.raises(SystemExit) as end:
        cli.main(["--help"])
    assert end.value.code == 1
    assert "out of memory" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a\nb.csv", os.fsdecode(b"a\xff.csv"), "-a.csv", "a,b;c.csv"])
def test_odd_names_of_files(here, name):
    Path(name).write_text(ROWS)
    done = run(f"manifest -o o.csv -- {shlex.quote(name)}")
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert Path("o.csv").read_text().startswith("id,")


@pytest.mark.parametrize("change", ["bom", "crlf", "fifo"])
def test_odd_tables(here, change):
    data = ROWS.replace("\n", "\r\n") if change == "crlf" else ROWS
    Path("clips.csv").write_bytes((b"\xef\xbb\xbf" if change == "bom" else b"") + data.encode())
    words = "manifest clips.csv -o o.csv"
    if change == "fifo":
        os.mkfifo("pipe.csv")
        words = "manifest pipe.csv -o o.csv"
    done = run(words, before="(cat clips.csv > pipe.csv) &" if change == "fifo" else "")
    assert done.returncode == 0, done.stderr
    lines = Path("o.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == ["a", "b"]


def test_an_endless_id_is_refused_in_a_short_sentence(here):
    Path("clips.csv").write_text(ROWS.replace("\na,", f"\n{'a' * 10_000},"))
    done = run("manifest clips.csv -o o.csv")
    assert done.returncode == 2
    assert "clips.csv line 2: the id 'aaa" in done.stderr
    assert len(done.stderr) < 500
