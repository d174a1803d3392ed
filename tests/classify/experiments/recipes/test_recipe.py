"""Recipes: what is read, and what every kind of mistake is answered with."""

from __future__ import annotations

import json

import pytest
from affekt.cache import InputError
from affekt.classify import Recipe, Task
from affekt.classify.data.located_yaml import read_yaml
from affekt.classify.experiments.members.member_folder import check_head
from affekt.classify.experiments.recipes import keys_of_compare, keys_of_split, recipe
from hypothesis import given, settings, strategies as st

GOOD = """\
manifest: clips.csv
task: valence
cache: my.cache
encoders:
  speech: {name: facebook/wav2vec2-large-xlsr-53}
  text: {name: dccuchile/bert-base-spanish-wwm-cased}
split: {scheme: speaker, test_size: 0.2, dev_size: 0.1, random_state: 0}
members:
  speech-lr: {head: logistic, on: speech, layers: 12, C: [0.01, 0.1, 1]}
  speech-patch: {head: patch, on: speech, layers: -1, seeds: 5}
  text-mlp: {head: mlp, on: text}
  both: {head: concat, on: [speech, text]}
ensembles: [mean, max]
report: out
"""


def write(folder, text):
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_recipe_of_the_design(tmp_path):
    recipe = Recipe.read(write(tmp_path, GOOD))
    assert recipe.manifest == tmp_path / "clips.csv"
    assert list(recipe.members) == ["speech-lr", "speech-patch", "text-mlp", "both"]
    assert recipe.members["speech-lr"].settings == {"C": (0.01, 0.1, 1)}
    assert recipe.members["speech-lr"].layers == {"speech": (12,)}
    assert recipe.members["speech-patch"].seeds == 5
    assert recipe.members["both"].on == ("speech", "text")
    assert len(list(recipe.members["speech-lr"].candidates())) == 3
    assert recipe.split["scheme"] == "speaker"


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("members:", "memebers:", 8, ["memebers", "members"]),
        ("manifest:", "manifset:", 1, ["manifset", "Did you mean 'manifest'"]),
        ("name: facebook", "nmae: facebook", 5, ["nmae", "Did you mean 'name'"]),
        ("scheme: speaker", "scheme: speeker", 7, ["speeker", "Did you mean 'speaker'"]),
        ("test_size: 0.2", "test_sise: 0.2", 7, ["test_sise", "Did you mean 'test_size'"]),
        ("test_size: 0.2", "test_size: 0,2", 7, ["test_size: 0,2: write", "comma: 0.2"]),
        ("ensembles: [mean, max]", "ensembles:", 13, ["an ensemble, such as mean", "is blank"]),
        ("test_size: 0.2", "test_size: lots", 7, ["lots", "a number"]),
        ("on: text}", "on: txt}", 11, ["txt", "Did you mean 'text'"]),
        ("seeds: 5", "seeds: 0", 10, ["seeds", "at least 1"]),
        ("seeds: 5", "seeds: [1, 2]", 10, ["seeds", "whole number"]),
        ("layers: 12", "layers: twelve", 9, ["twelve", "a number, all, probe"]),
        ("{head: mlp, on: text}", "{heads: mlp, on: text}", 11, ["no head", "Did you mean 'head'"]),
        ("{head: mlp, on: text}", "{head: mlp}", 11, ["'on'", "speech, text"]),
        ("cache: my.cache", "cache: [a]", 3, ["cache", "expected text"]),
        ("on: text}", "on: no}", 11, ["on is no; expected text; if it is text, write 'no'"]),
        ("on: text}", "on: text, combine: mixx}", 11, ["mixx", "Did you mean 'mix'"]),
        ("{name: dccuchile/bert-base-spanish-wwm-cased}", "{revision: main}", 6, ["name", "space"]),
        ("both:", "../both:", 12, ["../both", "folder"]),
        ("test_size: 0.2", "n_splits: 3", 7, ["n_splits has no effect", "group-kfold"]),
        ("scheme: speaker", "scheme: group-kfold", 7, ["test_size has no effect", "stratified"]),
        ("{name: dccuchile", "{space: s, pooling: max, prefix: d", 6, ["pooling has no effect"]),
    ],
)
def test_a_mistake_is_named_with_file_line_and_what_was_expected(tmp_path, old, new, line, words):
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(InputError) as error:
        Recipe.read(path)
    message = str(error.value)
    if old not in ("members:", "manifest:"):
        assert message.startswith(f"{path}:{line}: ")
    for word in words:
        assert word in message


