"""`affekt doctor`: what is right, what is missing, what is broken, and the exit code of each."""

from __future__ import annotations

import json
import shutil
from importlib import metadata
from pathlib import Path

import pytest
from affekt.cache import Cache, InputError
from affekt.cache.commands import cli_doctor as findings
from affekt.classify.cli import affekt
from click.testing import CliRunner

from tests.support.cache_toy import fill, make_clips, make_spec
from tests.support.damage import first_value, flip, shards


def doctor(*words: object):
    return CliRunner().invoke(affekt, ["doctor", *map(str, words)])


def found(*words: object) -> dict[str, tuple[str, str]]:
    done = json.loads(doctor(*words, "--json").stdout)
    assert done["wrong"] == sum(one["state"] == "wrong" for one in done["findings"])
    return {one["name"]: (one["state"], one["found"]) for one in done["findings"]}


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(findings, "ACCELERATOR", "print('none: built without')")  # torch: seconds
    return tmp_path


def test_a_whole_installation(here):
    done = doctor()
    assert done.exit_code == 0, done.output
    assert "none (torch is built for CPUs only)" in done.stdout
    said = found()
    for name in ("numpy", "torch", "scikit-learn", "soundfile"):
        assert said[name] == ("ok", metadata.version(name))
    assert said["memory"][0] in ("ok", "note")
    assert not list(here.iterdir())


def test_what_is_missing_for_which_command(here, monkeypatch):
    real = findings.version_of
    monkeypatch.setattr(findings, "version_of", lambda n: "" if n == "uvicorn" else real(n))
    said = found()
    assert said["serve"] == ("note", "uvicorn not installed; pip install 'affekt[serve]'")
    assert doctor().exit_code == 0  # not everybody serves


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("", "not installed; pip install 'scipy>={lowest}'"),
        ("1.2.9", "1.2.9, and affekt needs {lowest} or later; pip install -U scipy"),
    ],
)
def test_a_package_that_is_absent_or_old_is_wrong(here, monkeypatch, version, words):
    [lowest] = [r.split(">=")[1] for r in metadata.requires("affekt") if r.startswith("scipy>=")]
    real = findings.version_of
    monkeypatch.setattr(findings, "version_of", lambda n: version if n == "scipy" else real(n))
    state, text = found()["scipy"]
    assert state == "wrong"
    assert text == words.format(lowest=lowest)
    assert doctor().exit_code == 1


def test_a_package_that_cannot_be_loaded_is_wrong(here, monkeypatch):
    def broken(name):
        if name == "soundfile":
            raise OSError("sndfile library not found")

    monkeypatch.setattr(findings.importlib, "import_module", broken)
    [state] = [one for one in findings.versions() if one.name == "soundfile"]
    assert (state.state, "sndfile library not found" in state.found) == ("wrong", True)


def test_torch_that_works_and_torch_that_does_not(monkeypatch):
    assert findings._accelerator().state == "ok"
    missing = "raise ImportError('libcudart.so.12 is not there')"
    monkeypatch.setattr(findings, "ACCELERATOR", missing)
    broken = findings._accelerator()
    assert broken.state == "wrong"
    assert "libcudart.so.12 is not there" in broken.found
    monkeypatch.setattr(findings, "ACCELERATOR", "import os; os.abort()")
    assert findings._accelerator().state == "wrong"


def test_every_extra_of_users_is_named():
    extras = set(findings._needed()) - {"", "dev"}
    assert extras == set(findings.NEEDED_FOR)


def test_versions_compare_as_numbers():
    assert findings._numbers("2.13.0+cpu") > findings._numbers("2.6")
    assert findings._parsed("uvicorn[standard]>=0.30,<1") == ("uvicorn", "0.30")
    assert findings._parsed("scipy") == ("scipy", "")


@pytest.mark.parametrize(
    ("free", "state"), [(10 * 2**20, "wrong"), (500 * 2**20, "note"), (2**40, "ok")]
)
def test_a_disk_that_is_full(here, monkeypatch, free, state):
    usage = shutil.disk_usage(here)._replace(free=free)
    monkeypatch.setattr(findings.shutil, "disk_usage", lambda place: usage)
    [one] = findings.disks([here, here / "not" / "yet"])
    assert one.state == state


def test_memory_is_that_of_the_container(tmp_path, monkeypatch):
    files = {
        "/proc/meminfo": "MemTotal: 8000 kB\nMemAvailable: 6000 kB\n",
        "/sys/fs/cgroup/memory.max": f"{4000 * 1024}\n",
        "/sys/fs/cgroup/memory.current": f"{1000 * 1024}\n",
    }

    def read(path, encoding):
        if str(path) not in files:
            raise FileNotFoundError(path)
        return files[str(path)]

    monkeypatch.setattr(findings.Path, "read_text", read)
    assert findings.memory() == (4000 * 1024, 3000 * 1024)
    files["/sys/fs/cgroup/memory.max"] = "max\n"
    assert findings.memory() == (8000 * 1024, 6000 * 1024)
    del files["/proc/meminfo"]
    assert findings.memory() == (0, 0)


def test_the_caches_of_the_folder_are_checked(here):
    space = Cache("my.cache").create(make_spec())
    fill(space, make_clips(20))
    state, text = found()["my.cache"]
    assert state == "ok"
    assert "no damage" in text
    [shard] = shards(space)
    flip(shard, first_value(shard))
    state, text = found("my.cache")["my.cache"]
    assert state == "wrong"
    assert "affekt cache repair" in text
    assert doctor("my.cache").exit_code == 1


def test_a_cache_that_is_not_there(here):
    (here / "empty").mkdir()
    for name in ("none.cache", "empty"):
        done = doctor(name)
        assert isinstance(done.exception, InputError)
        assert name in str(done.exception)
