"""Splits: every scheme, whole speakers, nothing silently empty, one seed one result."""

from __future__ import annotations

import csv
from collections import Counter

import numpy as np
import pytest
from affekt.cache import Cache
from affekt.cache.care.import_export import import_space
from affekt.cache.errors import InputError
from affekt.cache.manifest import Manifest
from affekt.classify.cli import affekt
from affekt.classify.data.splitting.folds import deal_clips, deal_groups
from affekt.classify.data.splitting.leaks import speakers
from affekt.classify.data.splitting.schemes import SCHEMES, splits
from click.testing import CliRunner
from hypothesis import assume, given, settings, strategies as st

OVERLAPPING = ("column", "stratified")


def corpus(n_speakers=12, per_speaker=10, languages=("deu", "eng"), **columns):
    rows = []
    for speaker in range(n_speakers):
        for take in range(per_speaker):
            rows.append(
                {
                    "id": f"s{speaker}-{take}",
                    "text": f"text {speaker} {take}",
                    "label": ["anger", "joy", "neutral"][take % 3],
                    "speaker": f"s{speaker}",
                    "language": languages[speaker % len(languages)],
                    "dataset": f"set{speaker % len(languages)}",
                    **{name: values(speaker, take) for name, values in columns.items()},
                }
            )
    return Manifest.from_rows(rows)


def check(clips, found):
    for split in found:
        ids = [i for part in split.parts.values() for i in part.ids]
        assert sorted(ids) == sorted(clips.ids)
        assert len(split.train)
        assert len(split.test)
        sets = [set(speakers(part)) for part in split.parts.values()]
        assert sum(map(len, sets)) == len(set.union(*sets))


@pytest.mark.parametrize(
    "scheme", [s for s in SCHEMES if s not in ("auto", "column", "stratified")]
)
def test_every_scheme_keeps_speakers_whole(scheme):
    clips = corpus()
    found = splits(clips, scheme)
    check(clips, found)
    expected = {
        "speaker": 1,
        "group-kfold": 5,
        "leave-one-speaker-out": 12,
        "leave-one-language-out": 2,
        "leave-one-corpus-out": 2,
    }
    assert len(found) == expected[scheme]
    if len(found) > 1:
        tested = Counter(i for split in found for i in split.test.ids)
        assert set(tested.values()) == {1}
        assert len(tested) == len(clips)
        assert len({split.name for split in found}) == len(found)


def test_leave_one_language_out_holds_out_that_language():
    for split in splits(corpus(), "leave-one-language-out"):
        assert set(split.test["language"]) == {split.name}
        assert split.name not in {*split.train["language"], *split.dev["language"]}


def test_shares_and_labels_are_near_what_was_asked():
    clips = corpus(n_speakers=60, per_speaker=9)
    [split] = splits(clips, "speaker")
    assert abs(len(split.test) / len(clips) - 0.2) < 0.02
    assert abs(len(split.dev) / len(clips) - 0.1) < 0.02
    for part in split.parts.values():
        counts = Counter(part["label"])
        assert max(counts.values()) - min(counts.values()) <= 0.05 * len(part) + 1
        languages = Counter(part["language"])
        assert abs(languages["deu"] - languages["eng"]) <= 18


def test_stratified_labels_are_within_one_clip():
    clips = corpus(speaker=lambda s, t: "")
    [split] = splits(clips, "stratified", test_size=0.25, dev_size=0.25)
    for label, total in Counter(clips["label"]).items():
        for part, share in (("train", 0.5), ("dev", 0.25), ("test", 0.25)):
            assert abs(list(split.parts[part]["label"]).count(label) - share * total) <= 1.5


def test_one_seed_gives_one_split_whatever_the_row_order_of_time():
    clips = corpus()
    one, two = (splits(clips, random_state=3)[0] for _ in range(2))
    assert one.hash == two.hash
    assert one.test.ids == two.test.ids
    assert splits(clips, random_state=4)[0].hash != one.hash


@pytest.mark.parametrize("scheme", ["speaker", "stratified", "group-kfold"])
@pytest.mark.parametrize("seed", [None, -1, 1.0, True, "1", np.random.default_rng(0)])
def test_a_seed_is_a_whole_number(scheme, seed):
    """The text of a generator has its address: each call gave another split."""
    with pytest.raises(InputError, match="`random_state` is"):
        splits(corpus(), scheme, random_state=seed)


def test_repeats_differ_and_are_named():
    found = splits(corpus(n_speakers=30), repeats=4)
    assert len({split.hash for split in found}) == 4
    assert [split.name for split in found] == [f"repeat {i}" for i in range(1, 5)]
    assert len(splits(corpus(), "group-kfold", n_splits=3, repeats=2)) == 6
    with pytest.raises(InputError, match="clips; expected fewer"):
        splits(corpus(), "group-kfold", n_splits=10**30)


