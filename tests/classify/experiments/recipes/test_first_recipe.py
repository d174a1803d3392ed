"""`affekt init`: the recipe of a table runs, says what was noticed, and replaces nothing."""

from __future__ import annotations

import csv
import json
import re
import shlex
from pathlib import Path

import pytest
from affekt.cache import InputError, Manifest
from affekt.classify import Recipe, Task
from affekt.classify.cli import affekt
from affekt.classify.experiments.first_recipe.recipe_for import write_recipe
from affekt.classify.experiments.preview import preview
from affekt.classify.experiments.run import run
from click.testing import CliRunner
from hypothesis import given, settings, strategies as st

REAL = Path(__file__).resolve().parents[5] / "shared" / "data"


def table(folder: Path, rows, name="clips.csv") -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / name
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def rows(labels, **columns):
    return [
        {"id": f"c{i}", "text": f"text {i} {label}", "label": label}
        | {name: values[i] for name, values in columns.items()}
        for i, label in enumerate(labels)
    ]


def first(folder: Path, rows, **options):
    return write_recipe(table(folder, rows), folder / "recipe.yaml", **options)


def init(*words: object):
    return CliRunner().invoke(affekt, ["init", *map(str, words)])


def own_split(parts: str) -> list[str]:
    names = {"a": "train", "d": "dev", "e": "test", "-": "", "x": "fold1"}
    return [names[part] for part in parts]


SPLITS = [
    ({}, {"scheme": "stratified", "test_size": 0.25, "dev_size": 0.2}, "no speakers"),
    ({"speaker": [f"s{i // 12}" for i in range(60)]}, {"scheme": "group-kfold"}, ""),
    ({"speaker": [f"s{i // 20}" for i in range(60)]}, {"scheme": "leave-one-speaker-out"},
     "3 speakers: too few for intervals"),
    ({"speaker": [f"s{i // 30}" for i in range(60)]},
     {"scheme": "leave-one-speaker-out", "dev_size": 0}, "2 speakers: too few"),
    ({"speaker": ["anna"] * 60},
     {"scheme": "stratified", "test_size": 0.25, "dev_size": 0.2, "allow_speaker_overlap": True},
     "one speaker (anna)"),
    ({"speaker": ["", *(f"s{i % 30}" for i in range(59))]},
     {"scheme": "stratified", "test_size": 0.25, "dev_size": 0.2, "allow_speaker_overlap": True},
     "1 of 60 clips have no speaker"),
    ({"split": own_split("aaade" * 12)}, {"scheme": "column"}, "no speakers"),
    ({"split": own_split("aaaae" * 12), "speaker": [f"s{i % 5}" for i in range(60)]},
     {"scheme": "column"}, "no dev"),
    ({"split": own_split("aaade" * 12), "speaker": [f"s{i % 7}" for i in range(60)]},
     {"scheme": "column", "allow_speaker_overlap": True}, "in more than one part"),
    ({"split": own_split("xxxxx" * 12)}, {"scheme": "stratified"}, "holds 'fold1' instead"),
    ({"split": own_split("aaaad" * 12)}, {"scheme": "stratified"}, "names train and dev only"),
    ({"split": own_split("a-e" * 20)}, {"scheme": "stratified"}, "holds blank instead of train"),
]  # fmt: skip


@pytest.mark.parametrize(("columns", "split", "note"), SPLITS)
def test_the_split_is_the_tables_own_or_by_speaker_or_by_label(tmp_path, columns, split, note):
    found = first(tmp_path, rows(["a", "b"] * 30, **columns))
    written = Recipe.read(found.path).split
    assert {key: written[key] for key in split} == split
    noted = [one for one in found.notes if "speakers" in note or note in one] if note else [""]
    assert any(note in one for one in noted) or (note == "no speakers" and "split" in columns)
    assert not preview(found.path).is_current  # a run accepts it
    comments = " ".join(found.path.read_text().replace("\n#   ", " ").splitlines())
    assert all(one in comments for one in found.notes)