def test_conditions_are_words_as_they_are_written(tmp_path):
    """``no`` is Norwegian, and ``1`` a fold: YAML would make False and a number of them."""
    write_to = GOOD + "where: {language: [no, de], fold: 1, code: 1e3, day: 2020-01-01}\n"
    assert Recipe.read(write(tmp_path, write_to)).where == {
        "language": ("no", "de"), "fold": ("1",), "code": ("1e3",), "day": ("2020-01-01",)
    }  # fmt: skip


SECTIONS = {
    (): recipe._TOP,
    ("encoders", "text"): recipe._ENCODER,
    ("split",): keys_of_split._SPLIT,
    ("members", "speech-lr"): recipe._MEMBER,
    ("compare",): keys_of_compare.OPTIONS,
    ("transfer",): ("by", "member"),
}


@pytest.mark.parametrize("place", SECTIONS)
def test_a_key_of_another_section_is_refused(tmp_path, place):
    """As a setting of its head, where it is a member's."""
    for key in {key for keys in SECTIONS.values() for key in keys} - {*SECTIONS[place]}:
        content = read_yaml(write(tmp_path, GOOD)).plain()
        content |= {"compare": {}, "transfer": {"by": "language"}}
        section = content
        for name in place:
            section = section[name]
        section[key] = "x"
        path = write(tmp_path, json.dumps(content))
        with pytest.raises(InputError, match=f"'{key}'"):
            check_head(Recipe.read(path).members["speech-lr"], Task.of("valence"))


@pytest.mark.parametrize("key", ["manifest", "task", "encoders", "members"])
def test_a_missing_part_is_named(tmp_path, key):
    lines = GOOD.splitlines(keepends=True)
    start = next(i for i, line in enumerate(lines) if line.startswith(key))
    end = start + 1
    while end < len(lines) and lines[end].startswith(" "):
        end += 1
    with pytest.raises(InputError, match=f"no '{key}'"):
        Recipe.read(write(tmp_path, "".join(lines[:start] + lines[end:])))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\na: 2\n", ["recipe.yaml:2", "twice", "line 1"]),
        ("a: &x 1\nb: *x\n", ["recipe.yaml:1", "anchors"]),
        ("a: [1\n", ["recipe.yaml", "not YAML"]),
        ("- 1\n", ["mapping"]),
        ("", ["mapping"]),
        ("a: !!python/object/apply:os.system ['true']\n", ["recipe.yaml:1", "tag"]),
        ("a: " + "[" * 5000 + "]" * 5000, ["nested"]),
        ("a: " + "x" * 1_000_001, ["bytes"]),
        ("\x00", ["not YAML"]),
    ],
)
def test_hostile_yaml_is_refused_by_name(tmp_path, text, words):
    with pytest.raises(InputError) as error:
        read_yaml(write(tmp_path, text))
    for word in words:
        assert word in str(error.value)