def test_column_reads_the_fields_words():
    names = ["training", "val", "Test", "train"]
    clips = corpus(n_speakers=4, part=lambda s, t: names[s])
    [split] = splits(clips, column="part", scheme="column")
    assert [len(part) for part in split.parts.values()] == [20, 10, 10]


def test_column_without_dev_takes_some_of_train():
    clips = corpus(split=lambda s, t: "test" if s < 3 else "train")
    [split] = splits(clips, "column", dev_size=0.25)
    check(clips, [split])
    assert len(split.dev) == pytest.approx(0.25 * len(clips), abs=len(clips) / 12)
    assert "no dev in column 'split': 0.25 of all clips go from train to dev" in split.warnings
    assert len(splits(clips, "column", dev_size=0)[0].dev) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scheme": "speakers"}, "Did you mean 'speaker'"),
        ({"scheme": "column", "column": "language"}, "'deu'"),
        ({"scheme": "column", "column": "langage"}, "Did you mean 'language'"),
        ({"scheme": "group-kfold", "group": "room"}, "no column 'room'"),
        ({"test_size": 1.2}, "`test_size=1.2`; expected a share"),
        ({"test_size": "20%"}, r"`test_size='20%'`; expected a share.*; write 0\.2$"),
        ({"dev_size": None}, "`dev_size=None`; expected a share"),
        ({"n_splits": 2.5}, r"`n_splits=2\.5`; expected at least 2 folds"),
        ({"test_size": 0.7, "dev_size": 0.4}, "leave something for train"),
    ],
)
def test_wrong_options_say_what_to_do(options, message):
    with pytest.raises(InputError, match=message):
        splits(corpus(), **options)


def test_clips_without_a_speaker_are_an_input_error():
    clips = corpus(speaker=lambda s, t: "" if (s, t) == (0, 3) else f"s{s}")
    with pytest.raises(
        InputError, match=r"1 of 120 clips have no speaker \(first in row 4\).*Fill the column"
    ):
        splits(clips, "speaker")


@pytest.mark.parametrize("command", ["train", "probe"])
def test_without_speakers_the_commands_name_a_scheme_that_works(tmp_path, command):
    rows = [{"id": f"c{i}", "text": f"t{i}", "label": ("anger", "joy")[i % 2]} for i in range(60)]
    clips = Manifest.from_rows(rows)
    clips.write(tmp_path / "clips.csv")
    cache = Cache(tmp_path / "c")
    values = np.random.default_rng(0).standard_normal((60, 1, 4))
    space, _ = import_space(cache, dict(zip(clips.ids, values, strict=True)), clips, "s")
    words = [command, tmp_path / "clips.csv", "--cache", cache.path, "--task", "valence"]
    words += ["--space", space.name]
    words += ["--head", "logistic", "-o", tmp_path / "m"] if command == "train" else ["--C", "1"]
    call = lambda *more: CliRunner().invoke(affekt, [*map(str, words), *more])  # noqa: E731
    refused = call()
    assert isinstance(refused.exception, InputError)
    said = f"no column 'speaker' for --split {('group-kfold', 'speaker')[command == 'train']}; it"
    assert f"{said} has id, text, label." in str(refused.exception)
    assert "or take --split stratified, which divides" in str(refused.exception)
    assert call("--split", "stratified").exit_code == 0


def test_too_few_speakers_are_an_error_not_an_empty_part():
    with pytest.raises(InputError, match="2 groups for 3 parts"):
        splits(corpus(n_speakers=2), "speaker")
    with pytest.raises(InputError, match=r"4 values of speaker for 5 folds.*leave-one-speaker-out"):
        splits(corpus(n_speakers=4), "group-kfold")
    with pytest.raises(InputError, match="one language only"):
        splits(corpus(languages=("deu",)), "leave-one-language-out")
    with pytest.raises(InputError, match="leave a part empty"):
        splits(corpus(n_speakers=1, per_speaker=2, speaker=lambda s, t: ""), "stratified")


@pytest.mark.parametrize("seed", range(8))
def test_a_label_of_two_speakers_is_learnt_wherever_it_is_tested(seed):
    def label(speaker, take):
        return "calm" if speaker < 2 and take % 2 else ["anger", "joy"][take % 2]

    clips = corpus(languages=("deu",), label=label)
    folds = splits(clips, "group-kfold", random_state=seed)
    assert sum("calm" in set(fold.test["label"]) for fold in folds) == 2
    for fold in folds:
        assert "calm" in set(fold.train["label"])
    [one] = splits(clips, "speaker", random_state=seed, test_size=0.3, dev_size=0.2)
    parts = [part for part, kept in one.parts.items() if "calm" in set(kept["label"])]
    assert len(parts) == 2


def test_a_class_missing_in_a_part_is_reported():
    clips = corpus(n_speakers=6, label=lambda s, t: "fear" if s == 0 else ["joy", "anger"][t % 2])
    [split] = splits(clips, "speaker")
    assert any("fear" in warning for warning in split.warnings)


