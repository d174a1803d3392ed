"""What a run remembers for the next one: encoders, paths, and the report that was better."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import soundfile
from affekt.cache import Cache, InputError
from affekt.classify import run
from affekt.classify.experiments.known_encoders import recall
from affekt.classify.experiments.members.trainer import Trainer
from affekt.classify.experiments.preview import preview
from affekt.classify.experiments.results import extra_results, run_keys

from tests.support.encoder_models import saved, tone
from tests.support.written_reports import found_in, lines_of

RECIPE = """\
manifest: clips.csv
task: valence
cache: my.cache
encoders: {text: %s}
split: {scheme: speaker, test_size: 0.34, dev_size: 0.17}
members: {lr: {head: logistic, on: text}}
ensembles: []
compare: {n_resamples: 200, learning_curve: false}
report: out
"""
LABELS = ("anger", "neutral", "happiness")


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def with_encoder(tmp_path_factory) -> Path:
    """A folder with an encoder of its own, a recipe, and one run done."""
    folder = tmp_path_factory.mktemp("encoder")
    saved("bert", folder / "enc")
    rows = [
        {"id": f"{s}{label}", "text": f"{label} {s}", "label": label, "speaker": f"s{s}"}
        for s in range(6)
        for label in LABELS
    ]
    write_rows(folder / "clips.csv", rows)
    (folder / "r.yaml").write_text(RECIPE % (folder / "enc"), encoding="utf-8")
    assert run(folder / "r.yaml").did[0] == "embedded 18 clips with text"
    return folder


def copied(folder: Path, place: Path) -> Path:
    """Copy a run, with its encoder where the recipe of the copy names it."""
    place = Path(shutil.copytree(folder, place))
    old, new = str(folder / "enc"), str(place / "enc")
    recipe = place / "r.yaml"
    recipe.write_text(recipe.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    return place


def test_another_affekt_compares_anew_and_trains_nothing(with_encoder, tmp_path, monkeypatch):
    recipe = copied(with_encoder, tmp_path / "copy") / "r.yaml"
    assert not run(recipe).did
    monkeypatch.setattr(run_keys, "programs", lambda: "of another version")
    assert run(recipe).did == ["compared members and ensembles"]
    assert not run(recipe).did


def test_a_renamed_member_and_one_that_comes_back_are_not_trained_again(with_encoder, tmp_path):
    recipe = copied(with_encoder, tmp_path / "copy") / "r.yaml"
    text, said = recipe.read_text(encoding="utf-8"), []
    member = recipe.parent / "out/members/lr"
    before = (member / "pred.csv").read_bytes()
    other = "{ldr: {head: logistic, on: text, C: 0.5}}"
    for members, did in (("{new: {head: logistic, on: text}}", []), (other, ["ldr"]), ("", [])):
        changed = text.replace("{lr: {head: logistic, on: text}}", members) if members else text
        recipe.write_text(changed, encoding="utf-8")
        done = run(recipe, progress=said.append).did
        assert done == [*(f"trained {name}" for name in did), "compared members and ensembles"]
        [record] = recipe.parent.glob("out/members/*/member.json")
        assert json.loads(record.read_text(encoding="utf-8"))["name"] == record.parent.name
    assert [line for line in said if ": kept" in line] == [
        "new: kept, because it was trained as lr",
        "lr: kept, because it was trained as lr",
    ]
    assert (member / "pred.csv").read_bytes() == before
    assert not run(recipe).did


def test_nothing_to_do_opens_no_encoder(with_encoder):
    code = (
        "import sys; from affekt.classify import run; "
        f"assert run({str(with_encoder / 'r.yaml')!r}).did == []; "
        "print([n for n in ('torch', 'sklearn', 'transformers') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_member_is_trained_without_the_encoder_and_layers_are_checked(with_encoder, tmp_path):
    folder = copied(with_encoder, tmp_path / "run")
    run(folder / "r.yaml")  # opens the copy: its folder is another
    shutil.rmtree(folder / "enc")
    text = (folder / "r.yaml").read_text()
    (folder / "r.yaml").write_text(text.replace("on: text}", "on: text, C: 1}"))
    said: list[str] = []
    outcome = run(folder / "r.yaml", progress=said.append)
    assert outcome.did == ["trained lr", "compared members and ensembles"]
    assert any("enc does not exist; its stored rows are used" in line for line in said)
    (folder / "r.yaml").write_text(text.replace("on: text}", "on: text, layers: 9}"))
    with pytest.raises(InputError, match=r"r\.yaml:6: member 'lr': encoder 'text'"):
        run(folder / "r.yaml")


def test_missing_weights_are_reported_and_stored_rows_used(with_encoder, tmp_path):
    folder = copied(with_encoder, tmp_path / "run")
    run(folder / "r.yaml")
    weights = folder / "enc" / "model.safetensors"
    weights.rename(folder / "enc" / "x")
    said: list[str] = []
    assert run(folder / "r.yaml", progress=said.append).did == []
    assert "cannot be opened" in said[0]
    assert "holds no model.safetensors" in said[0]
    rows = read(folder / "clips.csv")
    write_rows(folder / "clips.csv", [*rows, rows[0] | {"id": "new", "text": "a new text"}])
    with pytest.raises(InputError, match=r"holds no model\.safetensors"):
        run(folder / "r.yaml")  # a new text needs it


def test_an_encoder_that_changed_is_opened_again(with_encoder, tmp_path):
    folder = copied(with_encoder, tmp_path / "run")
    run(folder / "r.yaml")
    options = {"name": str(folder / "enc")}
    before = recall(Cache(folder / "my.cache"), options)
    assert before is not None
    assert before.is_current
    shutil.rmtree(folder / "enc")
    saved("bert", folder / "enc", hidden_size=16)
    changed = recall(Cache(folder / "my.cache"), options)
    assert changed is not None
    assert not changed.is_current
    assert run(folder / "r.yaml").did[0] == "embedded 18 clips with text"
    after = recall(Cache(folder / "my.cache"), options)
    assert after is not None
    assert (before.spec.dim, after.spec.dim) == (32, 16)


@pytest.fixture
def heard(tmp_path) -> Path:
    """Eighteen recordings, a recipe on the built-in encoder, and one run done."""
    rows = []
    for speaker in range(6):
        for number, label in enumerate(LABELS):
            name = f"w{speaker}{number}.wav"
            soundfile.write(tmp_path / name, tone(4000, seed=10 * number + speaker), 16000)
            os.utime(tmp_path / name, (1e9, 1e9))
            row = {"id": f"c{speaker}{number}", "path": name, "label": label}
            rows.append(row | {"speaker": f"s{speaker}"})
    write_rows(tmp_path / "clips.csv", rows)
    (tmp_path / "r.yaml").write_text(RECIPE % "spectral", encoding="utf-8")
    run(tmp_path / "r.yaml")
    return tmp_path


@pytest.mark.parametrize("renamed", ["path", "id", "both"])
def test_renamed_clips_are_known_where_the_audio_is_not(heard, renamed):
    rows = read(heard / "clips.csv")
    for row in rows:
        if renamed != "id":
            (heard / row["path"]).rename(heard / f"new_{row['path']}")
            row["path"] = f"new_{row['path']}"
        if renamed != "path":
            row["id"] = f"new_{row['id']}"
    write_rows(heard / "clips.csv", rows)
    assert not [line for line in run(heard / "r.yaml").did if line.startswith("embedded")]
    for row in rows:
        (heard / row["path"]).unlink()
    assert run(heard / "r.yaml").did == []
    shutil.rmtree(heard / "out")
    outcome = run(heard / "r.yaml")
    assert outcome.exit_code == 0
    assert outcome.did[0] == "trained lr"


def test_a_report_of_fewer_clips_keeps_the_better_one(heard):
    before = (heard / "out" / "comparison.json").read_bytes()
    (heard / "w50.wav").write_bytes(b"")
    said: list[str] = []
    outcome = run(heard / "r.yaml", progress=said.append)
    assert outcome.exit_code == 3
    [result] = [line for line in said if "kept in" in line]
    assert "17 instead of 18 for text" in result
    assert said.index(result) < said.index("comparing")
    kept = heard / "out" / "earlier-report-of-18-clips"
    assert (kept / "comparison.json").read_bytes() == before
    assert (kept / "report.md").is_file()
    data = json.loads((heard / "out" / "comparison.json").read_text(encoding="utf-8"))
    assert data["run"]["embedded"] == {"text": 17}
    assert run(heard / "r.yaml").did == []


def test_an_audio_folder_that_is_gone_leaves_the_report(heard):
    before = {path: path.read_bytes() for path in (heard / "out").rglob("*") if path.is_file()}
    shutil.rmtree(heard / "my.cache")
    for path in heard.glob("*.wav"):
        path.unlink()
    for start in (run, preview):
        with pytest.raises(InputError, match="none of 18 recordings is there"):
            start(heard / "r.yaml")
    assert {p: p.read_bytes() for p in (heard / "out").rglob("*") if p.is_file()} == before


KEPT = """\
manifest: clips.csv
task: valence
cache: my.cache
encoders: {text: ngram}
split: {scheme: speaker, test_size: 0.34, dev_size: 0.17}
members:
  lr: {head: logistic, on: text, C: 1}
  lda: {head: lda, on: text}
