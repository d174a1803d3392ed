"""The task of a first recipe, as `affekt init` reads it off a table."""

from __future__ import annotations

import re

import pytest
import yaml
from affekt.cache import InputError
from affekt.classify import Recipe, Task
from affekt.classify.experiments.first_recipe.recipe_for import _scalar, write_recipe
from affekt.classify.experiments.preview import preview

from .test_first_recipe import first, rows, table


def test_the_task_is_read_off_the_labels(tmp_path):
    found = first(tmp_path / "d", rows(["positive", "negative", "neutral"] * 10))
    assert Recipe.read(found.path).task == "valence"
    assert not (tmp_path / "d" / "task.yaml").exists()
    found = first(tmp_path / "e", rows(["rot", "grün"] * 15))
    assert Task.read(tmp_path / "e" / "task.yaml").labels == ("grün", "rot")
    assert "none of affekt's tasks knows the labels" in found.notes
    found = first(tmp_path / "f", rows(["anger", "joy"] * 15), task="valence")
    assert Recipe.read(found.path).task == "valence"


@pytest.mark.parametrize("labels", [["positive", "negative"], ["1", "-1"], ["pos", "negative"]])
def test_a_sentiment_without_clips_is_not_a_class(tmp_path, labels):
    found = first(tmp_path, rows(labels * 15))
    task = Task.read(tmp_path / "task.yaml")
    assert task.labels == ("negative", "positive")
    assert [task.label_of(raw) for raw in labels] == ["positive", "negative"]
    assert any("no clip is neutral, so the task is not valence" in note for note in found.notes)


def test_labels_that_are_lists_of_labels_are_noticed(tmp_path):
    labels = ["joy", "anger", "joy,anger", "", '["joy"]', '["anger", "joy"]']
    found = first(tmp_path, rows(labels * 10))
    assert any("'joy,anger' is several labels in one" in note for note in found.notes)
    many = [f"e{i}" for i in range(8)] + [f"e{i}|e{j}" for i in range(8) for j in range(i)]
    with pytest.raises(InputError, match=r"'e1\|e0' is several labels in one"):
        first(tmp_path / "many", rows(many * 2))


def test_the_nearest_task_is_named_with_what_it_does_not_know(tmp_path):
    labels = ["anger", "joy", "sadness", "boredom", "angst!", "neutral"] * 10
    found = first(tmp_path, rows(labels))
    [note] = [note for note in found.notes if "closest task" in note]
    assert note.startswith("the closest task of affekt is emotion6 (anger, disgust, fear, joy")
    assert "it leaves out 'boredom'" in note
    assert "it does not know 'angst!' (did you mean 'angst'" in note


def test_a_label_that_is_misspelt_is_not_merely_rare(tmp_path):
    found = first(tmp_path, rows(["angry", "sad"] * 15 + ["angrry", "bored"]))
    [note] = [note for note in found.notes if "angrry" in note and "class of its own" in note]
    assert "has 1 clip and is a class of its own. Did you mean 'angry'?" in note
    assert any("few clips: bored (1);" in note for note in found.notes)


def test_a_label_of_nearly_all_clips_is_noticed(tmp_path):
    said = "90% of the clips are calm: always predicting it gives an accuracy of 0.90"
    for calm, is_said in ((90, True), (60, False)):
        found = first(tmp_path / str(calm), rows(["calm"] * calm + ["angry"] * (100 - calm)))
        assert any(said in note for note in found.notes) == is_said


def test_folders_of_speakers_taken_for_labels_give_a_note(tmp_path):
    names = [
        f"{who}/{word}_{i}.wav" for who in ("s1", "s2") for word in ("joy", "wut") for i in "1234"
    ]
    clips = [{"path": name, "text": name, "label": name[:2]} for name in names]
    said = "hold emotions (anger, happiness): are the labels the speakers?"
    assert any(said in note for note in first(tmp_path / "a", clips).notes)
    right = [row | {"label": row["path"][3:6], "speaker": row["label"]} for row in clips]
    assert not any("hold emotions" in note for note in first(tmp_path / "b", right).notes)