LABELS = st.lists(
    st.one_of(
        st.sampled_from(["no", "yes", "null", "~", "1e5", "0x1F", "12:30", "01", "1.0", "-"]),
        st.sampled_from(["'", '"', "a: b", "a #b", "- a", "[x]", "{y}", "&z", "*z", "!t", "@"]),
        st.sampled_from(["كآبة", "怒り", "עצב", "😀", "e\u0301", "label", "id", "a\tb", "a\nb"]),
        st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=9),
    ).filter(lambda label: label.strip() == label and label),
    min_size=2, max_size=6, unique=True,
)  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(labels=LABELS)
def test_every_label_reads_back_as_the_table_has_it(tmp_path_factory, labels):
    folder = tmp_path_factory.mktemp("labels")
    clips = Manifest.from_rows(rows([label for label in labels for _ in range(12)]))
    path = clips.write(folder / "clips.jsonl")
    written = Manifest.read(path)
    try:
        found = write_recipe(path, folder / "recipe.yaml")
    except InputError:  # all of them differ in case only, or are a word and its synonym
        assert {one.name for one in folder.iterdir()} == {"clips.jsonl"}
        assert len({label.casefold() for label in labels}) < len(labels)
        return
    recipe = Recipe.read(found.path)
    encoded = Task.of(recipe.task).encode(written)
    by_class = {}
    for raw, label in zip(written["label"], encoded.labels, strict=True):
        assert label is not None
        by_class.setdefault(label, set()).add(raw)
    joined = [raws for raws in by_class.values() if len(raws) > 1]
    assert len(joined) <= sum("taken as one label" in note for note in found.notes)
    assert sum(len(raws) for raws in by_class.values()) == len(set(written["label"]))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (rows(["", "", ""]), "has no labels; expected a column label"),
        (rows(["a", "a", ""]), "every label is 'a'"),
        (rows([f"label {i}" for i in range(31)]), "31 different labels"),
        (rows(["a", "b"]), "clips"),
        ([{"path": "gone.wav", "label": label} for label in "ab"], "none of the 2 recordings is"),
    ],
)
def test_a_table_that_no_recipe_fits(tmp_path, given, words):
    """What is missing is said with exit code 2, and nothing is left behind."""
    for i, row in enumerate(given):
        if "path" in row:
            row["path"] = f"{i}{row['path']}"
    result = init(table(tmp_path, given), "-o", tmp_path / "recipe.yaml")
    assert result.exit_code == 1
    assert isinstance(result.exception, InputError)
    assert words in str(result.exception)
    assert [one.name for one in tmp_path.iterdir()] == ["clips.csv"]


def test_a_folder_in_place_of_a_table(tmp_path):
    """The message names the command that makes a table of a folder."""
    (folder := tmp_path / "my clips").mkdir()
    with pytest.raises(InputError, match=f"affekt manifest '{folder}' -o clips.csv"):
        write_recipe(folder, tmp_path / "recipe.yaml")


def test_tables_of_other_parts_are_named(tmp_path):
    for part in ("train", "dev", "test"):
        table(tmp_path, rows(list("aabb") * 5)).rename(tmp_path / f"{part}.csv")
    found = write_recipe(tmp_path / "train.csv", tmp_path / "recipe.yaml")
    assert any(
        note.startswith("dev.csv, test.csv next to it") and f"affekt manifest {tmp_path}" in note
        for note in found.notes
    )


def test_blank_labels_are_left_out_and_counted(tmp_path):
    found = first(tmp_path, rows(["a", "b", ""] * 20))
    assert "20 of 60 clips have no label and are left out" in found.notes
    assert Recipe.read(found.path).unlabelled == "drop"
    assert preview(found.path).clips == 40


