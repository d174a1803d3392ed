"""What is written is true: docstring examples, and every block of README and docs, are run.

A block runs in a folder of its own for each page, which holds a small synthetic corpus
(`clips.csv`, `wav/`). ```python blocks of a page share their names. In ```console blocks the lines
after ``$`` are run, and lines that follow are what has to be printed, with ``...`` for what may
differ. A command that ends in ``&`` is a service: it runs until its page ends, on a free port
instead of 8000. A ```yaml or ```csv block whose first line is ``# file: NAME`` is written there.
``<!-- not run -->`` on the line above a block says that it needs what a test machine has not got.
"""

from __future__ import annotations

import contextlib
import doctest
import importlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from affekt.classify.cli import affekt
from click.testing import CliRunner

from ..support.processes import started

ROOT = Path(__file__).resolve().parents[2]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
MODULES = sorted(
    "affekt." + ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in ("cache", "extract", "classify")
    for path in (ROOT / package).rglob("*.py")
    if path.name not in ("__init__.py", "pickled_scaler.py")
)
BLOCK = re.compile(
    r"(?P<skip><!-- not run[^>]*-->\n)?^```(?P<kind>[a-z]+)[^\n]*\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@pytest.fixture(autouse=True)
def _own_names(monkeypatch):
    """What an example registers is forgotten after it."""
    from affekt.classify.heads import registry
    from affekt.extract import encoder_names

    for module in (registry, encoder_names):
        monkeypatch.setattr(module._OWN, "_found", {})


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    finder = doctest.DocTestFinder(exclude_empty=True)
    runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
    said: list[str] = []
    for test in finder.find(module, name):
        if not any(part.startswith("_") for part in test.name.split(".")[len(name.split(".")) :]):
            runner.run(test, out=said.append)
    assert not runner.summarize(verbose=False).failed, "".join(said)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    from affekt.classify.experiments.demo.corpus import write_corpus

    return write_corpus(tmp_path_factory.mktemp("corpus"), voices=9, clips_per_voice=10).parent


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_of_a_page(page, corpus, tmp_path, monkeypatch):
    folder = Path(shutil.copytree(corpus, tmp_path / "here"))
    monkeypatch.chdir(folder)
    names: dict[str, object] = {"__name__": "__main__"}
    text = page.read_text(encoding="utf-8").replace("8000", _free_port())
    with contextlib.ExitStack() as services:
        _run_blocks(page, text, names, services)


def _run_blocks(
    page: Path, text: str, names: dict[str, object], services: contextlib.ExitStack
) -> None:
    for found in BLOCK.finditer(text):
        if found["skip"]:
            continue
        line = text.count("\n", 0, found.start("body")) + 1
        where = f"{page.name}:{line}"
        if found["kind"] == "python":
            exec(compile("\n" * (line - 1) + found["body"], str(page), "exec"), names)
        elif found["kind"] == "console":
            _run_console(found["body"], where, services)
        elif found["kind"] in ("yaml", "csv"):
            first, _, rest = found["body"].partition("\n")
            if first.startswith("# file:"):
                Path(first.removeprefix("# file:").strip()).write_text(rest, encoding="utf-8")


def _free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return str(one.getsockname()[1])


def _start(command: str, path: str, services: contextlib.ExitStack) -> None:
    """Start a service, wait until it answers, and leave its end to `services`."""
    words = shlex.split(command)[:-1]
    env = {**os.environ, "PATH": path}
    service = services.enter_context(started(words, stderr=subprocess.PIPE, env=env))

    def end() -> None:
        service.send_signal(signal.SIGTERM)
        _, said = service.communicate(timeout=60)
        assert service.returncode == 0, f"{command}\n{said}"

    services.callback(end)
    assert service.stderr is not None
    for line in service.stderr:
        if " answers at " in line:
            return


def _run_console(body: str, where: str, services: contextlib.ExitStack) -> None:
    commands = re.split(r"^\$ ", body, flags=re.MULTILINE)
    assert not commands[0].strip(), f"{where}: a console block starts with '$ '"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for entry in commands[1:]:
        command, _, expected = entry.partition("\n")
        words = shlex.split(command, comments=True)
        if words[0] in ("make", "pip", "python3", "git", "cd"):
            continue  # set-up and the targets of the Makefile, which continuous integration runs
        if words[:2] == ["affekt", "demo"] and where.startswith("README"):
            continue  # test_half_hour.py runs it
        if command.endswith(" &"):
            _start(command, path, services)
            continue
        code, out, err = _call(command, words, path)
        assert code in (0, 3), f"{where}: {command}\n{out}{err}"
        checker = doctest.OutputChecker()
        if expected.strip():
            assert checker.check_output(expected.strip() + "\n", out, FLAGS), (
                f"{where}: {command}\nprinted\n{out}"
            )


def _call(command: str, words: list[str], path: str) -> tuple[int, str, str]:
    """Run a command here if it needs no shell: test_half_hour.py and others start processes."""
    if words[0] == "affekt" and not re.search(r"[|<>&;*$`~]", command):
        done = CliRunner().invoke(affekt, words[1:])
        return done.exit_code, done.stdout, done.stderr + repr(done.exception)
    env = {**os.environ, "PATH": path}
    done = subprocess.run(command, shell=True, capture_output=True, text=True, env=env, timeout=240)
    return done.returncode, done.stdout, done.stderr