def test_speakers_and_labels_that_are_exchanged_give_a_note(tmp_path):
    speakers = rows(["anna", "bela", "carla"] * 12)
    given = [row | {"speaker": ("Joy", "fear")[at % 2]} for at, row in enumerate(speakers)]
    said = "knows the labels; but the speakers are emotions (fear, joy): exchange the two columns"
    assert any(said in note for note in first(tmp_path, given).notes)


def test_columns_of_votes_become_a_recipe_that_learns_from_them(tmp_path):
    chosen = [{"votes:sad": str(i % 4), "votes:glad": str(3 - i % 4)} for i in range(40)]
    given = [{"id": f"c{i}", "text": f"text {i}"} | one for i, one in enumerate(chosen)]
    found = first(tmp_path, given)
    assert Recipe.read(found.path).votes is True
    assert Task.read(tmp_path / "task.yaml").labels == ("sad", "glad")
    assert preview(found.path).clips == 40


def test_columns_of_raters_become_a_recipe_that_learns_from_all_of_them(tmp_path):
    raters = {
        "rater 1": ["sad", "glad", "calm"] * 10,
        "rater 2": ["sad", "", "Glad"] * 10,
        "sex": ["m", "f"] * 15,
    }
    given = [{k: v for k, v in row.items() if k != "label"} for row in rows(["x"] * 30, **raters)]
    found = first(tmp_path, given)
    assert Recipe.read(found.path).votes == ("rater 1", "rater 2")
    assert Task.read(tmp_path / "task.yaml").labels == ("calm", "glad", "sad")
    assert found.notes[0] == "rater 1, rater 2 are taken as raters"
    assert preview(found.path).labels == {"calm": 0, "glad": 10, "sad": 10}
    assert any(n.startswith("no clip is calm according to most raters") for n in found.notes)
    assert any("10 of 30 clips have no vote, or several labels that lead" in n for n in found.notes)


def test_raters_may_use_the_words_of_a_task_that_is_named(tmp_path):
    raters = {"Rater 1": ["sad", "joy", "calm"] * 10, "Rater 2": ["sad", "joy", ""] * 10}
    for columns in (raters, {"votes:sad": ["2", "", "1"] * 10, "votes:joy": ["1", "3", ""] * 10}):
        given = [
            {k: v for k, v in row.items() if k != "label"} for row in rows("x" * 30, **columns)
        ]
        (tmp_path / "recipe.yaml").unlink(missing_ok=True)
        found = first(tmp_path, given, task="valence")
        recipe = Recipe.read(found.path)
        assert (recipe.task, recipe.votes) == (
            "valence",
            tuple(raters) if columns is raters else True,
        )


def test_labels_that_are_numbers_have_their_names_elsewhere(tmp_path):
    labels = ["0", "1", "2"] * 10
    found = first(tmp_path / "d", rows(labels))
    [note] = [note for note in found.notes if "numbers" in note]
    assert "such as {low: ['0'], high: ['2']}" in note
    [values] = re.findall(r"values: \{[^}]*\}", note)
    task = tmp_path / "d" / "task.yaml"
    task.write_text(f"{task.read_text(encoding='utf-8')}{values}\n", encoding="utf-8")
    assert Task.read(task).values == {"0": 0, "1": 1, "2": 2}
    names = [["sad", "calm", "glad"][int(label)] for label in labels]
    found = first(tmp_path / "e", rows(labels, label_name=names, other=["x", "y"] * 15))
    [note] = [note for note in found.notes if "numbers" in note]
    assert note.endswith("column label_name has a name for each: rename it label to read names")


def test_labels_in_capitals_are_near_a_task(tmp_path):
    found = first(tmp_path, rows(["HAPPY", "SAD"] * 15))
    [note] = [note for note in found.notes if "none of affekt's tasks" in note]
    assert note.endswith(
        "; in lower case valence, valence-vocametrix, emotion6, emotion7 would (ignore_case)"
    )