def test_what_programs_write_for_no_label_is_left_out(tmp_path):
    found = first(tmp_path / "d", rows(["joy", "sad", "nan", "None"] * 12))
    task = Task.read(tmp_path / "d" / "task.yaml")
    assert task.labels == ("None", "joy", "sad")
    assert "12 clips with the label 'nan' are left out" in "\n".join(found.notes)
    assert "12 clips have the label 'None'; if it means" in "\n".join(found.notes)
    assert preview(found.path).labels == {"None": 12, "joy": 12, "sad": 12}
    first(tmp_path / "e", rows(["none", "nan"] * 12))  # not if no two labels would be left
    assert Task.read(tmp_path / "e" / "task.yaml").labels == ("nan", "none")


def test_ratings_become_a_task_of_numbers(tmp_path):
    values = [f"{1 + i % 7 * 0.9:.1f}" for i in range(60)]
    given = rows([""] * 60, EmoAct=values, EmoVal=[*values[5:], *values[:5]])
    found = first(tmp_path / "a", given)
    task = Task.read(tmp_path / "a" / "task.yaml")
    assert task.kind == "regression"
    assert task.labels == ("arousal", "valence")
    assert "correct them in the task file" in " ".join(found.notes)
    assert not preview(found.path).is_current
    with pytest.raises(InputError, match="60 different numbers; if they are ratings, name"):
        first(tmp_path / "b", rows([f"{i / 10}" for i in range(60)]))


def test_ratings_with_decimal_commas(tmp_path):
    values = [f"{1 + i % 7 * 0.9:.1f}".replace(".", ",") for i in range(60)]
    found = first(tmp_path, rows([""] * 60, Valence=values))
    task = Task.read(tmp_path / "task.yaml")
    assert preview(found.path).clips == 60
    ratings = task.targets(Manifest.read(tmp_path / "clips.csv"))
    assert ratings.tolist() == [float(value.replace(",", ".")) for value in values]


