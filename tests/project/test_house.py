"""Where things live: small folders, one meaning for a name, no circles."""

from __future__ import annotations

import importlib
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("cache", "extract", "classify")
FOLDERS = sorted(
    {path.parent for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    | {path.parent for path in (ROOT / "tests").rglob("test_*.py")}
)


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "__pycache__")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_a_folder_can_be_taken_in_at_a_glance(folder):
    assert len(entries(folder)) <= 13, entries(folder)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_two_files_of_a_package_have_one_name(package):
    places = defaultdict(list)
    for path in (ROOT / package).rglob("*.py"):
        if path.name != "__init__.py":
            places[path.stem].append(str(path.relative_to(ROOT)))
    assert not {stem: found for stem, found in places.items() if len(found) > 1}


def test_no_folder_hides_a_public_function():
    """`import affekt.classify.x` would put the module x in the place of the function x."""
    for name in ("cache", "extract", "classify"):
        package = importlib.import_module(f"affekt.{name}")
        modules = {Path(entry).stem for entry in entries(ROOT / name)}
        assert not {n for n in package.__all__ if n in modules}, name


def test_public_names_are_imported_when_they_are_used():
    for name in ("affekt.cache", "affekt.extract", "affekt.classify", "affekt.classify.heads"):
        package = importlib.import_module(name)
        assert dir(package) == package.__all__ == sorted(package.__all__)
        assert all(hasattr(package, public) for public in package.__all__)
        with pytest.raises(AttributeError, match=f"{name}.*has no attribute 'nothing'"):
            package.nothing  # noqa: B018
