"""An old split.csv is continued: what it names stays, new clips join, mistakes are named."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter

import pytest
from affekt.cache import Manifest
from affekt.cache.errors import InputError
from affekt.classify import splits
from affekt.classify.data.splitting.split_file import read_split_file, write_split
from affekt.classify.experiments.run import run

from .test_pooled_folds import corpus


def old_file(tmp_path, clips, scheme="speaker", **options):
    found = splits(clips, scheme, **options)
    path = tmp_path / "split.csv"
    write_split(found, path, tmp_path / "none", lambda line: None)
    return path, found


def test_a_split_file_is_read_as_a_manifest_is(tmp_path):
    """Whatever a spreadsheet makes of it, and however an accent is written."""
    path = tmp_path / "split.csv"
    want = {"": {"caf\u00e9": "train", "=b": "test"}}
    for delimiter in ",;\t":
        for encoding in ("utf-8", "utf-16"):
            rows = "id,split\ncafe\u0301,train\n'=b,Test\n,\n".replace(",", delimiter)
            path.write_text(rows, encoding=encoding)
            assert read_split_file(path, ["caf\u00e9", "=b"]) == want


@pytest.mark.parametrize("scheme", ["speaker", "stratified", "group-kfold"])
def test_old_clips_stay_and_new_ones_join(tmp_path, scheme):
    clips = Manifest.from_rows(corpus(20))
    allow = scheme == "stratified"
    path, old = old_file(tmp_path, clips, scheme, allow_speaker_overlap=allow)
    rows = [*corpus(60)[1:], {**corpus(1)[0], "id": "again"}]
    new = splits(Manifest.from_rows(rows), file=path, allow_speaker_overlap=allow)
    assert [split.name for split in new] == [split.name for split in old]
    everyone = {row["id"] for row in rows}
    for before, after in zip(old, new, strict=True):
        for part, kept in before.parts.items():
            assert set(kept.ids) - {"0-0"} <= set(after.parts[part].ids)
            # 40 new speakers keep the shares that the file has
            assert len(after.parts[part]) / len(rows) == pytest.approx(
                len(kept) / len(clips), abs=0.03
            )
        if not allow:
            [home] = [part for part, kept in before.parts.items() if "0-1" in kept.ids]
            assert "again" in after.parts[home].ids
        assert {clip for part in after.parts.values() for clip in part.ids} == everyone
    said = " ".join(new[0].warnings)
    assert "241 clips are not in" in said
    assert "1 clip of" in said
    assert "not used here: 0-0" in said


def test_new_speakers_join_the_fold_of_their_language_and_a_new_language_is_refused(tmp_path):
    many = Manifest.from_rows(corpus(24, languages=("deu", "pol")))
    path, _ = old_file(tmp_path, many.select([c for c in many.ids if int(c.split("-")[0]) < 12]),
                       "leave-one-language-out")  # fmt: skip
    new = splits(many, file=path)
    assert {split.scheme for split in new} == {"leave-one-language-out"}
    for split in new:
        assert set(split.test["language"]) == {split.name}
    rows = [{**row, "language": "urd"} for row in corpus(25)[-6:]]
    clips = Manifest.from_rows([*corpus(24, languages=("deu", "pol")), *rows])
    with pytest.raises(InputError, match="a fold for each language, and none for urd"):
        splits(clips, file=path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("id,split\n0-0,train\n0-0,test\n", "line 3: clip '0-0' is in train and in test"),
        ("id,split\n0-0,train\n0-0,test\n", "a third column, fold"),
        ("id,split,fold\n0-0,train,a\n0-0,test,b\n0-1,test,a\n", "line 4: clip '0-1' is in fold"),
        ("id,split,fold\n0-0,test,a\n0-0,test,b\n", "line 3.*in test of the folds 'a' and 'b'"),
        ("id,split\nx,train\ny,test\n", "none of its 2 ids is a clip"),
        ("id,split\n0-0,train\n0-1,dev\n", "none of the clips of .* is in test"),
        ("id,split\n0-0,test\n 0-1,train\n", "line 3: ' 0-1' is not a clip of .* has '0-1'"),
        ("id,split\n0-0,test\n0-1,train\n 0-0,train\n", "line 4: ' 0-0' is not a .* has '0-0'"),
        ("id,split\n0-0,trian\n", "line 2: split is 'trian'.*Did you mean 'train'"),
        ("id,split\n,train\n", "line 2: no id"),
        ("nix\n", "expected id and split"),
        ("id,split\n", "has no rows; expected one for each clip"),
    ],
)
def test_mistakes_in_a_split_file_are_named_with_its_line(tmp_path, rows, message):
    path = tmp_path / "split.csv"
    path.write_text(rows, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        splits(Manifest.from_rows(corpus()), file=path)


def test_a_speaker_of_train_whose_new_clip_the_file_puts_into_test_is_refused(tmp_path):
    path = tmp_path / "split.csv"
    rows = [(row["id"], "train" if row["id"] != "3-1" else "test") for row in corpus()]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("id", "split"), *rows])
    with pytest.raises(InputError, match="1 speaker in both train and test: s3"):
        splits(Manifest.from_rows(corpus()), file=path)


def test_a_run_continues_its_own_split_and_does_nothing_twice(tmp_path):
    def table(rows):
        with (tmp_path / "clips.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    recipe = tmp_path / "recipe.yaml"
    text = (
        "manifest: clips.csv\ntask: valence\nencoders: {text: ngram}\n"
        "members: {lda: {head: lda, on: text}}\nensembles: []\n"
        "compare: {n_resamples: 100, learning_curve: false}\n"
    )
    table(corpus(8))
    recipe.write_text(text + "split: {scheme: speaker, test_size: 0.3, dev_size: 0.2}\n")
    run(recipe)
    first = (tmp_path / "out" / "split.csv").read_text().splitlines()
    recipe.write_text(text + "split: {file: out/split.csv}\n")
    run(recipe)
    assert not run(recipe).did
    table(corpus(9))
    said = []
    run(recipe, progress=said.append)
    assert any("6 clips are not in" in line for line in said)
    assert not any("another part" in line for line in said)
    second = (tmp_path / "out" / "split.csv").read_text().splitlines()
    assert set(first) < set(second)
    assert not run(recipe).did
    recipe.write_text(text + "split: {file: out/split.csv, test_size: 0.3}\n")
    with pytest.raises(InputError, match=r"recipe.yaml:7: .* so test_size has no effect"):
        run(recipe)


def test_train_scores_every_fold_and_keeps_a_model_of_all_clips(tmp_path):
    from affekt.classify import Predictions
    from affekt.classify.cli import affekt
    from click.testing import CliRunner
    from sklearn.metrics import recall_score

    rows = corpus(10)
    table = tmp_path / "clips.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    common = [str(table), "--cache", str(tmp_path / "c")]

    def done(*words):
        return CliRunner().invoke(affekt, [words[0], *common, *words[1:]], catch_exceptions=False)

    assert "60 clips" in done("extract", "-e", "ngram").output
    options = ["--space", "ngram", "--task", "valence", "--head", "logistic", "--set", "C=1e-6"]
    more = ["-o", str(tmp_path / "m"), "--pred", str(tmp_path / "pred.csv")]
    found = done("train", *options, *more, "--split", "group-kfold", "--json")
    record = json.loads(found.stdout)
    assert [one["fold"] for one in record["folds"]] == [f"fold {n}" for n in range(1, 6)]
    guessed = Predictions.read(tmp_path / "pred.csv")
    lines = ["-o", str(tmp_path / "m2"), "--pred", str(tmp_path / "pred.jsonl")]
    assert done("train", *options, *lines, "--split", "group-kfold").exit_code == 0
    assert (tmp_path / "pred.jsonl").read_text()[:7] == '{"id": '
    assert Predictions.read(tmp_path / "pred.jsonl", guessed.labels) == guessed
    with pytest.raises(InputError, match=r"--pred .*: expected a name that ends in \.csv or"):
        done("train", *options, *lines[:3], str(tmp_path / "pred.xlsx"))
    truth = {row["id"]: row["label"] for row in rows}
    assert sorted(guessed.ids) == sorted(truth)

    def uar(ids):
        labels = [truth[clip] for clip in ids]
        return recall_score(labels, list(guessed.select(ids).label), average="macro")

    assert record["test_uar"] == pytest.approx(uar(guessed.ids))
    divided = splits(Manifest.read(table), "group-kfold")
    for one, split in zip(record["folds"], divided, strict=True):
        assert one["test_uar"] == pytest.approx(uar(list(split.test.ids)))
        assert one["clips"] == {part: len(clips) for part, clips in split.parts.items()}
    assert Counter(clip for split in divided for clip in split.test.ids) == Counter(list(truth))
    assert record["refit"]["clips"] == 60
    assert (
        "trained on all 60 clips"
        in done(
            "train", *options, "-o", str(tmp_path / "m2"), "--split", "leave-one-speaker-out"
        ).output
    )
    path, _ = old_file(tmp_path, Manifest.read(table), "group-kfold")
    again = done("train", *options, "-o", str(tmp_path / "m3"), "--split", str(path), "--json")
    assert json.loads(again.stdout)["folds"] == record["folds"]


def test_a_pipe_in_place_of_the_last_split_is_not_waited_for(tmp_path):
    clips = Manifest.from_rows(
        [{"id": str(n), "text": "oh", "label": "ab"[n % 2]} for n in range(8)]
    )
    found = splits(clips, "stratified")
    os.mkfifo(tmp_path / "last.csv")
    write_split(found, tmp_path / "split.csv", tmp_path / "last.csv", lambda line: None)
    assert len((tmp_path / "split.csv").read_text().splitlines()) == 9


def test_a_new_language_moves_no_clip_of_the_folds_of_others(tmp_path):
    rows = [
        {"id": str(n), "text": "oh", "label": "ab"[n % 2], "language": ["deu", "eng", "spa"][n % 3]}
        for n in range(30)
    ]
    said, last = [], tmp_path / "split.csv"
    for clips in (rows[:2] + rows[3:5] + rows[6:8], rows):
        table = Manifest.from_rows(clips)
        found = splits(table, "leave-one-language-out", dev_size=0)
        write_split(found, last, last, said.append)
    assert said == []
