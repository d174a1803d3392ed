"""Every member that a run compares predicts new clips: classifiers, folds, refitted models."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from affekt.cache import Cache, InputError, Manifest, SpecError
from affekt.classify import Model, Predictions, Task, load_model, open_system, run
from affekt.classify.cli import affekt
from affekt.classify.evaluation.reports.card import model_card
from affekt.classify.experiments.demo.corpus import write_corpus
from affekt.classify.models.folders.run_folder import learnt_from
from click.testing import CliRunner

from tests.support import encoder_models as small

VALENCE = Task.named("valence")
LABELS = ["anger", "happiness", "neutral", "surprise", "sadness"]
RECIPE = """\
manifest: clips.csv
task: valence
cache: my.cache
encoders:
  speech: spectral
  words: ngram
  beto: {name: %(place)s, classifier: true, device: cpu}
split: %(split)s
members:
  fine-tuned: {on: beto}
  lr: {head: logistic, on: words%(refit)s}
  fused: {head: concat, on: [speech, words], hidden: [[4]], max_epochs: 3%(refit)s}
ensembles: [mean, max]
compare: {n_resamples: 100, learning_curve: false}
report: %(report)s
"""
RUNS = {
    "split": ("{scheme: speaker, test_size: 0.35, dev_size: 0.25}", ""),
    "folds": ("{scheme: group-kfold, n_splits: 3}", ""),
    "refit": ("{scheme: group-kfold, n_splits: 3}", ", refit: true"),
    "repeats": ("{scheme: speaker, test_size: 0.35, dev_size: 0.25, repeats: 2}", ""),
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Clips, and a fine-tuned text classifier of random weights in `elsewhere/checkpoint-500`."""
    import transformers as tf

    folder = tmp_path_factory.mktemp("served")
    write_corpus(folder, voices=6, clips_per_voice=6)
    labels = dict(enumerate(LABELS))
    small.saved(
        "bert",
        folder / "elsewhere" / "checkpoint-500",
        kind=tf.BertForSequenceClassification,
        id2label=labels,
        label2id={label: index for index, label in labels.items()},
    )
    for name, (split, refit) in RUNS.items():
        place = folder / "elsewhere" / "checkpoint-500"
        text = RECIPE % {"split": split, "refit": refit, "report": name, "place": place}
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
        assert run(folder / f"{name}.yaml").exit_code == 0
    return folder


@pytest.fixture(scope="module")
def clips(corpus) -> Manifest:
    return Manifest.read(corpus / "clips.csv")


@pytest.mark.parametrize("name", ["split", "folds", "refit", "repeats/repeat-2"])
def test_every_system_of_a_run_predicts(name, corpus, clips):
    """From memory, from files and from the cache, the members' answers combined."""
    folder = corpus / name
    systems = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))["systems"]
    assert len(systems) == 5
    some = clips.select(np.arange(3))
    waves = [soundfile.read(some.file(row), dtype="float32")[0] for row in range(3)]
    rate = soundfile.info(some.file(0)).samplerate
    for system in systems if name in ("split", "folds") else ["mean"]:
        with load_model(folder, system=system) as predictor:
            stored = predictor.predict(some, Cache(corpus / "my.cache"))
            files = predictor.predict(some)
            heard = predictor.predict(waves, texts=list(some["text"]), sampling_rate=rate)
            for found in (files, heard):
                np.testing.assert_allclose(found.proba, stored.proba, atol=1e-6, err_msg=system)
            notes = predictor.answer(some).notes
        several = name == "folds" and system != "fine-tuned"
        assert any("the mean of 3 models" in note for note in notes) is several, system


def test_a_classifier_answers_as_it_was_compared(corpus, clips):
    folder = corpus / "split"
    wanted = Predictions.read(folder / "members/fine-tuned/pred.csv", labels=VALENCE.labels)
    model = Model.from_pretrained(folder / "members/fine-tuned/model")
    found = model.predict(clips.select(wanted.ids), Cache(corpus / "my.cache"))
    np.testing.assert_allclose(found.proba, wanted.proba, atol=1e-12)
    # by hand: the probabilities of the classifier, summed by valence; surprise is left out
    space = next(s for s in Cache(corpus / "my.cache").spaces() if s.spec.labels)
    given = space.features(-1).read(clips.select(wanted.ids)).astype(float)
    by_label = dict(zip(LABELS, given.T, strict=True))
    summed = [by_label["anger"] + by_label["sadness"], by_label["neutral"], by_label["happiness"]]
    by_hand = np.stack(summed, axis=1)
    np.testing.assert_allclose(found.proba, by_hand / by_hand.sum(1, keepdims=True), atol=1e-9)


