"""Python files beside a user's data are data: no command and no process of one runs them."""

from __future__ import annotations

import ast
import os
import sys
import sysconfig
from functools import cache
from pathlib import Path
from subprocess import CompletedProcess, run

import pytest

import affekt

from ..support.command_tree import every_command
from .world import COMMANDS, build

ROOT = Path(affekt.__file__).resolve().parents[1]


@cache
def imported() -> set[str]:
    """Return every module of others that a line of ours imports, for whatever command or option."""
    found = set()
    for package in ("affekt", "cache", "extract", "classify"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    found |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                    found.add(node.module)
    return found


#: packages that those of affekt import, and what Python looks for as it starts
MODULES = {
    *("cache", "classify", "extract", "cloudpickle", "pandas", "sitecustomize", "usercustomize"),
    *("argparse", "asyncio", "decimal", "fcntl", "ipaddress", "pickle", "queue", "resource"),
    *("random", "secrets", "socket", "string", "tokenizers", "uuid", "wave", "weakref"),
}
CODE = "import pathlib\npathlib.Path(__file__ + '.ran').touch()\nraise ImportError('hostile')\n"
#: what the console script does, for one command after another; then it imports what else a line of
#: ours does, for whatever option
SCRIPT = """\
import sys
from affekt.classify.cli import main
import importlib, os, shutil, signal
from affekt.classify.serving.http import cli_serve
cli_serve._say_ready = lambda *_: os.kill(os.getpid(), signal.SIGTERM)
failed = []
for name, words in {commands!r}.items():
    shutil.rmtree("o", ignore_errors=True)
    os.mkdir("o")
    sys.argv[1:] = words
    try:
        main()
    except SystemExit as end:
        if end.code:
            failed.append((name, end.code))
for name in {imported!r}:
    try:
        importlib.import_module(name)
    except ImportError as error:
        assert "hostile" not in str(error), name
print("failed:", failed)
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("mine")
    before = Path.cwd()
    os.chdir(folder)
    try:
        build(folder)
    finally:
        os.chdir(before)
    for name in (MODULES | {name.split(".")[0] for name in imported()}) - {"scipy"}:
        (folder / f"{name}.py").write_text(CODE)
    (folder / "scipy").mkdir()
    (folder / "scipy" / "__init__.py").write_text(CODE)
    return folder


def ran(world: Path) -> list[str]:
    return sorted(path.name for path in world.rglob("*.ran"))


def called(world: Path, *words: object, **changes: str) -> CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return run(
        [sys.executable, *map(str, words)],
        cwd=world, env=environment | {"OMP_NUM_THREADS": "1"} | changes,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_no_command_and_no_line_of_ours_runs_a_module_of_the_working_folder(world, tmp_path):
    given = dict(COMMANDS) | {"serve": ["serve", "model", "--port", "0"]}
    given["transcribe"] = [*given["transcribe"], "--overwrite"]  # its clips have texts
    given["demo"] = ["demo", "--manifest", "clips.csv", "--task", "task.yaml", "-o", "o/demo"]
    given["extract workers"] = ["extract", "clips.csv", "--cache", "o/w.cache"]
    given["extract workers"] += ["--encoder", "spectral", "--workers", "2"]
    untried = {words for words, _ in every_command()} - {
        tuple(w[:n]) for w in given.values() for n in (1, 2)
    }
    assert not untried
    fits = ("train", "probe", "demo")  # the others may leave a process that can only serve
    given = dict(sorted(given.items(), key=lambda item: item[1][0] not in fits))
    script = tmp_path / "affekt"
    script.write_text(SCRIPT.format(commands=given, imported=sorted(imported())))
    done = called(world, script)
    assert "failed: []" in done.stdout, done.stdout + done.stderr
    assert "decoder_crash" not in done.stderr
    assert ran(world) == []


@pytest.mark.parametrize("words", [["--version"], ["cache", "ls", "my.cache"]])
def test_the_console_script_runs_none_either(world, words):
    done = called(world, Path(sysconfig.get_path("scripts"), "affekt"), *words)
    assert done.returncode == 0, done.stderr
    assert ran(world) == []


def test_python_m_runs_none_after_our_first_line(world, tmp_path):
    """What Python imports before that it takes from the working folder; -P stops it."""
    for name in ("click", "yaml", "numpy", "h5py", "tqdm", "torch", "json", "csv", "soundfile"):
        (tmp_path / f"{name}.py").write_text(CODE)
    words = ["-m", "affekt.classify.cli", "extract", world / "two.csv", "-e", "spectral", "-c", "c"]
    done = called(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert ran(tmp_path) == []
    done = called(world, "-P", "-m", "affekt.classify.cli", "cache", "ls", "my.cache")
    assert done.returncode == 0, done.stderr
    assert ran(world) == []


def test_children_are_safe_where_pythonpath_has_a_blank_entry(tmp_path):
    """As ``export PYTHONPATH=$PYTHONPATH:/mine`` leaves one, which means the working folder."""
    code = (
        "import sys, os;"
        "from affekt.cache.commands.signals import import_nothing_from_here as no;"
        "no(); assert '' not in sys.path and os.getcwd() not in sys.path, sys.path;"
        "assert os.environ['PYTHONSAFEPATH'] == '1';"
        "assert os.environ['PYTHONPATH'] == '/mine'"
    )
    done = called(tmp_path, "-c", code, PYTHONPATH=os.pathsep + "/mine")
    assert done.returncode == 0, done.stderr


def test_a_blank_entry_of_pythonpath_lets_none_in_after_our_first_line(world, tmp_path):
    for name in ("click", "yaml", "numpy", "h5py", "tqdm", "torch", "json", "csv", "soundfile"):
        (tmp_path / f"{name}.py").write_text(CODE)
    script = Path(sysconfig.get_path("scripts"), "affekt")
    words = [script, "extract", world / "two.csv", "-e", "spectral", "-c", "c"]
    done = called(tmp_path, *words, PYTHONPATH=os.pathsep)
    assert done.returncode == 0, done.stderr
    assert ran(tmp_path) == []


def test_a_working_folder_that_was_removed(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    code = (
        "import os; os.rmdir(os.getcwd());"
        "from affekt.cache.commands.signals import import_nothing_from_here as no; no()"
    )
    assert called(gone, "-c", code).returncode == 0