def test_one_name_in_two_corpora_is_two_speakers_wherever_they_are_counted(tmp_path):
    number = [f"s{i % 6}" for i in range(60)]
    corpora = [("one", "two")[i % 12 // 6] for i in range(60)]
    found = first(tmp_path, rows(["a", "b"] * 30, speaker=number, dataset=corpora))
    assert "12 speakers" in found.facts
    comments = " ".join(line for line in found.path.read_text().splitlines() if "#" in line)
    assert "12 speakers" in comments
    assert " 6 speakers" not in comments


def test_of_many_clips_one_part_is_tested(tmp_path):
    found = first(tmp_path, rows(["a", "b"] * 1501, speaker=[f"s{i % 50}" for i in range(3002)]))
    assert found.split == "{scheme: speaker, test_size: 0.25, dev_size: 0.2}"


def test_speakers_in_two_spellings_never_lead_to_a_split_that_mixes_them(tmp_path):
    names = [f"s{i % 12}" + " " * (i % 5 == 0) for i in range(120)]
    given = rows(["a", "b"] * 60, speaker=names)
    with pytest.raises(InputError, match="--merge-speakers"):
        first(tmp_path, given)
    assert not (tmp_path / "recipe.yaml").exists()


def test_the_command_writes_a_recipe_that_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labels = ["no", "yes", "null"] * 20
    table(tmp_path, rows(labels, speaker=[f"s{i // 5}" for i in range(60)]))
    result = init("clips.csv")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-2:] == [
        "Recipe: recipe.yaml",
        "Next: affekt run --check recipe.yaml",
    ]
    outcome = run("recipe.yaml")
    assert "text-lr" in outcome.table
    assert json.loads(Path("out/comparison.json").read_text())["task"]["labels"] == [
        "no",
        "null",
        "yes",
    ]
    second = init("clips.csv", "-o", "other.yaml", "--json")
    assert json.loads(second.stdout)["task"] == "other-task.yaml"
    assert Recipe.read("other.yaml").report.name == "other-out"


def test_the_commands_that_are_printed_can_be_copied(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table(tmp_path / "my corpus", rows(["a", "b"] * 20))
    said = init("my corpus/clips.csv", "-o", "my corpus/r; x.yaml")
    written = Path("my corpus/r; x.yaml").read_text(encoding="utf-8")
    commands = re.findall("(?:Next|Check it): (affekt .*)", said.stdout + written)
    assert len(commands) == 2
    for command in commands:
        program, *words = shlex.split(command)
        done = CliRunner().invoke(affekt, words)
        assert (program, done.exit_code) == ("affekt", 0), done.output
    assert "affekt manifest 'my corpus' -o clips.csv" in str(init("my corpus").exception)


def test_nothing_is_overwritten(tmp_path):
    path = table(tmp_path, rows(["positive", "negative"] * 20))
    for name in ("recipe.yaml", "clips.csv"):
        (tmp_path / "recipe.yaml").write_text("mine: true\n")
        before = path.read_bytes()
        result = init(path, "-o", tmp_path / name)
        assert isinstance(result.exception, InputError)
        assert (tmp_path / "recipe.yaml").read_text() == "mine: true\n"
        assert path.read_bytes() == before
    (tmp_path / "task.yaml").write_text("mine: true\n")
    result = init(table(tmp_path, rows(["x", "y"] * 20), "two.csv"), "-o", tmp_path / "r.yaml")
    assert result.exit_code == 0  # its task is r-task.yaml
    (tmp_path / "recipe.yaml").unlink()
    result = init(tmp_path / "two.csv", "-o", tmp_path / "recipe.yaml")
    assert "task.yaml already exists, with other content; choose another" in str(result.exception)
    spaced = table(tmp_path, rows(["x", "y"] * 20), "my two.csv")
    said = str(init(spaced, "-o", tmp_path / "recipe.yaml").exception)
    assert "with -o 'my two.yaml' the task is my two-task.yaml" in said
    result = init(tmp_path / "two.csv", "-o", tmp_path / "two.yaml")  # as the message says
    assert (result.exit_code, (tmp_path / "two-task.yaml").is_file()) == (0, True)
    (tmp_path / "link.yaml").symlink_to(tmp_path / "nowhere.yaml")
    assert isinstance(init(path, "-o", tmp_path / "link.yaml").exception, InputError)
    assert not (tmp_path / "nowhere.yaml").exists()


def test_names_of_tables_that_yaml_would_misread(tmp_path):
    for name in ("no.csv", "~user.csv", "a: b #c.csv", "1e5.csv", "weiß 😀.csv", "q'\".csv"):
        path = table(tmp_path, rows(["positive", "negative"] * 20), name)
        (tmp_path / "recipe.yaml").unlink(missing_ok=True)
        found = write_recipe(path, tmp_path / "recipe.yaml")
        assert path.samefile(Recipe.read(found.path).manifest)
    path = table(tmp_path, rows(["positive", "negative"] * 20), "$x.csv")
    with pytest.raises(InputError, match=r"begins the name of a variable"):
        write_recipe(path, tmp_path / "other.yaml")


def test_a_recipe_in_a_linked_folder_finds_its_table(tmp_path):
    path = table(tmp_path / "data" / "deep", rows(["positive", "negative"] * 20))
    (tmp_path / "real" / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real" / "a" / "b")
    found = write_recipe(path, tmp_path / "link" / "recipe.yaml")
    assert path.samefile(Recipe.read(found.path).manifest)


@pytest.mark.skipif(not REAL.is_dir(), reason="no ../shared/data")
@pytest.mark.parametrize(
    ("name", "task"), [("emodb", ""), ("urdu", ""), ("ravdess", ""), ("nemo", "")]
)
def test_tables_of_real_corpora(tmp_path, name, task):
    found = write_recipe(REAL / name / "manifest.csv", tmp_path / "recipe.yaml")
    assert found.notes
    assert not preview(found.path).is_current
