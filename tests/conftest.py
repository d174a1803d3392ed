"""Fixtures that every test folder shares."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# A shell ignores these signals in what it starts with `&` or `nohup`, and so would our programs.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# The same examples each time; `pytest --hypothesis-profile=explore` draws new ones.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile("repeatable")

# What collection makes stays to the end: looking through it again and again took seconds, and a
# fork that does so copies it.
gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


SHARED = Path(
    os.environ.get("AFFEKT_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")
)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real speech and text (`AFFEKT_DATA`), whose licences keep it out of here."""
    if not SHARED.is_dir():
        pytest.skip(f"no development data at {SHARED}: set AFFEKT_DATA to its folder")
    return SHARED


@pytest.fixture
def affekt(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[Any, str, str]]:
    """Run the command line in this process: (exit code, stdout, stderr)."""

    from affekt.classify.cli import main

    def run(*words: object) -> tuple[Any, str, str]:
        with pytest.raises(SystemExit) as caught:
            main([str(word) for word in words])
        out, err = capsys.readouterr()
        return caught.value.code, out, err

    return run
