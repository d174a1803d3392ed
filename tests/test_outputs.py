"""No command writes over what it reads, over a file of another origin, through a link, or a device.

Every option of every command that names an output is tried with every kind of place.
"""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

import pytest

from .support.command_tree import every_command

#: parameters that name an output
NAMES = {"out", "output", "pred", "figure", "audio_dir", "target"}
SPLIT = ["sadness", "neutral", "joy"]


OUTPUTS = [
    (" ".join(words), p.name) for words, c in every_command() for p in c.params if p.name in NAMES
]

CARD = ["run/comparison.json", "run/report.md", "clips.csv"]
#: command, option -> words (OUT is the output), and the files that it reads
CALLS = {
    ("train", "pred"): (
        "train clips.csv --cache my.cache --space ngram --task valence --head logistic "
        "--dev-size 0.2 --pred OUT -o new-model",
        ["clips.csv", "task.yaml", "recipe.yaml", "wav/1-1.wav"],
    ),
    ("train", "output"): (
        "train clips.csv --cache my.cache --space ngram --task valence --head logistic "
        "--dev-size 0.2 -o OUT",
        ["clips.csv", "recipe.yaml", "my.cache", "wav"],
    ),
    ("probe", "figure"): (
        "probe clips.csv --cache my.cache --space ngram --task valence --figure OUT",
        ["photo.png", "wav", "clips.csv"],
    ),
    ("predict", "output"): (
        "predict model clips.csv -o OUT",
        ["clips.csv", "notes.jsonl"],
    ),
    ("predict", "figure"): (
        "predict model clips.csv --window 1 --figure OUT",
        ["photo.png", "wav"],
    ),
    ("compare", "output"): (
        "compare a=pred.csv --truth tested.csv --task valence --resamples 20 -o OUT",
        ["clips.csv", ".", "model", "my.cache", "pred.csv"],
    ),
    ("transcribe", "output"): (
        "transcribe clips.csv -o OUT",
        ["clips.csv", "pred.csv", "notes.jsonl"],
    ),
    ("card", "output"): (
        "card run --system a -o OUT",
        ["run/comparison.json", "run/report.md", "clips.csv"],
    ),
    ("report", "output"): (
        "report run -o OUT",
        ["run/comparison.json", "run/report.html", "clips.csv"],
    ),
    ("manifest", "output"): ("manifest clips.csv -o OUT", ["clips.csv", "pred.csv"]),
    ("manifest", "audio_dir"): ("manifest clips.csv --audio-dir OUT", ["clips.csv"]),
    ("cache export", "out"): (
        "cache export my.cache ngram OUT --manifest clips.csv",
        ["clips.csv", "my.cache", "wav"],
    ),
    ("cache pack", "out"): (
        "cache pack my.cache OUT --overwrite",
        ["clips.csv", "my.cache", "model/model.safetensors"],
    ),
    ("cache sync", "target"): ("cache sync my.cache OUT", ["clips.csv", "wav", "model", "."]),
    ("cache merge", "out"): ("cache merge my.cache -o OUT", ["clips.csv", ".", "wav", "model"]),
    ("convert-scaler", "output"): (
        "convert-scaler scaler.pkl --i-trust-this-file -o OUT",
        ["scaler.pkl", "model/model.safetensors"],
    ),
    ("import-model", "output"): ("import-model model -o OUT", ["clips.csv", "wav", "my.cache"]),
    ("init", "output"): ("init clips.csv -o OUT", ["clips.csv", "wav", "recipe.yaml"]),
    ("demo", "output"): ("demo -o OUT", ["clips.csv"]),
}


def test_every_output_option_is_tried():
    assert sorted(OUTPUTS) == sorted(CALLS)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    top = tmp_path_factory.mktemp("outputs")
    rows = [
        f"{s}-{n},wav/{s}-{n}.wav,{label} words {s} {n},{label},s{s}"
        for s in range(8)
        for n, label in enumerate(SPLIT)
    ]
    (top / "clips.csv").write_text("\n".join(["id,path,text,label,speaker", *rows]) + "\n")
    (top / "wav").mkdir()
    for s in range(8):
        for n in range(len(SPLIT)):
            (top / "wav" / f"{s}-{n}.wav").write_text(f"never opened {s} {n}")
    (top / "recipe.yaml").write_text("manifest: clips.csv\n")
    (top / "task.yaml").write_text("labels: [a, b]\n")
    (top / "notes.jsonl").write_text('{"id": "a", "label": "mine"}\n')
    (top / "photo.png").write_bytes(b"\x89PNG a photograph")
    (top / "scaler.pkl").write_bytes(b"a pickle")
    assert call(top, "extract clips.csv --cache my.cache --encoder ngram") == 0
    common = "train clips.csv --cache my.cache --space ngram --task valence --head logistic"
    assert call(top, f"{common} --dev-size 0.2 -o model --pred pred.csv") == 0
    lines = (top / "clips.csv").read_text().splitlines()
    tested = {line.split(",")[0] for line in (top / "pred.csv").read_text().splitlines()}
    rows = [line for line in lines if line.split(",")[0] in tested]
    (top / "tested.csv").write_text("\n".join(rows) + "\n")
    assert (
        call(top, "compare a=pred.csv --truth tested.csv --task valence --resamples 20 -o run") == 0
    )
    return top


