"""Shell completion through the command's own entry point: right words, and nothing heavy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from affekt.classify.cli import COMMANDS

CODE = """
import json, sys
from affekt.classify.cli import main
try:
    main()
finally:
    sys.stderr.write(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""


def ask(kind: str, line: str = "") -> tuple[list[str], set[str]]:
    """Return the lines of the answer, and the packages that were imported for it."""
    words = line.split(" ")
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), "_AFFEKT_COMPLETE": kind}
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, env={**os.environ, **asked},
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), set(filter(None, done.stderr.strip('[]"').split('", "')))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("affekt ", list(COMMANDS)),
        ("affekt do", ["doctor"]),
        ("affekt run --ch", ["--check"]),
        ("affekt cache ver", ["verify"]),
        ("affekt train --hea", ["--head"]),
        ("affekt nothing --hea", []),
    ],
)
def test_names_of_commands_and_options(line, words):
    said, imported = ask("bash_complete", line)
    assert [one for one in said if one] == [f"plain,{word}" for word in words]
    assert not imported & {"torch", "sklearn", "transformers", "scipy", "h5py"}


def test_a_command_is_explained_where_the_shell_shows_it():
    said, imported = ask("zsh_complete", "affekt ca")
    assert said[:3] == ["plain", "card", COMMANDS["card"][2]]
    assert "numpy" not in imported  # no command is imported for its name


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell(shell):
    said, imported = ask(f"{shell}_source")
    assert "_AFFEKT_COMPLETE" in "\n".join(said)
    assert "numpy" not in imported


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_takes_the_script():
    script = "\n".join(ask("bash_source")[0])
    shown = f"{script}\ncomplete -p affekt"
    done = subprocess.run(["bash", "-c", shown], capture_output=True, text=True, check=False)
    assert "-F _affekt_completion affekt" in done.stdout, done.stderr
