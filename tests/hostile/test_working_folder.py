"""Python files beside a user's data are data: no command and no process of one runs them."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path
from subprocess import run

import pytest

from .world import COMMANDS, build

MODULES = [
    *("soundfile", "json", "random", "numpy", "torch", "yaml", "av", "sklearn", "transformers"),
    *("h5py", "joblib", "click", "tqdm", "csv", "hashlib", "logging", "pickle", "subprocess"),
    *("affekt", "cache", "extract", "classify", "sitecustomize", "usercustomize", "cloudpickle"),
]
#: with the processes that commands start: the decoder, joblib's workers, the reader of a scaler
PARTS = ["extract speech", "probe", "convert-scaler", "check", "predict file", "cache ls"]
CODE = "import pathlib\npathlib.Path(__file__ + '.ran').touch()\nraise ImportError('hostile')\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mine")
    before = Path.cwd()
    os.chdir(folder)
    try:
        build(folder)
    finally:
        os.chdir(before)
    for name in MODULES:
        (folder / f"{name}.py").write_text(CODE)
    (folder / "scipy").mkdir()
    (folder / "scipy" / "__init__.py").write_text(CODE)
    return folder


def called(world, words, **changes):
    script = Path(sysconfig.get_path("scripts"), "affekt")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")} | changes
    return run(
        [sys.executable, script, *words],
        cwd=world, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("name", PARTS)
def test_no_module_of_the_working_folder_is_run(world, name):
    words = list(COMMANDS[name])
    if name == "probe":
        words += ["--n-jobs", "2"]
    words = (
        [word.replace("my.cache", "o/fresh.cache") for word in words] if "speech" in name else words
    )
    done = called(world, words)
    assert done.returncode == 0, done.stderr
    assert "quarantined" not in done.stderr or "0 quarantined" in done.stderr
    assert sorted(path.name for path in world.rglob("*.ran")) == []


def test_children_are_safe_where_pythonpath_has_a_blank_entry(world):
    """As ``export PYTHONPATH=$PYTHONPATH:/mine`` leaves one, which means the working folder."""
    code = (
        "import sys, os; from affekt.classify import cli; cli._import_nothing_from_here();"
        "assert '' not in sys.path and os.getcwd() not in sys.path, sys.path;"
        "assert os.environ['PYTHONSAFEPATH'] == '1';"
        "assert os.environ['PYTHONPATH'] == '/mine'"
    )
    place = world / "o"
    done = run(
        [sys.executable, "-c", code],
        cwd=place, env=os.environ | {"PYTHONPATH": os.pathsep + "/mine"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