def test_what_the_run_did_not_write_is_refused(corpus, tmp_path):
    shutil.copytree(corpus / "split", tmp_path / "run")
    files = ("members/lr/model/config.json", "ensembles.json")
    for name, system in zip(files, ("lr", "mean"), strict=True):
        before = (tmp_path / "run" / name).read_text()
        (tmp_path / "run" / name).write_text(f"{before}\n")
        with pytest.raises(InputError, match="not as the run wrote it"):
            open_system(tmp_path / "run", system=system)
        assert open_system(tmp_path / "run", system="fused").name == "fused"
        (tmp_path / "run" / name).write_text(before)
    assert open_system(tmp_path / "run", system="mean").name == "mean"


@pytest.mark.parametrize("where", ["members/lr", "ensembles/mean", "repeat-2/members/lr"])
def test_the_predictions_of_a_run_are_not_written_over(corpus, where, tmp_path):
    run_, table = shutil.copytree(corpus / "split", tmp_path / "run"), corpus / "clips.csv"
    shutil.copytree(run_ / "members", run_ / "repeat-2/members")
    own = run_ / where / "pred.csv"
    before = own.read_bytes()
    words = ["predict", str(run_), str(table), "--system", "lr", "-o", str(own)]
    result = CliRunner().invoke(affekt, words)
    assert isinstance(result.exception, InputError), result.output
    assert f"-o {own} is the input" in str(result.exception)
    assert own.read_bytes() == before


@pytest.mark.parametrize(("name", "count"), [("folds", 36), ("split", None)])
def test_clips_that_the_run_learnt_from_are_counted(name, count, corpus, monkeypatch):
    monkeypatch.chdir(corpus)
    command = ["predict", name, "clips.csv", "--cache", "my.cache", "-o", f"{name}-all.csv"]
    done = CliRunner().invoke(affekt, command, catch_exceptions=False)
    split = (corpus / name / "split.csv").read_text().splitlines()
    parts = [line.split(",")[1] for line in split]
    learnt = count or parts.count("train") + parts.count("dev")
    which = "all 36 clips" if learnt == 36 else f"at least {learnt} of these 36 clips"
    assert f"by their ids, the run learnt from {which} (" in done.stderr
    tested = {line.split(",")[0] for line in split if ",test" in line}
    predicted = Predictions.read(corpus / name / "members/lr/pred.csv", labels=VALENCE.labels)
    assert {*predicted.ids} == tested  # "has answers for the test clips"
    result = CliRunner().invoke(affekt, ["predict", name, "--text", "oh", "--system", "lr"])
    assert "learnt" not in result.stderr


def test_row_numbers_tell_only_of_the_same_table(tmp_path):
    (tmp_path / "split.csv").write_text("id,split\n1,train\n2,train\n3,test\n")
    for count, said in ((2, False), (3, True)):
        (tmp_path / "new.csv").write_text("text\n" + "oh\n" * count)
        assert bool(learnt_from(tmp_path, Manifest.read(tmp_path / "new.csv"))) is said


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        ("1", "by its id, the run learnt from this clip (), so its answer for it says nothing"),
        ("12", "by their ids, the run learnt from all 2 clips (), so its answers for them say"),
        ("13", "their ids, the run learnt from at least 1 of these 2 clips (), so its answer for"),
        ("123", "the run learnt from at least 2 of these 3 clips (), so its answers for them say"),
        ("3", ""),
    ],
)
def test_the_clips_that_the_run_learnt_from_are_named_in_a_sentence(ids, said, tmp_path):
    (tmp_path / "split.csv").write_text("id,split\n1,train\n2,dev\n3,test\n")
    named = Manifest.from_rows([{"id": one, "text": "oh"} for one in ids])
    warning = learnt_from(tmp_path, named).replace(str(tmp_path / "split.csv"), "")
    assert said in warning
    assert bool(said) is bool(warning)