def test_a_missing_recipe_and_a_folder(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        Recipe.read(tmp_path / "none.yaml")
    for there, asked in (("recipe.yaml", "recipe.yml"), ("mine.yml", "mine.yaml")):
        (tmp_path / there).touch()
        with pytest.raises(InputError, match=rf"no such file\. Did you mean '{there}'\?"):
            Recipe.read(tmp_path / asked)
    (tmp_path / "dead.yaml").symlink_to(tmp_path / "gone")
    with pytest.raises(InputError, match="no such file") as refused:
        Recipe.read(tmp_path / "dead.yaml")
    assert "mean 'dead.yaml'" not in str(refused.value)
    with pytest.raises(InputError, match="is a folder; expected a YAML file"):
        Recipe.read(tmp_path)
    with pytest.raises(InputError, match=r"a table, expected a recipe; affekt init .*clips\.csv"):
        Recipe.read(tmp_path / "clips.csv")


def test_1e_3_is_a_number_unless_it_is_quoted(tmp_path):
    top = read_yaml(write(tmp_path, "a: 1e-3\nb: '1e-3'\nc: 1.5E+2\nd: 1e\n"))
    assert top.plain() == {"a": 0.001, "b": "1e-3", "c": 150.0, "d": "1e"}


def test_octal_and_sexagesimal_numbers_are_texts(tmp_path):
    """YAML 1.1 takes both for 256; `number` refuses them, and a label stays as it is written."""
    top = read_yaml(write(tmp_path, "a: 0400\nb: 4:16\nc: [0, 0.5, 10, -3, 0x10]\nd: 1:30.5\n"))
    assert top.plain() == {"a": "0400", "b": "4:16", "c": [0, 0.5, 10, -3, 16], "d": "1:30.5"}
    with pytest.raises(InputError, match="dim is '0400'; expected a whole number"):
        top["a"].number("dim", whole=True)
    with pytest.raises(InputError, match=r"x is '0,3%'; expected a number; write 0\.003$"):
        read_yaml(write(tmp_path, "x: 0,3%\n"))["x"].number("x")
    with pytest.raises(InputError, match=r"x is '3'; expected a number; write 3 without quot"):
        read_yaml(write(tmp_path, "x: '3'\n"))["x"].number("x")
    with pytest.raises(InputError, match=r"x is 1000\d+\.\.\.; expected at most 9007199254740992"):
        read_yaml(write(tmp_path, f"x: 1{'0' * 400}\n"))["x"].number("x")


def test_layers_to_choose_from_and_layers_together(tmp_path):
    for written, choices in [
        ("12", (12,)),
        ("all", ("all",)),
        ("[6, 12]", (6, 12)),
        ("[[6, 12]]", ((6, 12),)),
        ("[all, 3]", ("all", 3)),
    ]:
        text = GOOD.replace("layers: 12", f"layers: {written}")
        assert Recipe.read(write(tmp_path, text)).members["speech-lr"].layers["speech"] == choices
    text = GOOD.replace("on: [speech, text]", "on: [speech, text], layers: {speech: [3, 4]}")
    layers = Recipe.read(write(tmp_path, text)).members["both"].layers
    assert layers == {"speech": (3, 4), "text": (-1,)}


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.integers(-5, 30), min_size=1, max_size=4, unique=True),
    st.lists(st.floats(1e-4, 10), min_size=1, max_size=4, unique=True),
)
def test_candidates_are_every_combination_once(tmp_path_factory, layers, values):
    path = write(
        tmp_path_factory.mktemp("r"),
        GOOD.replace("layers: 12, C: [0.01, 0.1, 1]", f"layers: {layers}, C: {values}"),
    )
    found = [
        (one["layers"]["speech"], one["settings"]["C"])
        for one in Recipe.read(path).members["speech-lr"].candidates()
    ]
    assert found == [(layer, value) for layer in layers for value in values]


@pytest.mark.parametrize(
    ("member", "words"),
    [
        ("{head: mlp, on: speech, hidden: []}", r"hidden of .*hidden: \[\[\]\]"),
        ("{head: logistic, on: speech, C: []}", "C of .*at least one value"),
        ("{head: logistic, on: speech, layers: []}", "layers of .*empty list"),
        ("{head: logistic, on: speech, layers: {speech: []}}", "layers of .*empty list"),
        ("{head: logistic, on: []}", "on of .*empty list"),
    ],
)
def test_a_list_without_values_is_refused_with_its_line(tmp_path, member, words):
    text = GOOD.replace("{head: mlp, on: text}", member)
    with pytest.raises(InputError, match=rf"recipe\.yaml:11: {words}"):
        Recipe.read(write(tmp_path, text))
