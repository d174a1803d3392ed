"""affekt run: what it leaves, what it does again, and what stops it."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from affekt.cache import Cache, InputError, Manifest
from affekt.classify import Predictions, Recipe, Task, load_model, run
from affekt.classify.experiments.demo.corpus import write_corpus
from affekt.classify.experiments.preview import preview

from tests.support.processes import started
from tests.support.written_reports import found_in, lines_of

RECIPE = """\
manifest: clips.csv
task: valence
cache: my.cache
encoders:
  speech: spectral
  text: ngram
split: {scheme: speaker, test_size: 0.35, dev_size: 0.25}
members:
  speech-lr: {head: logistic, on: speech, C: [0.01, 0.1]}
  text-lr: {head: logistic, on: text}
ensembles: [mean, max]
report: out
compare: {n_resamples: 200, learning_curve: false}
"""


def edit(folder: Path, old: str, new: str) -> Path:
    path = folder / "recipe.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


def times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def affekt(*words, cwd=None, **options):
    return subprocess.run(
        [sys.executable, "-m", "affekt.classify.cli", *map(str, words)],
        cwd=cwd, capture_output=True, text=True, timeout=240, check=False, **options,
    )  # fmt: skip


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A folder with a synthetic corpus, a recipe, and one run done."""
    folder = tmp_path_factory.mktemp("run")
    write_corpus(folder, voices=9, clips_per_voice=10)
    for path in folder.rglob("*.wav"):  # a file of this very second is read again in the next run
        os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns - 10**10))
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    outcome = run(folder / "recipe.yaml")
    embedded = [f"embedded 90 clips with {name}" for name in ("speech", "text")]
    trained = ["trained speech-lr", "trained text-lr"]
    assert outcome.did == [*embedded, *trained, "compared members and ensembles"]
    assert outcome.exit_code == 0
    return folder


@pytest.fixture
def project(finished, tmp_path) -> Path:
    """A copy of one's own; files keep their times."""
    return Path(shutil.copytree(finished, tmp_path / "project"))


def test_what_a_run_leaves(finished):
    out = finished / "out"
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    member = ["dev.csv", "member.json", "model/config.json", "model/model.safetensors", "pred.csv"]
    assert found == {
        *("clips.json", "comparison.json", "report.html", "report.md", "run.json", "split.csv"),
        *("ensembles.json", "ensembles.safetensors"),
        *(f"members/{name}/{file}" for name in ("speech-lr", "text-lr") for file in member),
        *(f"ensembles/{name}/pred.csv" for name in ("mean", "max")),
    }
    data = json.loads((out / "comparison.json").read_text(encoding="utf-8"))
    assert {"speech-lr", "text-lr", "mean", "max"} <= set(data["systems"])
    assert data["by"]["language"]["values"].keys() == {"deu", "eng", "spa"}
    report = (out / "report.md").read_text(encoding="utf-8")
    assert "Every member has all" in report
    assert "the best of 2 settings on dev" in report


def test_no_speaker_on_two_sides(finished):
    clips = Manifest.read(finished / "clips.csv")
    speaker = dict(zip(clips.ids, clips["speaker"], strict=True))
    sides = defaultdict(set)
    for row in table(finished / "out" / "split.csv"):
        sides[speaker[row["id"]]].add(row["split"])
    assert [len(names) for names in sides.values()] == [1] * 9


def test_predictions_are_those_of_the_saved_model(finished):
    clips = Manifest.read(finished / "clips.csv")
    for name in ("speech-lr", "text-lr"):
        folder = finished / "out" / "members" / name
        pred = Predictions.read(folder / "pred.csv", labels=Task.named("valence").labels)
        model = load_model(folder / "model", Cache(finished / "my.cache"))
        again = model.predict(clips.select(pred.ids))
        np.testing.assert_array_equal(again.proba, pred.proba)


