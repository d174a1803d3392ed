"""A cache that cannot be written is refused before any work; what only reads it goes on."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from affekt.cache import Cache, InputError, Manifest
from affekt.cache.files.cache_marker import mark
from affekt.cache.files.output_checks import check_output, check_output_folder, check_takes_files
from affekt.extract import Encoder, extract

from tests.hostile.world import call
from tests.support.whisper_model import write_whisper

WRITING = {
    "extract": "extract clips.csv --cache {} --encoder spectral",
    "extract workers": "extract clips.csv --cache {} --encoder spectral --workers 2",
    "run": "run recipe.yaml",
    "check": "run recipe.yaml --check",
    "predict": "predict model new.csv --cache {}",
    "transcribe": "transcribe clips.csv -o texts.csv --overwrite --model whisper --cache {}",
    "import": "cache import {} foreign.npz --manifest clips.csv --name mine --modality text",
    "merge": "cache merge my.cache -o {}",
    "sync": "cache sync my.cache {}",
    "compact": "cache compact {}",
    "repair": "cache repair {}",
}
READING = {
    "extract": "extract clips.csv --cache {} --encoder ngram",
    "plan": "extract clips.csv --cache {} --encoder spectral --dry-run",
    "run": "run stored.yaml",
    "train": "train clips.csv --cache {} --space ngram --task emotion6 --head logistic "
    "--dev-size 0.3 -o model2",
    "predict": "predict model clips.csv --cache {}",
    "ls": "cache ls {}",
    "verify": "cache verify {}",
    "pack": "cache pack {} packed.h5",
    "sync": "cache sync {} copy.cache",
    "export": "cache export {} ngram x.npz --manifest clips.csv",
    "doctor": "doctor {}",
}
RECIPE = """\
manifest: clips.csv
task: emotion6
cache: CACHE
encoders: {words: ENCODER}
split: {scheme: speaker, test_size: 0.3, dev_size: 0.2}
members: {lr: {head: logistic, on: words}}
compare: {n_resamples: 100, learning_curve: false}
report: report
"""


def shut(folder: Path, how: str) -> None:
    """Let a folder take no file any more."""
    if how == "permissions" and os.geteuid() == 0:
        pytest.skip("permissions do not bind root")
    if how == "permissions":
        for place in [folder, *folder.rglob("*")]:
            if place.is_dir():
                place.chmod(0o555)
        return
    try:
        mount("--bind", folder, folder)
        mount("-o", "remount,ro,bind", folder)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting needs root")


def mount(*words: object) -> None:
    subprocess.run(["mount", *map(str, words)], check=True, capture_output=True)


@pytest.fixture(scope="module", params=["permissions", "mounted read-only"])
def place(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shut")
    before = Path.cwd()
    os.chdir(folder)
    labels = ["joy", "sadness", "neutral"]
    rows = [{"id": i, "text": f"{labels[i % 3]} {i}", "label": labels[i % 3]} for i in range(24)]
    for i, row in enumerate(rows):
        soundfile.write(f"{i}.wav", np.random.default_rng(i).normal(0, 0.1, 3200), 16_000)
        row |= {"path": f"{i}.wav", "speaker": f"s{i // 3}"}
    clips = Manifest.from_rows(rows)
    clips.write("clips.csv")
    Manifest.from_rows([{"id": "new", "text": "never seen"}]).write("new.csv")
    np.savez("foreign.npz", ids=np.array(clips.ids), embeddings=np.eye(24))
    for name in ("my.cache", "shut.cache"):
        extract(clips, Cache(name), Encoder("ngram"))
    code, said = call([*READING["train"].format("my.cache").split()[:-1], "model"])
    assert code == 0, said
    write_whisper(folder / "whisper")
    recipe = RECIPE.replace("CACHE", "shut.cache")
    Path("recipe.yaml").write_text(recipe.replace("ENCODER", "spectral"))
    Path("stored.yaml").write_text(recipe.replace("ENCODER", "ngram"))
    Path("empty.cache").mkdir()
    try:
        for name in ("shut.cache", "empty.cache"):
            shut(folder / name, request.param)
        yield folder
    finally:
        for name in ("shut.cache", "empty.cache"):
            subprocess.run(["umount", str(folder / name)], check=False, capture_output=True)
            for one in (folder / name, *(folder / name).rglob("*")):
                one.chmod(0o755)
        os.chdir(before)


@pytest.mark.parametrize(
    ("name", "cache"),
    [
        (name, cache)
        for name in WRITING
        for cache in ("shut.cache", "empty.cache", "empty.cache/new")
        if cache == "shut.cache" or name not in ("run", "check", "compact", "repair")
    ],
)
def test_what_has_to_write_is_refused(place, name, cache):
    code, said = call(WRITING[name].format(cache).split())
    assert code == 2, said
    assert f"cache {cache} cannot be written: " in said
    assert "choose another path" in said
    assert "%" not in said  # no progress: nothing was computed


@pytest.mark.parametrize("name", READING)
def test_what_reads_goes_on(place, name):
    code, said = call(READING[name].format("shut.cache").split())
    assert code == 0, said


def test_a_name_that_is_too_long_is_found_before_any_work(tmp_path):
    with pytest.raises(InputError, match="cannot be written: File name too long"):
        check_takes_files("report", tmp_path / ("x" * 300))


def test_nothing_else_is_written_into_a_cache(tmp_path):
    (tmp_path / "my.cache" / "spaces").mkdir(parents=True)
    mark(tmp_path / "my.cache")
    (tmp_path / "link").symlink_to(tmp_path / "my.cache" / "spaces")
    for check in (check_output, check_output_folder):
        check("-o", tmp_path / "new" / "pred.csv")
        for name in ("pred.csv", "spaces/pred.csv", "../my.cache/new/pred.csv", "../link/p.csv"):
            with pytest.raises(InputError, match=r"is inside the cache .*my\.cache"):
                check("-o", tmp_path / "my.cache" / name)


def test_a_full_disk_is_found_before_any_work(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        mount("-t", "tmpfs", "-o", "size=64k", "tmpfs", disk)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting needs root")
    try:
        with pytest.raises(OSError, match="No space"), (disk / "filled").open("wb") as file:
            file.write(bytes(1 << 20))
        clips = tmp_path / "clips.csv"
        clips.write_text("id,text\n1,never seen\n")
        words = ["extract", str(clips), "--cache", str(disk / "my.cache"), "--encoder", "ngram"]
        code, said = call(words)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert code == 2, said
    assert "No space left on device; free some space" in said
