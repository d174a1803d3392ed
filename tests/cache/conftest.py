"""Fixtures. The toy encoder is in cache_toy.py, which child processes import too."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from affekt.cache import Cache, Space
from cache_toy import make_spec


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "my.cache")


@pytest.fixture
def space(cache: Cache) -> Space:
    return cache.create(make_spec())