def test_speakers_of_two_corpora_with_one_name_are_two_people():
    clips = corpus(speaker=lambda s, t: f"{s // 2:02}")
    check(clips, splits(clips, "leave-one-corpus-out"))


def test_write_and_hash(tmp_path):
    [split] = splits(corpus())
    split.write(tmp_path / "split.csv")
    with (tmp_path / "split.csv").open() as file:
        rows = {row["id"]: row["split"] for row in csv.DictReader(file)}
    assert Counter(rows.values()) == {name: len(part) for name, part in split.parts.items()}
    assert len(split.hash) == 64
    assert split.describe()["parts"]["train"]["clips"] == len(split.train)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 30), min_size=3, max_size=25),
    st.integers(0, 1000),
    st.integers(1, 5),
)
def test_groups_are_never_divided_and_parts_never_empty(sizes, seed, n_labels):
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    labels = rng.integers(0, n_labels, len(groups))
    parts = deal_groups(labels, groups, [0.7, 0.1, 0.2], str(seed))
    assert set(parts) == {0, 1, 2}
    for group in range(len(sizes)):
        assert len(set(parts[groups == group])) == 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=10, max_size=200), st.integers(0, 1000))
def test_clips_are_dealt_within_two_of_their_share(labels, seed):
    labels = np.array(labels)
    shares = np.array([0.6, 0.2, 0.2])
    names = [f"clip-{row}" for row in range(len(labels))]
    try:
        parts = deal_clips(labels, names, shares, str(seed))
    except InputError:
        assume(False)
        raise
    assert np.abs(np.bincount(parts, minlength=3) - shares * len(labels)).max() <= 2
    for label in set(labels.tolist()):
        own = np.bincount(parts[labels == label], minlength=3)
        assert np.abs(own - shares * own.sum()).max() <= 2


def one_corpus(name, speakers, seed=0):
    rng = np.random.default_rng(seed)
    return [
        {
            "id": f"{name}-{s}-{k}",
            "text": f"{name} {s} {k}",
            "label": label,
            "speaker": f"{s}",
            "dataset": name,
        }
        for s in range(speakers)
        for k, label in enumerate(rng.choice(["neg", "neu", "pos"], rng.integers(6, 20)))
    ]


def parts_of(rows, **options):
    overlap = options["scheme"] == "stratified"
    found = splits(Manifest.from_rows(rows), allow_speaker_overlap=overlap, **options)
    return {
        (split.name, clip): part
        for split in found
        for part, clips in split.parts.items()
        for clip in clips.ids
    }


@pytest.mark.parametrize("scheme", ["speaker", "group-kfold", "stratified"])
def test_a_clip_less_or_another_order_moves_few_others(scheme):
    rows = one_corpus("a", 10) + one_corpus("b", 14, seed=1)
    whole = parts_of(rows, scheme=scheme)
    assert parts_of(rows[::-1], scheme=scheme) == whole
    moved = []
    for gone in range(0, len(rows), 11):
        rest = parts_of(rows[:gone] + rows[gone + 1 :], scheme=scheme)
        moved.append(np.mean([whole[name] != part for name, part in rest.items()]))
    assert np.mean(moved) < 0.05  # a fresh draw moves a third and more


@pytest.mark.parametrize("scheme", ["speaker", "group-kfold"])
def test_a_new_corpus_moves_nothing(scheme):
    rows = one_corpus("a", 10) + one_corpus("b", 14, seed=1)
    before = parts_of(rows, scheme=scheme, dev_size=0.1 if scheme == "speaker" else 0)
    more = parts_of(
        rows + one_corpus("new", 9, seed=2),
        scheme=scheme,
        dev_size=0.1 if scheme == "speaker" else 0,
    )
    assert all(more[name] == part for name, part in before.items())


@pytest.mark.data
def test_real_speech_splits(shared_data):
    clips = Manifest.read(shared_data / "speech_valence.csv")
    for scheme in ("speaker", "group-kfold", "leave-one-language-out"):
        check(clips, splits(clips, scheme))
    meld = Manifest.read(shared_data / "meld" / "manifest.csv")
    with pytest.raises(InputError, match="speakers in both train and test"):
        splits(meld, "column")
    assert splits(meld, "column", allow_speaker_overlap=True)[0].warnings


def test_a_clip_less_seldom_draws_small_corpora_again():
    rng = np.random.default_rng(0)
    moved = []
    for trial in range(240):
        sizes = np.clip(rng.lognormal(2.2, 0.7, rng.integers(6, 20)).astype(int), 2, None)
        groups = np.repeat([f"s{i}" for i in range(len(sizes))], sizes)
        labels = rng.integers(0, 4, len(groups))
        gone = np.arange(len(groups)) != rng.integers(len(groups))
        shares, key = [0.64, 0.16, 0.2], str(trial)
        whole = deal_groups(labels, groups, shares, key)
        moved.append((whole[gone] != deal_groups(labels[gone], groups[gone], shares, key)).any())
    assert np.mean(moved) < 0.09  # 0.14 where each clip of a label counts
