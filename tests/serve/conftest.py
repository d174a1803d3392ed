"""One run, and one service of it, for every test here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

for _name in ("fastapi", "uvicorn", "python_multipart", "httpx"):
    pytest.importorskip(_name, reason="the extra serve is not installed")

from tests.support.services import Served, served, write_run  # noqa: E402
from tests.support.small_models import write_models  # noqa: E402 - needs what was asked for above


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> list[str]:
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def recordings(run) -> Path:
    """The folder of the run's clips: 0.wav to 23.wav."""
    return Path(run[0]).parent


@pytest.fixture(scope="session")
def service(run) -> Iterator[Served]:
    with served(*run) as one:
        yield one


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> Path:
    """Models of built-in encoders, which start quickly: speech, words, fused."""
    return write_models(tmp_path_factory.mktemp("models"))
