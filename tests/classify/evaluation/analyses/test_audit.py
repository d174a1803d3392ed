"""Shortcut audit and sanity of splits: what was planted is found, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from affekt.cache.errors import InputError
from affekt.cache.manifest import Manifest
from affekt.classify import Predictions, Task, compare
from affekt.classify.data.splitting.schemes import splits
from affekt.classify.evaluation.analyses.audio_facts import facts
from affekt.classify.evaluation.analyses.shortcuts import answer, audit, dealt, word_scores
from affekt.classify.evaluation.analyses.split_sanity import check_relation

from ..test_compare import LABELS as VALENCE, RAW, clips, member, members

LABELS = ["a", "b"]


def table(n=200, **columns):
    rng = np.random.default_rng(0)
    return Manifest.from_rows(
        [
            {"id": f"c{i}", "text": f"t{rng.integers(10**9)}", "label": LABELS[i % 2]}
            | {"speaker": f"s{i // 8}"}
            | {name: values(i) for name, values in columns.items()}
            for i in range(n)
        ]
    )


@pytest.mark.parametrize(
    ("factor", "column"),
    [
        ("corpus", {"dataset": lambda i: f"set{i % 2}", "speaker": lambda i: f"s{i // 8}{i % 2}"}),
        ("language", {"language": lambda i: ["deu", "eng"][i % 2]}),
        ("script", {"text": lambda i: ["Oh no.", "oh yes!"][i % 2]}),
        ("words", {"text": lambda i: ["oh no", "oh yes"][i % 2] + f" {i}"}),
        ("duration", {"duration": lambda i: str(1 + i % 2)}),
        ("loudness", {"loudness": lambda i: str(-20.0 - 5 * (i % 2) + 0.01 * i)}),
        ("sampling_rate", {"sampling_rate": lambda i: str(8000 * (1 + i % 2))}),
    ],
)
def test_a_planted_shortcut_is_found(factor, column):
    [split] = splits(table(**column), "speaker")
    found = audit(split, LABELS, audio=False)["factors"]
    assert found[factor]["uar"]["value"] > 0.95
    assert found[factor]["shortcut"]


def test_an_uninformative_factor_is_not_a_shortcut():
    rng = np.random.default_rng(1)
    clean = table(400, duration=lambda i: str(rng.random()), language=lambda i: "deu")
    [split] = splits(clean, "speaker")
    found = audit(split, LABELS, audio=False)["factors"]
    assert "language" not in found  # one value says nothing
    assert not any(row["shortcut"] for row in found.values())


def test_unknown_values_are_not_scored():
    [split] = splits(table(duration=lambda i: str(i % 2) if i % 4 else "?"), "speaker")
    found = audit(split, LABELS, audio=False)["factors"]["duration"]
    assert found["clips"] < len(split.test)


def test_the_answer_is_fair_to_rare_labels():
    here, learn = ["x"] * 98 + ["y", "x"], np.array([0] * 98 + [1, 1])
    assert answer(here, learn, ["x", "y", "new"], 2).tolist() == [0, 1, 0]
    numbers = answer([None, *range(99)], np.array([0] * 50 + [1] * 50), [3, 90, None], 2)
    assert numbers.tolist() == [0, 1, 0]


def test_facts_come_from_the_files_where_they_are_at_hand(tmp_path):
    for rate in (8000, 16000):
        tone = 0.5 * np.sin(np.arange(rate) * 0.1)
        soundfile.write(tmp_path / f"{rate}.wav", tone, rate)
    (tmp_path / "broken.wav").write_bytes(b"no audio")
    rows = [
        {"id": "a", "path": "8000.wav"},
        {"id": "b", "path": "16000.wav", "start": 0.25, "end": 0.75},
        {"id": "c", "path": "gone.wav"},
        {"id": "d", "path": "broken.wav"},
    ]
    clips = Manifest.from_rows(rows, root=tmp_path)
    found = facts(clips)
    assert found["duration"] == [1.0, 0.5, None, None]
    assert found["sampling_rate"] == [8000, 16000, None, None]
    assert found["loudness"][0] == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.05)
    assert facts(clips, read=False)["duration"] == [None] * 4
    assert sum(v is not None for v in facts(clips, limit=1)["duration"]) <= 1


def test_words_of_scripts_without_spaces():
    texts = ["我很高兴", "今天高兴", "我很难过", "真难过"]
    proba = word_scores(texts, np.array([1, 1, 0, 0]), ["高兴吗", "难过吗"], 2)
    assert proba.argmax(axis=1).tolist() == [1, 0]


def test_the_audit_has_a_p_for_one_test_speaker():
    truth = np.tile([0, 1, 2], 20)
    assert dealt(truth, truth, 3) == 0.001
    flips = np.random.default_rng(0).integers(0, 3, 60)
    assert 0.01 < dealt(truth, flips, 3) < 1


def related(n, skill, seed, n_labels=3):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, n_labels, n)
    guess = np.where(rng.random(n) < skill, truth, rng.integers(0, n_labels, n))
    return truth, guess


def test_a_test_split_that_follows_is_not_called_out():
    for seed in range(20):
        dev, test = related(300, 0.5, seed), related(500, 0.45, 100 + seed)
        assert check_relation("x", *dev, *test, "abc") == []


def test_permuted_and_shifted_test_labels_are_called_out():
    dev, (truth, guess) = related(300, 0.6, 0), related(500, 0.6, 1)
    permuted = np.random.default_rng(2).permutation(truth)
    [message] = check_relation("words", *dev, permuted, guess, "abc")
    assert "test does not follow train and dev" in message
    messages = check_relation("words", *dev, np.roll(truth, 1), guess, "abc")
    assert any("moved by -1 rows" in text for text in messages)


def test_weak_predictors_say_nothing():
    dev, test = related(60, 0.05, 0), related(60, 0.0, 1)
    assert check_relation("x", *dev, *test, "abc") == []


def test_a_shift_from_the_middle_and_exchanged_labels_are_seen():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 400)
    guess = np.where(rng.random(400) < 0.75, truth, rng.integers(0, 3, 400))
    dev = truth[:200], guess[:200]
    assert check_relation("lr", *dev, truth, guess, "abc") == []
    late = truth.copy()
    late[250:] = np.roll(truth, 1)[250:]
    [text] = [t for t in check_relation("lr", *dev, late, guess, "abc") if "shifted" in t]
    row = int(text.split("from row ")[1].split()[0])
    assert 235 <= row <= 270
    assert "by -1 rows" in text
    crossed = np.array([1, 0, 2])[truth]
    found = check_relation("lr", *dev, crossed, guess, "abc")
    assert any("a and b look swapped" in text for text in found)


@pytest.mark.data
def test_the_shifted_labels_of_emoevent_are_called_out(shared_data):
    """The published Spanish test labels are shifted; the shared copy has them right."""
    clips = Manifest.read(shared_data / "emoevent_es" / "manifest.csv")
    labels = sorted(set(clips["label"]))
    parts = {name: clips.where(split=name) for name in ("train", "dev", "test")}
    texts = {name: list(part["text"]) for name, part in parts.items()}
    codes = {
        name: np.array([labels.index(label) for label in part["label"]])
        for name, part in parts.items()
    }
    guess = {
        name: word_scores(texts["train"], codes["train"], texts[name], len(labels)).argmax(axis=1)
        for name in ("dev", "test")
    }
    right = (codes["dev"], guess["dev"], codes["test"], guess["test"], labels)
    assert check_relation("words", *right) == []
    shifted = (codes["dev"], guess["dev"], np.roll(codes["test"], 7), guess["test"], labels)
    assert any("does not follow" in text for text in check_relation("words", *shifted))
    by_two = (codes["dev"], guess["dev"], np.roll(codes["test"], 2), guess["test"], labels)
    assert any("moved by -2 rows" in text for text in check_relation("words", *by_two))


def test_speakers_who_differ_are_no_reason_to_doubt_the_labels():
    """All clips of a speaker are right or wrong; clips taken as independent raise an alarm."""
    truth = np.random.default_rng(0).integers(0, 2, 100)
    speakers = np.repeat(range(5), 20)
    good, bad = np.isin(speakers, [0, 1, 2, 3]), np.isin(speakers, [0])
    dev, test = (np.where(right, truth, 1 - truth) for right in (good, bad))

    def doubts(*answers, **groups):
        found = " ".join(
            check_relation("lr", truth, answers[0], truth, answers[1], LABELS, **groups)
        )
        return "does not follow" in found, "look swapped" in found

    known = {"dev_groups": speakers, "groups": speakers}
    assert doubts(dev, test) == (True, True)
    assert doubts(dev, test, **known) == (False, False)
    assert doubts(truth, 1 - truth, **known) == (True, True)
    one = {**known, "groups": np.zeros(100, int)}
    assert doubts(truth, 1 - truth, **one) == (False, False)


@pytest.mark.parametrize("language", ["eng", "spa"])
def test_a_test_part_in_another_language_need_not_follow_words(language):
    words = {"negative": "rain cry", "positive": "sun laugh"}
    rows = [
        {"id": f"{part}{i}", "label": label, "split": part, "speaker": f"{part}{i % 9}",
         "text": f"{words[label] if part != 'test' else 'agua'} {part}{i}",
         "language": language if part == "test" else "eng"}
        for part in ("train", "dev", "test")
        for i, label in enumerate(["negative", "positive"] * 60)
    ]  # fmt: skip
    clips = Manifest.from_rows(rows)
    [part] = splits(clips, "column")
    half = Predictions(part.test.ids, ["negative", "positive"], np.full((120, 2), 0.5))
    task = Task.from_labels(["negative", "positive"])
    found = compare({"one": half}, part.test, task, split=part, n_resamples=100)
    warned = any("does not follow" in text for text in found.data["warnings"])
    assert warned == (language == "eng")


def test_forced_shared_speakers_carry_the_warning_and_the_audit_shows_them():
    """No signal but who speaks: each speaker has a favourite label."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(400):
        speaker = i % 20
        label = RAW[VALENCE[speaker % 3 if rng.random() < 0.7 else rng.integers(3)]]
        rows.append({"id": f"c{i}", "text": "-", "label": label, "speaker": f"s{speaker}"})
    table = Manifest.from_rows(rows)
    with pytest.raises(InputError, match="allow_speaker_overlap"):
        splits(table, "stratified")
    [forced] = splits(table, "stratified", allow_speaker_overlap=True)
    predictions = {"noise": member(forced.test, 0.0, 1)}
    result = compare(predictions, forced.test, "valence", split=forced, n_resamples=200)
    speaker = result.data["audit"]["factors"]["speaker"]
    assert speaker["shortcut"]
    assert speaker["uar"]["value"] > 0.6
    assert any("speakers in both train and test" in text for text in result.data["warnings"])
    assert "**shortcut**" in result.report()
    [honest] = splits(table, "speaker")
    clean = compare(
        {"noise": member(honest.test, 0.0, 1)},
        honest.test,
        "valence",
        split=honest,
        n_resamples=200,
    )
    assert "no value of test is in train" in clean.data["audit"]["left_out"]["speaker"]


def test_folds_of_one_scheme_are_audited_together():
    table = clips()
    folds = splits(table, "leave-one-language-out")
    result = compare(members(table), table, "valence", split=folds, n_resamples=50)
    assert len(result.data["splits"]) == 2
    assert result.data["audit"]["factors"]["words"]["clips"] == len(table)