def call(folder: Path, words: str) -> int:
    """Run a command in this process, in a folder; return its exit code."""
    from contextlib import chdir

    from affekt.classify.cli import main

    with chdir(folder), pytest.raises(SystemExit) as stop:
        main(shlex.split(words))
    return int(stop.value.code or 0)


def content(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(("command", "option"), CALLS, ids=" ".join)
def test_an_output_never_replaces_what_is_not_its_own(command, option, place, tmp_path, capsys):
    words, inputs = CALLS[command, option]
    top = tmp_path / "copy"
    shutil.copytree(place, top)
    suffix = next((s for s in (".csv", ".png", ".h5") if fits(words, s)), ".csv")
    (top / f"a-link{suffix}").symlink_to("clips.csv")
    (top / f"nowhere{suffix}").symlink_to(tmp_path / "elsewhere")
    (top / f"device{suffix}").symlink_to("/dev/null")
    (top / f"twin{suffix}").hardlink_to(top / "clips.csv")
    os.mkfifo(top / f"pipe{suffix}")
    names = [f"{name}{suffix}" for name in ("a-link", "nowhere", "device", "twin", "pipe")]
    before = content(top)
    for out in [*inputs, *names, "/dev/null"]:
        assert call(top, words.replace("OUT", out)) == 2, out
        said = capsys.readouterr().err
        assert "Traceback" not in said
        assert out in said or command == "init", said  # and for no other reason
        assert content(top) == before, out
        assert not (tmp_path / "elsewhere").exists(), out


def fits(words: str, suffix: str) -> bool:
    return ("--figure OUT" in words) == (suffix == ".png") and ("pack" in words) == (
        suffix == ".h5"
    )


@pytest.mark.parametrize(
    "words",
    [
        "extract clips.csv --encoder ngram --cache",
        "predict model --text hello --cache",
        "transcribe clips.csv -o new.csv --cache",
        "cache merge my.cache -o",
        "cache import --manifest clips.csv --name x FOLDER pred.csv",
    ],
)
def test_a_folder_that_is_no_cache_is_refused(words, place, tmp_path, capsys):
    top = tmp_path / "copy"
    shutil.copytree(place, top)
    (top / "tmp").mkdir()
    (top / "tmp" / "draft.txt").write_text("thesis")
    before = content(top)
    for folder in (".", "wav", "/"):
        line = words.replace("FOLDER", folder) if "FOLDER" in words else f"{words} {folder}"
        assert call(top, line) == 2, folder
        assert "is not a cache" in capsys.readouterr().err
    line = words.replace("FOLDER", "''") if "FOLDER" in words else f"{words} ''"
    assert call(top, line) == 2
    assert content(top) == before


def test_an_older_cache_is_known_by_its_layout(place, tmp_path):
    top = tmp_path / "copy"
    shutil.copytree(place, top)
    (top / "my.cache" / ".affekt-cache").unlink()
    (top / "my.cache" / "tmp" / "draft.txt").write_text("thesis")
    assert call(top, "extract clips.csv --cache my.cache --encoder ngram") == 0
    assert call(top, "cache repair my.cache") == 0
    assert (top / "my.cache" / "tmp" / "draft.txt").read_text() == "thesis"


def test_a_model_is_replaced_and_the_files_of_the_user_stay(place, tmp_path):
    top = tmp_path / "copy"
    shutil.copytree(place, top)
    model = top / "model"
    (model / "README.md").write_text("card")
    (model / ".git" / "objects").mkdir(parents=True)
    (model / "empty").mkdir()
    (model / ".git" / "objects" / "config.json").write_text("{}")
    before = (model / "config.json").read_bytes()
    words = "train clips.csv --cache my.cache --space ngram --task valence --head logistic -o model"
    assert call(top, f"{words} --dev-size 0.2 --set C=7") == 0
    assert (model / "config.json").read_bytes() != before
    assert (model / "README.md").read_text() == "card"
    assert (model / ".git" / "objects" / "config.json").read_text() == "{}"
    assert (model / "empty").is_dir()
    assert [p.name for p in top.iterdir() if p.name.startswith(".")] == []


def test_what_a_killed_save_left_aside_comes_back(tmp_path):
    from affekt.classify.models.folders.kept_files import replace_folder

    for name, text in ((".m.old", "old"), ("m", "now"), ("new", "new")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(text)
    (tmp_path / ".m.old" / "notes.txt").write_text("mine")
    (tmp_path / "m" / "notes.txt").write_text("also mine")
    replace_folder(tmp_path / "new", tmp_path / "m")
    found = {p.name: p.read_text() for p in (tmp_path / "m").iterdir()}
    assert found == {"config.json": "new", "notes.txt": "also mine", "notes-2.txt": "mine"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m"]


def test_a_command_writes_again_over_its_own_file(place, tmp_path):
    top = tmp_path / "copy"
    shutil.copytree(place, top)
    for _ in range(2):
        assert call(top, "predict model --text good -o one.csv") == 0
        assert call(top, "predict model --text good -o one.jsonl") == 0
        assert (
            call(top, "compare a=pred.csv --truth tested.csv --task valence --resamples 20 -o run")
            == 0
        )
        assert call(top, "card run --system a -o card.md") == 0