def test_a_pipe_in_place_of_the_split_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "split.csv")
    assert not learnt_from(tmp_path, Manifest.from_rows([{"id": "1", "text": "oh"}]))


def test_folds_answer_with_their_mean(corpus, clips):
    folder = corpus / "folds/members/fused"
    assert sorted(path.name for path in folder.glob("model*")) == ["model-1", "model-2", "model-3"]
    models = [Model.from_pretrained(folder / f"model-{n}") for n in (1, 2, 3)]
    some, cache = clips.select(np.arange(4)), Cache(corpus / "my.cache")
    wanted = np.mean([model.predict(some, cache).proba for model in models], axis=0)
    system = open_system(corpus / "folds", system="fused")
    assert len(system.folds["fused"]) == 3
    answer = system.predict(some, cache)
    assert answer.predictions is not None
    np.testing.assert_allclose(answer.predictions.proba, wanted, atol=1e-12)
    assert answer.notes == ["fused: the mean of 3 models, one from each fold"]


def test_a_refitted_model_learnt_from_every_clip(corpus, clips):
    folder = corpus / "refit/members/lr"
    record = json.loads((folder / "member.json").read_text(encoding="utf-8"))
    labelled, _ = VALENCE.select(clips)
    assert record["refit"]["clips"] == len(labelled)
    model = Model.from_pretrained(folder / "model")
    assert model.record["train"]["clips"] == len(labelled)
    by_hand = Model(model.head_.__class__(), VALENCE, [])
    space = Cache(corpus / "my.cache").space("ngram")
    by_hand = Model(model.head_.__class__(), VALENCE, space.features()).fit(labelled)
    some = clips.select(np.arange(4))
    assert model.predict(some, Cache(corpus / "my.cache")) == by_hand.predict(some)


