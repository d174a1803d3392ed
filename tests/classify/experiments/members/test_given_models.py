"""Members of a recipe that are models already: ``{model: FOLDER}``, or classifiers."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from affekt.cache import InputError, Manifest
from affekt.classify import Predictions, Task, load_model, run
from affekt.classify.experiments.checks.recipe_checks import check_classes
from affekt.classify.experiments.members.given_models import with_models
from affekt.classify.experiments.preview import preview
from affekt.classify.experiments.recipes.recipe import Recipe
from affekt.classify.models.published import published

from tests.support.umuteam_models import ES, write_text

from ..test_run_check import RECIPE, recipe, write_clips

GIVEN = ("  lr2: {head: logistic, on: text, C: 1}\n", "  given: {model: moved/valence}\n")
TRAINED = "  lr: {head: logistic, on: text}\n"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run, and the model of one of its members at another place."""
    folder = tmp_path_factory.mktemp("given")
    write_clips(folder / "clips.csv")
    run(recipe(folder))
    shutil.copytree(folder / "out" / "members" / "lr2" / "model", folder / "moved" / "valence")
    return folder


def test_a_given_model_is_compared_and_predicts(trained):
    path = recipe(trained, GIVEN, ("report: out", "report: again"))
    members = preview(path).members
    assert members["given"]["folds"][0]["train"] == 0 < members["lr"]["folds"][0]["train"]
    run(path)
    own, first = trained / "again" / "members", trained / "out" / "members"
    for name in ("pred.csv", "dev.csv"):
        found, wanted = (Predictions.read(place / name) for place in (own / "given", first / "lr2"))
        assert list(found.ids) == list(wanted.ids)
        np.testing.assert_allclose(found.proba, wanted.proba, atol=1e-6)
    with (
        load_model(trained / "moved" / "valence") as model,
        load_model(trained / "again", system="given") as member,
        load_model(trained / "again", system="mean") as ensemble,
        load_model(trained / "again", system="lr") as other,
    ):
        wanted = model.predict(text="rain and sun").proba
        assert np.array_equal(member.predict(text="rain and sun").proba, wanted)
        mean = (wanted + other.predict(text="rain and sun").proba) / 2
        np.testing.assert_allclose(ensemble.predict(text="rain and sun").proba, mean, atol=1e-6)
    assert (
        "the model moved/valence, not trained here" in (trained / "again" / "report.md").read_text()
    )
    assert run(path).did == []


def test_another_model_at_the_same_place_is_seen(trained):
    path = recipe(trained, GIVEN, (TRAINED, ""), ("report: out", "report: alone"),
                  ("encoders: {text: ngram}\n", ""))  # fmt: skip
    run(path)
    before = Predictions.read(trained / "alone" / "members" / "given" / "pred.csv")
    shutil.copytree(trained / "out" / "members" / "lr" / "model", trained / "moved" / "valence",
                    dirs_exist_ok=True)  # fmt: skip
    config = trained / "moved" / "valence" / "config.json"
    config.write_text(config.read_text() + "\n")
    assert run(path).did
    after = Predictions.read(trained / "alone" / "members" / "given" / "pred.csv")
    assert list(before.ids) == list(after.ids)


def test_the_encoder_of_a_given_model_is_found_where_it_was(tmp_path):
    """An imported classifier brings its encoder; the recipe names none."""
    text = write_text(tmp_path / "roberta")
    published(text).model.save_pretrained(tmp_path / "model")
    rows = [
        {"id": f"{label}-{i}", "text": f"{label} one two {i}", "label": label, "speaker": str(i),
         "split": "test"}
        for label in ES
        for i in range(3)
    ]  # fmt: skip
    write_clips(tmp_path / "clips.csv", rows)
    (tmp_path / "r.yaml").write_text(
        "manifest: clips.csv\ntask: emotion6\nsplit: {scheme: column}\n"
        "members: {given: {model: model}}\n"
        "compare: {n_resamples: 100, learning_curve: false}\nreport: out\n"
    )
    run(tmp_path / "r.yaml")
    found = Predictions.read(tmp_path / "out" / "members" / "given" / "pred.csv")
    with load_model(text) as model:
        wanted = model.predict(Manifest.read(tmp_path / "clips.csv"))
    assert found.labels == wanted.labels
    order = [wanted.ids.index(name) for name in found.ids]
    np.testing.assert_allclose(found.proba, wanted.proba[order], atol=1e-6)
    assert json.loads((tmp_path / "out" / "comparison.json").read_text())["systems"].keys() == {
        "given"
    }


@pytest.mark.parametrize(
    ("member", "said"),
    [
        ("{model: out}", r"r.yaml:\d+: .*the folder of a run; name .*members"),
        ("{model: nowhere}", "does not exist; expected the folder of a model"),
        ("{model: clips.csv}", "is a file; expected the folder"),
        ("{model: moved}", "not a model of affekt; .*affekt import-model"),
        ("{model: moved/valence, head: mlp}", "is not trained, so head has no effect"),
        ("{model: 3}", "model of member 'given' is 3; expected text"),
    ],
)
def test_what_is_not_a_model_is_refused(trained, member, said):
    path = recipe(trained, (GIVEN[0], f"  given: {member}\n"))
    with pytest.raises(InputError, match=said):
        preview(path)


def test_a_model_of_other_labels_is_refused(trained):
    found = Recipe.read(recipe(trained, GIVEN))
    with pytest.raises(InputError, match="gives negative, neutral, positive; the task two has"):
        with_models(found, Task.from_labels(["no", "yes"], name="two"))


def test_a_member_that_is_trained_needs_encoders(trained):
    path = recipe(trained, ("encoders: {text: ngram}\n", ""))
    with pytest.raises(InputError, match="has no 'encoders', which member 'lr' needs"):
        preview(path)


def test_classes_that_the_task_does_not_know_are_named_with_the_remedy(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.replace("head: logistic, on: text}", "on: text}", 1))
    tuned = Recipe.read(path).members["lr"]
    with pytest.raises(InputError, match="does not know the label 'LABEL_0'") as refused:
        check_classes(tuned, ["LABEL_0", "LABEL_1"], Task.named("valence"))
    assert "synonyms: {negative: [LABEL_0]}" in str(refused.value)
    (tmp_path / "task.yaml").write_text(
        "extends: valence\nsynonyms: {negative: [LABEL_0], positive: [LABEL_1]}\n"
    )
    check_classes(tuned, ["LABEL_0", "LABEL_1"], Task.read(tmp_path / "task.yaml"))