def test_the_list_was_chosen_on_dev(finished):
    record = json.loads(
        (finished / "out/members/speech-lr/member.json").read_text(encoding="utf-8")
    )
    [part] = record["parts"]
    scores = {one["settings"]["C"]: one["dev_uar"] for one in part["tried"]}
    assert set(scores) == {0.01, 0.1}
    assert scores[part["chosen"]["settings"]["C"]] == max(scores.values())


def test_a_second_run_does_nothing_in_under_5_cpu_seconds(project):
    assert affekt("run", project / "recipe.yaml").returncode == 0  # knows the files of this folder
    before = times(project)
    spent = os.times()
    done = affekt("run", project / "recipe.yaml")
    now = os.times()
    assert done.returncode == 0, done.stderr
    assert "Nothing to do" in done.stderr
    assert "speech-lr" in done.stdout
    user, system = now.children_user, now.children_system
    assert user + system - spent.children_user - spent.children_system < 5
    assert times(project) == before


def test_a_second_run_imports_neither_torch_nor_scikit_learn(project):
    code = (
        "import sys; from affekt.classify import run; "
        f"assert run({str(project / 'recipe.yaml')!r}).did == []; "
        "print([n for n in ('torch', 'sklearn', 'transformers') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_changed_member_trains_that_member_only(project):
    kept = (project / "out/members/text-lr/member.json").stat().st_mtime_ns
    outcome = run(edit(project, "C: [0.01, 0.1]", "C: 1"))
    assert outcome.did == ["trained speech-lr", "compared members and ensembles"]
    assert (project / "out/members/text-lr/member.json").stat().st_mtime_ns == kept


def test_a_new_ensemble_trains_nothing(project):
    outcome = run(edit(project, "ensembles: [mean, max]", "ensembles: [mean, vote]"))
    assert outcome.did == ["compared members and ensembles"]


def test_a_new_label_map_embeds_nothing(project):
    (project / "arousal.yaml").write_text(
        "labels: {low: [sadness, neutral], high: [anger, fear, happiness]}\n", encoding="utf-8"
    )
    path = edit(project, "task: valence", "task: arousal.yaml")
    outcome = run(path)
    assert outcome.did == [
        "trained speech-lr", "trained text-lr", "compared members and ensembles",
    ]  # fmt: skip
    assert run(path).did == []
    (project / "arousal.yaml").write_text(
        "labels: {low: [sadness], high: [anger, fear, happiness, neutral]}\n", encoding="utf-8"
    )
    assert "trained text-lr" in run(path).did


def test_new_clips_are_embedded_alone(project):
    extra = write_corpus(project / "more", voices=10, clips_per_voice=10)
    rows = table(extra)[90:]
    for row in rows:
        shutil.copy(project / "more" / row["path"], project / row["path"])
    text = (project / "clips.csv").read_text(encoding="utf-8")
    lines = extra.read_text(encoding="utf-8").splitlines(keepends=True)[-10:]
    (project / "clips.csv").write_text(text + "".join(lines), encoding="utf-8")
    did = run(project / "recipe.yaml").did
    assert did[0] == "embedded 10 clips with speech"
    assert did[1].startswith("embedded ")  # a sentence that somebody said before is stored already


def test_a_damaged_result_is_made_again(project):
    (project / "out/report.md").write_text("tampered", encoding="utf-8")
    assert run(project / "recipe.yaml").did == ["compared members and ensembles"]
    pred = project / "out/members/text-lr/pred.csv"
    pred.write_text(pred.read_text(encoding="utf-8").replace("0.", "0.0", 1), encoding="utf-8")
    assert run(project / "recipe.yaml").did == [
        "trained text-lr", "compared members and ensembles",
    ]  # fmt: skip


def test_the_same_numbers_when_everything_is_deleted(finished, tmp_path):
    folder = tmp_path / "again"
    folder.mkdir()
    for name in ("clips.csv", "wav", "recipe.yaml"):
        (folder / name).symlink_to(finished / name)
    link = folder / "recipe.yaml"
    link.unlink()
    shutil.copy(finished / "recipe.yaml", link)
    # the manifest's own folder is its root, so the audio is copied and not linked
    (folder / "wav").unlink()
    shutil.copytree(finished / "wav", folder / "wav")
    (folder / "clips.csv").unlink()
    shutil.copy(finished / "clips.csv", folder / "clips.csv")
    run(folder / "recipe.yaml")
    for name in ("split.csv", "members/speech-lr/pred.csv"):
        assert (folder / "out" / name).read_bytes() == (finished / "out" / name).read_bytes(), name
    assert found_in(folder / "out") == found_in(finished / "out")
    assert lines_of(folder / "out") == lines_of(finished / "out")


def test_a_cache_without_the_audio_trains_and_compares(project, finished):
    shutil.rmtree(project / "wav")
    shutil.rmtree(project / "out")
    outcome = run(project / "recipe.yaml")
    assert outcome.exit_code == 0
    assert outcome.did[0] == "trained speech-lr"
    name = "members/speech-lr/pred.csv"
    assert (project / "out" / name).read_bytes() == (finished / "out" / name).read_bytes()
    here, there = found_in(project / "out"), found_in(finished / "out")
    for result in (here, there):  # only the audit listens to the files themselves
        result.pop("audit")
    [warning] = [one for one in here["warnings"] if one not in there["warnings"]]
    assert "as read in another folder" in warning
    assert [one for one in here.pop("warnings") if one != warning] == there.pop("warnings")
    assert here == there


def test_a_space_needs_no_encoder(project, finished):
    [name] = [p.name for p in (project / "my.cache/spaces").iterdir() if "spectral" in p.name]
    shutil.rmtree(project / "out")
    run(edit(project, "speech: spectral", f"speech: {{space: {name}}}"))
    file = "members/speech-lr/pred.csv"
    assert (project / "out" / file).read_bytes() == (finished / "out" / file).read_bytes()
    assert found_in(project / "out") == found_in(finished / "out")


def test_broken_files_are_quarantined_and_reported(project):
    (project / "wav/synthetic-00-00.wav").write_bytes(b"")
    (project / "wav/synthetic-00-01.wav").write_text("no sound at all, only text " * 40)
    (project / "wav/synthetic-03-02.wav").unlink()
    # the index still knows the content of a file that is gone, so it counts as stored
    done = affekt("run", project / "recipe.yaml")
    assert done.returncode == 3, done.stderr
    assert "2 clips could not be embedded: 1 empty, 1 not_audio" in done.stderr
    report = (project / "out/report.md").read_text(encoding="utf-8")
    assert "2 clips have no embedding by speech" in report
    data = json.loads((project / "out/comparison.json").read_text(encoding="utf-8"))
    assert data["run"]["quarantined"] == {"speech": {"empty": 1, "not_audio": 1}, "text": {}}
    again = affekt("run", project / "recipe.yaml")
    assert again.returncode == 3
    assert "Nothing to do" in again.stderr
    write_corpus(project, voices=9, clips_per_voice=10)
    healed = run(project / "recipe.yaml")
    assert healed.exit_code == 0
    assert healed.quarantined == {"speech": {}, "text": {}}


def test_a_killed_run_goes_on(finished, project):
    """kill -9 as soon as the first member stands; the second run trains only the other one."""
    shutil.rmtree(project / "out")
    words = [sys.executable, "-m", "affekt.classify.cli", "run", str(project / "recipe.yaml")]
    first = project / "out/members/speech-lr/member.json"
    with started(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as worker:
        while not first.exists() and worker.poll() is None:
            time.sleep(0.002)
        worker.send_signal(signal.SIGKILL)
    assert first.exists()
    did = run(project / "recipe.yaml").did
    assert "trained speech-lr" not in did
    name = "members/text-lr/pred.csv"
    assert (project / "out" / name).read_bytes() == (finished / "out" / name).read_bytes()
    assert found_in(project / "out") == found_in(finished / "out")


def drop_texts(folder, language):
    path = folder / "clips.csv"
    rows = table(path)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow(row | ({"text": ""} if row["language"] == language else {}))


def test_clips_without_text_are_compared_apart_and_counted(project):
    drop_texts(project, "spa")
    run(project / "recipe.yaml")
    data = json.loads((project / "out/comparison.json").read_text(encoding="utf-8"))
    coverage = data["run"]["coverage"]
    assert "spa" not in coverage["compared_on"]["languages"]
    assert coverage["members"]["speech-lr"]["clips"] == coverage["any_member"]["clips"]
    assert coverage["members"]["text-lr"]["clips"] == coverage["compared_on"]["clips"]
    assert data["test"]["clips"] == coverage["compared_on"]["clips"]
    there, left = coverage["any_member"]["clips"], coverage["any_member"]["languages"]["spa"]
    said = f"{left} of {there} test clips, all of spa, are not compared here, since "
    assert data["warnings"][0].startswith(said)
    assert "text-lr" in data["warnings"][0]
    wide = json.loads((project / "out/all-clips/comparison.json").read_text(encoding="utf-8"))
    assert set(wide["systems"]) == {"speech-lr", "mean of those there", "max of those there"}
    assert wide["test"]["clips"] == coverage["any_member"]["clips"]
    assert "spa" in wide["by"]["language"]["values"]
    report = (project / "out/report.md").read_text(encoding="utf-8")
    assert "that every member has, of" in report


def test_a_member_without_any_clip_is_named(project):
    for language in ("spa", "eng", "deu"):
        drop_texts(project, language)
    with pytest.raises(InputError) as error:
        run(project / "recipe.yaml")
    assert "every text of" in str(error.value)
    assert f"{project / 'recipe.yaml'}:6" in str(error.value)


def test_folds_test_every_clip_once(project):
    path = edit(project, "{scheme: speaker, test_size: 0.35, dev_size: 0.25}",
                "{scheme: group-kfold, n_splits: 3, dev_size: 0.2}")  # fmt: skip
    run(path)
    pred = Predictions.read(project / "out/members/speech-lr/pred.csv")
    assert sorted(pred.ids) == sorted(Manifest.read(project / "clips.csv").ids)
    names = {p.name for p in (project / "out/members/speech-lr").iterdir() if p.is_dir()}
    assert names == {"model-1", "model-2", "model-3"}
    rows = table(project / "out/split.csv")
    assert sum(row["split"] == "test" for row in rows) == len(pred)
    assert run(path).did == []


def test_a_list_without_dev_is_refused_with_its_line(project):
    path = edit(project, "dev_size: 0.25", "dev_size: 0")
    with pytest.raises(InputError, match=r"recipe\.yaml:9: .*2 settings to choose from"):
        run(path)


def test_only_some_clips_take_part(project):
    path = edit(project, "task: valence", "task: valence\nwhere: {language: [deu, eng]}")
    run(path)
    data = json.loads((project / "out/comparison.json").read_text(encoding="utf-8"))
    assert set(data["run"]["coverage"]["any_member"]["languages"]) == {"deu", "eng"}
    with pytest.raises(InputError, match=r"Did you mean 'deu'"):
        run(edit(project, "[deu, eng]", "[deu, dou]"))


def test_a_condition_may_have_another_unicode_form(project):
    clips = Manifest.read(project / "clips.csv")
    names = ["M\u00fcller" if name != "eng" else "Otto" for name in clips["language"]]
    clips.with_columns(dataset=names).write(project / "named.csv")
    where = "manifest: named.csv\nwhere: {dataset: Mu\u0308ller}"
    path = edit(project, "manifest: clips.csv", where)
    assert preview(path).clips == names.count("M\u00fcller")


def test_a_recipe_object_and_a_path_are_the_same(project):
    assert run(Recipe.read(project / "recipe.yaml")).did == []


def test_a_report_folder_that_cannot_be_written(project):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (project / "out").chmod(0o500)
    try:
        edit(project, "[mean, max]", "[mean]")
        done = affekt("run", project / "recipe.yaml")
        assert (done.returncode, "permission" in done.stderr.lower()) == (1, True)
    finally:
        (project / "out").chmod(0o700)
