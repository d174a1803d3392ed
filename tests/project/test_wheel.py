"""The wheel holds the tree and nothing else, and works beside a user's own cache.py."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("cache", "extract", "classify")
IGNORED = ("__pycache__",)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Build the wheel from a copy, so that no build folder is left behind."""
    source = tmp_path_factory.mktemp("source")
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    wanted = ("pyproject.toml", "README.md", "LICENSE")
    for name in listed:
        if name in wanted or name.split("/")[0] in ("affekt", *PACKAGES):
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    place = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*command, "--disable-pip-version-check", "-q", "-w", str(place), str(source)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    [path] = place.glob("*.whl")
    return path


def test_file_list_equals_the_tree(wheel):
    tree = {
        f"affekt/{path.relative_to(ROOT).as_posix()}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and not set(path.parts) & set(IGNORED)
    }
    tree |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "affekt").glob("*.py*")}
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == tree


def test_works_beside_files_of_the_same_names(wheel, tmp_path):
    """A second environment sees the first one's packages, but not the editable install."""
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    script = home / ("Scripts" if os.name == "nt" else "bin")
    target = next(home.rglob("site-packages"))
    packages = sysconfig.get_path("purelib")
    # a plain path line: the .pth files in that folder, the editable install's too, are not read
    (target / "others.pth").write_text(packages + "\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(script / "python"), "install", "--no-deps",
         "--no-index", "--disable-pip-version-check", "-q", "--force-reinstall", str(wheel)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    here = tmp_path / "mine"
    (here / "cache").mkdir(parents=True)
    for name in ("cache.py", "extract.py", "classify.py"):
        (here / name).write_text("raise SystemExit('the wrong file')\n", encoding="utf-8")
    (here / "clips.csv").write_text(
        "id,text,label\n" + "".join(f"{i},text {i},{'ab'[i % 2]}\n" for i in range(6)),
        encoding="utf-8",
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}

    def affekt(*words: str) -> str:
        told = subprocess.run(
            [str(script / "affekt"), *words],
            cwd=here, env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert told.returncode == 0, told.stderr
        return told.stdout

    assert "affekt" in affekt("--version")
    assert "run" in affekt("--help")
    affekt("extract", "clips.csv", "--cache", "my.cache", "--encoder", "ngram")
    assert "ngram" in affekt("cache", "ls", "my.cache")
    code = "import affekt.cache.cache as c, sys; print(c.__file__)"
    where = subprocess.run(
        [str(script / "python"), "-c", code],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert Path(where.strip()).is_relative_to(home)