def test_the_encoders_folder_is_remembered(corpus, clips, tmp_path):
    """As a relative path, so that a project moves as a whole; not on the Hub."""
    model = corpus / "split/members/fine-tuned/model"
    noted = json.loads((model / "encoders.json").read_text(encoding="utf-8"))["encoders"]
    assert [one["folder"] for one in noted.values()] == ["../../../../elsewhere/checkpoint-500"]
    assert str(corpus) not in (model / "config.json").read_text(encoding="utf-8")
    wanted = load_model(model).predict(text="what a day")
    shutil.copytree(corpus, tmp_path / "moved")
    moved = tmp_path / "moved"
    place = moved / "elsewhere" / "checkpoint-500"
    with load_model(moved / "split", system="fine-tuned") as predictor:
        found = predictor.predict(text="what a day")
        np.testing.assert_array_equal(found.proba, wanted.proba)
    assert open_system(model).name == "fine-tuned"
    place.rename(moved / "gone")
    with load_model(moved / "split", system="fine-tuned") as predictor:
        with pytest.raises(InputError, match=r"looks for it at .*-500, .*`encoders=FOLDER`"):
            predictor.predict(text="what a day")
        again = predictor.predict(text="what a day", encoders=moved / "gone")
        np.testing.assert_array_equal(again.proba, wanted.proba)
    shutil.copytree(moved / "gone", place)
    config = json.loads((place / "config.json").read_text(encoding="utf-8"))
    config["layer_norm_eps"] = 0.1
    (place / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(SpecError, match=r"checkpoint-500 was the encoder .* changed since"):
        load_model(moved / "split", system="fine-tuned").predict(text="what a day")
    load_model(model).save_pretrained(tmp_path / "copy", note_encoders=False)
    assert not (tmp_path / "copy/encoders.json").exists()
    load_model(model).save_pretrained(tmp_path / "copy")
    assert load_model(tmp_path / "copy").predict(text="what a day") == wanted


def test_a_space_is_called_as_the_recipe_calls_its_encoder(corpus):
    names = {space.name[:-9] for space in Cache(corpus / "my.cache").spaces()}
    assert names == {"beto", "ngram-bag", "spectral-functionals"}


def commands(text):
    """The command lines of a card that name a folder, not the Hub."""
    return re.findall(r"^affekt predict (?!OWNER).*$", text.split("## Use")[1], re.MULTILINE)


def test_the_commands_of_a_card_work(corpus, clips, tmp_path, monkeypatch):
    monkeypatch.chdir(corpus)
    shutil.copy(clips.file(0), corpus / "clip.wav")
    called = []
    for name in ("split", "folds", "repeats/repeat-1"):
        for system in ("fine-tuned", "lr", "mean"):
            [line] = commands(model_card(name, system))
            words = shlex.split(line)
            done = CliRunner().invoke(affekt, words[1:], catch_exceptions=False)
            assert done.exit_code == 0, (line, done.output)
            called.append(line)
    said = "--text 'What a wonderful day!'"
    assert called[0] == f"affekt predict split --system fine-tuned {said}"
    assert called[2] == f"affekt predict split --system mean clip.wav {said}"
    shutil.copytree(corpus / "split", tmp_path / "alone" / "a run" / "deep" / "er")
    monkeypatch.chdir(tmp_path / "alone")
    shutil.copytree(corpus / "elsewhere" / "checkpoint-500", "checkpoint-500")
    [line] = commands(model_card(tmp_path / "alone" / "a run/deep/er", "fine-tuned"))
    assert line == (
        f"affekt predict 'a run/deep/er' --system fine-tuned {said} --encoder checkpoint-500"
    )
    done = CliRunner().invoke(affekt, shlex.split(line)[1:], catch_exceptions=False)
    assert done.exit_code == 0, done.output


def test_a_card_says_how_its_model_is_used_from_the_hub(corpus, clips, tmp_path, monkeypatch):
    monkeypatch.chdir(corpus)
    shutil.copy(clips.file(0), corpus / "clip.wav")
    [line] = re.findall(r"^affekt predict OWNER/NAME.*$", model_card("split", "lr"), re.MULTILINE)
    load_model("split/members/lr/model").save_pretrained("OWNER/NAME")
    done = CliRunner().invoke(affekt, shlex.split(line)[1:], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "OWNER" not in model_card("split", "mean")  # of several models
    assert "OWNER" not in model_card("folds", "lr")  # one from each fold
    with pytest.raises(InputError, match=r"the run and `system='lr'` .* folds/members/lr/"):
        open_system("folds/members/lr")
    with pytest.raises(InputError, match="Did you mean split/members/lr/model"):
        open_system("split/members/lr")


def test_a_second_run_has_nothing_to_do(corpus):
    for name in RUNS:
        assert run(corpus / f"{name}.yaml").did == [], name


def test_what_cannot_predict_is_reported_when_the_recipe_is_read(corpus, clips):
    from affekt.cache.care.import_export import import_space

    values = {name: np.full(3, row, float) for row, name in enumerate(clips.ids)}
    import_space(Cache(corpus / "other.cache"), values, clips, "given")
    text = (corpus / "split.yaml").read_text(encoding="utf-8")
    head, _, _ = text.partition("encoders:")
    (corpus / "given.yaml").write_text(
        head.replace("my.cache", "other.cache") + "encoders: {own: {space: given}}\n"
        "split: {scheme: speaker, test_size: 0.35, dev_size: 0.25}\n"
        "members: {lr: {head: logistic, on: own}}\n"
        "compare: {n_resamples: 100, learning_curve: false}\nreport: given\n",
        encoding="utf-8",
    )
    said = []
    assert run(corpus / "given.yaml", progress=said.append).exit_code == 0
    assert said[0].startswith("own: the space given was not made by an affekt encoder")
    with pytest.raises(InputError, match="which was not made by an affekt encoder"):
        load_model(corpus / "given").predict(text="x")


def test_refit_is_for_members_with_a_head(corpus, tmp_path):
    text = (corpus / "split.yaml").read_text(encoding="utf-8")
    text = text.replace("{on: beto}", "{on: beto, refit: true}")
    (corpus / "wrong.yaml").write_text(text.replace("report: split", "report: w"), encoding="utf-8")
    with pytest.raises(InputError, match=r"wrong\.yaml:10: .* has no head, so refit has no effect"):
        run(corpus / "wrong.yaml")
