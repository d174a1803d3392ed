"""A new user's half hour: the README's own commands, one after the other, in a folder of theirs.

The commands are read from the README and the Makefile, not copied. What make would run is asked of
`make -n`; the installed command stands for the environment that make builds, and test_wheel.py
installs the wheel into a fresh one.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .test_docs import BLOCK, ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = [(found["kind"], found["body"]) for found in BLOCK.finditer(README)]
COMMANDS = [
    line[2:].split("  #")[0].strip()
    for kind, body in BLOCKS
    if kind == "console"
    for line in body.splitlines()
    if line.startswith("$ ")
]


def command(start: str) -> str:
    """The first of README's commands that starts like this."""
    return next(one for one in COMMANDS if one.startswith(start))


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with a space in its name and files that would shadow bare imports."""
    folder = tmp_path_factory.mktemp("half hour") / "my clips"
    folder.mkdir()
    for name in ("cache.py", "extract.py", "classify.py", "torch.py"):
        (folder / name).write_text("raise SystemExit('a file of the user was imported')\n")
    return folder


def made(target: str) -> str:
    """What make would run, with the installed command in place of the one in .venv."""
    if shutil.which("make") is None:
        pytest.skip("no make on this machine")
    words = target.split()
    done = subprocess.run(
        ["make", "-n", "-s", "-C", str(ROOT), "-o", ".venv/ready", *words[1:]],
        capture_output=True, text=True, check=True, env={**os.environ, "MAKEFLAGS": ""},
    )  # fmt: skip
    [line] = [line for line in done.stdout.splitlines() if "affekt demo" in line]
    return line.replace(".venv/bin/", "")


def call(line: str, home: Path) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        line, shell=True, cwd=home, capture_output=True, text=True, timeout=240,
        env={**os.environ, "PATH": path},
    )  # fmt: skip
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_make_demo_runs_the_same_commands():
    assert made("make demo").split() == ["affekt", "demo", "-o", "demo"]
    own = made("make demo MANIFEST=clips.csv")
    assert own.split() == ["affekt", "demo", "--manifest", "'clips.csv'", "-o", "first"]


def test_a_new_users_half_hour(home):
    # the demo
    table = call(command("affekt demo"), home)
    assert "\nsystem " in table
    assert (home / "demo/out/report.md").is_file()

    # a table of their own, with the field's other names for columns
    with (home / "demo/corpus/clips.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    shutil.copytree(home / "demo/corpus/wav", home / "wav")
    voices = sorted({row["speaker"] for row in rows})[:9]
    with (home / "clips.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "file", "emotion", "spk", "transcript"])
        writer.writerows(
            [row["id"], row["path"], row["label"], row["speaker"], row["text"]]
            for row in rows
            if row["speaker"] in voices
        )
    assert "system " in call(command("affekt demo --manifest clips.csv"), home)  # demo/ is there

    # the recipe of the tour
    recipe = next(body for kind, body in BLOCKS if kind == "yaml" and "# file:" in body)
    name, _, text = recipe.removeprefix("# file:").partition("\n")
    (home / name.strip()).write_text(text, encoding="utf-8")
    assert call(command("affekt run"), home).startswith("system")
    chosen = json.loads((home / "out/comparison.json").read_text(encoding="utf-8"))["chosen"]

    # compare, and predict one file: by the member that README names, and by what dev chose
    assert call(command("affekt compare"), home).startswith("system")
    assert (home / "compared/report.md").is_file()
    told = call(command("affekt predict"), home)
    assert re.match(r"wav/.*\.wav\n(negative|neutral|positive) \(\d", told)
    words = f'affekt predict out --json --text "{rows[0]["text"]}" {rows[0]["path"]}'
    [answer] = json.loads(call(words, home))
    assert set(answer["scores"]) == {"negative", "neutral", "positive"}
    assert chosen in json.loads((home / "out/comparison.json").read_text())["systems"]