ensembles: [mean]
group: speaker
compare: {n_resamples: 200}
transfer: {by: language, member: lr}
report: out
"""


@pytest.fixture
def with_kept(tmp_path) -> Path:
    """A recipe whose learning curve and transfer matrix are kept."""
    rows = [
        {"id": f"{s}{label}{n}", "text": f"{label} word {s} {n}", "label": label}
        | {"speaker": f"s{s}", "language": ("eng", "deu")[s % 2], "half": "ab"[s > 5]}
        for s in range(12)
        for n in range(2)
        for label in LABELS
    ]
    write_rows(tmp_path / "clips.csv", rows)
    (tmp_path / "r.yaml").write_text(KEPT, encoding="utf-8")
    return tmp_path


@pytest.fixture
def computed(monkeypatch) -> list[str]:
    """The parts that were computed."""
    names: list[str] = []

    def watch(name, place):
        plain = getattr(place, name)
        monkeypatch.setattr(place, name, lambda *a, **k: names.append(name) or plain(*a, **k))

    watch("learning_curve", extra_results)
    watch("transfer", extra_results)
    return names


def files(folder: Path) -> list[Any]:
    repeats = folder / "repeats.json"
    if repeats.exists():
        return [repeats.read_bytes(), (folder / "report.md").read_bytes()]
    return [found_in(folder), lines_of(folder)]


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_kept_parts_are_those_that_would_be_computed(with_kept, computed):
    run(with_kept / "r.yaml")
    assert computed == ["learning_curve", "transfer"]
    plain = files(with_kept / "out")
    shutil.rmtree(with_kept / "out")
    run(with_kept / "r.yaml")
    assert computed == ["learning_curve", "transfer"]
    assert files(with_kept / "out") == plain
    shutil.rmtree(with_kept / "out")
    shutil.rmtree(with_kept / "my.cache" / "kept")
    run(with_kept / "r.yaml")
    assert computed == ["learning_curve", "transfer"] * 2
    assert files(with_kept / "out") == plain


def test_a_learning_curve_chooses_once_for_each_share_and_ends_with_the_member(
    with_kept, monkeypatch
):
    change(with_kept / "r.yaml", "C: 1}", "C: [0.1, 1]}")
    change(with_kept / "r.yaml", "{n_resamples: 200}", "{n_resamples: 200, learning_curve: lr}")
    tried, plain = [], Trainer.choose

    def choose(trainer, part, **options):
        model, record = plain(trainer, part, **options)
        tried.append((len(part.train), len(record["tried"])))
        return model, record

    monkeypatch.setattr(extra_results.Trainer, "choose", choose)
    run(with_kept / "r.yaml")
    found = found_in(with_kept / "out")
    points = found["learning_curve"]
    assert points[-1]["uar"]["value"] == found["systems"]["lr"]["test"]["uar"]["value"]
    own = [count for clips, count in tried if clips < points[-1]["clips"]]
    assert own[:9] == [2, 1, 1] * 3


@pytest.mark.parametrize(
    ("old", "new", "again"),
    [
        ("ensembles: [mean]", "ensembles: [max]", []),
        ("C: 1}", "C: 2}", ["learning_curve", "transfer"]),
        ("group: speaker", "group: language", ["learning_curve", "transfer"]),
        ("by: language", "by: half", ["transfer"]),
        ("{n_resamples: 200}", "{level: 0.9}", ["learning_curve", "transfer"]),
    ],
)
def test_only_what_changed_is_computed_again(with_kept, computed, old, new, again):
    run(with_kept / "r.yaml")
    computed.clear()
    change(with_kept / "r.yaml", old, new)
    run(with_kept / "r.yaml")
    assert computed == again


def test_a_refit_that_is_interrupted_leaves_no_member(with_kept):
    text = KEPT.replace("logistic, on: text, C: 1", "mlp, on: text, max_epochs: 3, refit: true")
    text = text.replace("{n_resamples: 200}", "{n_resamples: 200, learning_curve: false}")
    text = text.replace("transfer: {by: language, member: lr}\n", "")
    (with_kept / "r.yaml").write_text(text, encoding="utf-8")
    lines: list[str] = []

    def interrupt(name: str, state: str, score: Any = None, left: Any = None) -> None:
        if left is not None and any("refitted on all" in line for line in lines):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(with_kept / "r.yaml", progress=lines.append, on_member=interrupt, n_jobs=1)
    assert not list((with_kept / "out").rglob("lr/member.json"))
