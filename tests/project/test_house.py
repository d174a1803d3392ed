"""Where things live: small folders, one meaning for a name, no circles."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import tomllib
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

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


def test_nothing_was_committed_by_accident():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    top = {name.split("/")[0] for name in listed.stdout.splitlines()}
    assert top <= {
        *PACKAGES, ".ci", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile",
        "README.md", "affekt", "benchmarks", "constraints.txt", "docs", "examples", "mkdocs.yml",
        "pyproject.toml", "recipes", "tests",
    }  # fmt: skip


def test_the_environment_is_the_one_that_pyproject_describes():
    """What doctor and pip read is metadata of the installation, which an edit does not change."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {*project["dependencies"]}.union(*project["optional-dependencies"].values())
    installed = {line.split(";")[0].strip() for line in metadata.requires("affekt") or ()}
    assert {*map(parsed, installed)} == {*map(parsed, wanted)}, "install again: pip install -e ."


def parsed(requirement: str) -> tuple[str, str, str]:
    one = Requirement(requirement)
    return one.name, ",".join(sorted(one.extras)), str(one.specifier)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_two_files_of_a_package_have_one_name(package):
    places = defaultdict(list)
    for path in (ROOT / package).rglob("*.py"):
        if path.name != "__init__.py":
            places[path.stem].append(str(path.relative_to(ROOT)))
    assert not {stem: found for stem, found in places.items() if len(found) > 1}


def test_the_map_in_contributing_names_what_is_there():
    """Every folder of the packages is on a line of its own or on that of the folder above."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Where things are")[1]
    shown = set()
    for line in text.splitlines():
        cells = [re.findall(r"`([a-z_0-9/.]+)`", cell) for cell in line.strip("|").split("|")]
        if len(cells) != 3 or not cells[0]:
            continue
        folders = [ROOT / name for name in cells[0]]
        below = [folder / name for folder in folders for name in cells[1] if name.endswith("/")]
        shown |= {*folders, *(path for path in below if path.is_dir())}
        assert all(any((folder / name).is_file() for folder in folders) for name in cells[2]), line
    inside = {path.parent for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    missing = {path for path in inside if path not in shown and path.parent not in shown}
    assert not missing
    assert all(path.is_dir() for path in shown), shown


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


def imported(path: Path) -> set[str]:
    """Files of the packages that a file imports, for annotations and inside functions too."""
    found = set()
    base = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom):
            continue
        module = (node.module or "").split(".") if node.module else []
        if node.level:
            module = [*base[: len(base) - node.level + 1], *module]
        elif module[:1] == ["affekt"]:
            module = module[1:]
        for place in (*([*module, alias.name] for alias in node.names), module):
            file = ROOT.joinpath(*place).with_suffix(".py")
            if len(place) and place[0] in PACKAGES and file.is_file() and file != path:
                found.add(str(file.relative_to(ROOT)))
    return found


def in_order(graph: dict[str, set[str]]) -> list[str]:
    """Return the files, each after what it imports; a `CycleError` names those of a circle."""
    return list(TopologicalSorter(graph).static_order())


def test_circles_are_found():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"a", "d"}}
    for given, circle in ((graph, {"b", "c"}), ({"a": {"b"}, "b": {"a"}, "c": {"a"}}, {"a", "b"})):
        with pytest.raises(CycleError) as error:
            in_order(given)
        assert set(error.value.args[1]) == circle


def test_no_file_imports_itself_by_way_of_others():
    files = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    graph = {str(path.relative_to(ROOT)): imported(path) for path in files}
    assert graph["cache/space.py"] >= {"cache/rows/row_store.py", "cache/errors.py"}
    assert set(in_order(graph)) == set(graph)