@pytest.mark.parametrize(
    ("columns", "advice"),
    [
        ({"mood": ["sad", "glad"] * 15}, "rename the one that is the label: mood\\?"),
        (
            {"Gefühl": ["rot", "grün"] * 15, "Sprecher": ["s1", "s2"] * 15, "sex": ["f", "m"] * 15},
            "rename the one that is the label: Gefühl\\?",
        ),
        (
            {"sad": ["0", "1"] * 15, "glad": ["1", "0"] * 15, "loud": ["1", "1", "0"] * 10},
            "sad, glad, loud are yes or no, and in 20 rows several are 1",
        ),
        (
            {"sad": ["0", "1"] * 15, "glad": ["1", "0"] * 15},
            "one of sad, glad is 1 in each row: write its name into a column label",
        ),
        (
            {"sad": ["0", "2", "3"] * 10, "glad": ["5", "3", "2"] * 10},
            "sad or glad\\? If they count raters' votes, rename them votes:sad and so on",
        ),
        (
            {"sad": ["0.2", "0.65", "1"] * 10, "glad": ["0.8", "0.35", "0"] * 10},
            "sad, glad are shares of each clip: rename them votes:sad and so on to learn them",
        ),
        (
            {"valence_Ann": ["1", "2", "3"] * 10, "Ben valence": ["1", "5", "2"] * 10},
            "valence_Ann, Ben valence: if these are ratings by several people, write a",
        ),
        (
            {
                "Ann": ["sad", "glad"] * 15,
                "Ben": ["glad", "glad", "sad"] * 10,
                "sex": ["f", "m"] * 15,
            },
            "If Ann, Ben are raters, rename them rater1, rater2 and so on",
        ),
    ],
)
def test_columns_that_may_be_the_label(tmp_path, columns, advice):
    given = rows(["x"] * 30, **columns)
    for row in given:
        del row["label"]
    with pytest.raises(InputError, match=advice):
        first(tmp_path, given)


def test_no_column_of_ratings_is_passed_over_for_a_few_odd_cells(tmp_path):
    given = rows(["x"] * 30, valence=["1", "2", "3"] * 10, arousal=["NA", *"12345"] * 5)
    for row in given:
        del row["label"]
    first(tmp_path, given)
    task = Task.read(tmp_path / "task.yaml")
    assert task.labels == ("arousal", "valence")
    given[3]["arousal"] = "-"
    with pytest.raises(InputError, match=r"column 'arousal' holds '-' \(line 5\)"):
        first(tmp_path / "odd", given)


def test_labels_of_one_meaning_are_one_class(tmp_path):
    labels = ["happy", "Joy", "sad", "SAD", "wow", "wow "] * 5 + ["happy"]
    found = first(tmp_path, rows(labels))
    task = Task.read(tmp_path / "task.yaml")
    assert task.labels == ("happy", "sad", "wow")
    assert [task.label_of(raw) for raw in ("Joy", "SAD", "happy")] == ["happy", "sad", "happy"]
    assert "labels 'happy' and 'Joy' are taken as one label, 'happy'" in found.notes[0].replace(
        ", ", " and ", 1
    )
    assert preview(found.path).labels == {"happy": 11, "sad": 10, "wow": 10}


def test_without_speakers_a_recipe_need_not_say_group(tmp_path):
    found = first(tmp_path, rows(["x", "y"] * 15))
    text = found.path.read_text()
    [line] = [line for line in text.splitlines() if line.startswith("group: id")]
    found.path.write_text(text.replace(line, ""))
    assert preview(found.path).clips == 30
    found.path.write_text(text.replace(line, "group: speaker"))
    with pytest.raises(InputError, match="group: no column 'speaker'"):
        preview(found.path)
    found.path.write_text(text + "where: {language: [eng]}\n")
    with pytest.raises(InputError, match="has no column language"):
        preview(found.path)


def test_names_of_recipes_that_yaml_would_misread(tmp_path):
    path = table(tmp_path, rows(["positive", "negative"] * 20))
    for name in ("no.yaml", "~user.yaml", "a: b #c.yaml"):
        found = write_recipe(path, tmp_path / name)
        assert Recipe.read(found.path).report == tmp_path / f"{found.path.stem}-out"
    for word in ("no", "null", "False", ".inf", "1.5", "~", "a: b"):
        assert yaml.safe_load(_scalar(word)) == word
    with pytest.raises(InputError, match=r"begins the name of a variable"):
        write_recipe(path, tmp_path / "$x.yaml")
