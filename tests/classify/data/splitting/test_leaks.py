"""Leak checks: speakers, recordings, script texts, near-duplicates."""

from __future__ import annotations

import numpy as np
import pytest
from affekt.cache.errors import InputError
from affekt.cache.manifest import Manifest
from affekt.classify.data.splitting import leaks
from affekt.classify.data.splitting.near_duplicates import (
    altered_copies,
    check_near_duplicates,
    near_duplicates,
)
from affekt.classify.data.splitting.schemes import splits


def clips(n=40, **columns):
    return Manifest.from_rows(
        [
            {"id": f"c{i}", "text": f"t{i}", "label": "ab"[i % 2]}
            | {name: values(i) for name, values in columns.items()}
            for i in range(n)
        ]
    )


def test_a_random_split_with_shared_speakers_is_refused_unless_forced():
    shared = clips(speaker=lambda i: f"s{i % 5}")
    with pytest.raises(InputError, match="allow_speaker_overlap"):
        splits(shared, "stratified")
    [forced] = splits(shared, "stratified", allow_speaker_overlap=True)
    assert any("speakers in both train and test" in warning for warning in forced.warnings)


def test_one_recording_under_two_ids_is_refused_unless_forced():
    table = clips()
    digests = [f"d{i // 2}" for i in range(40)]
    with pytest.raises(InputError, match=r"one recording under two ids.*c\d"):
        splits(table, "stratified", digests=digests)
    [forced] = splits(table, "stratified", digests=digests, allow_duplicates=True)
    assert any("one recording" in warning for warning in forced.warnings)
    by_speaker = clips(speaker=lambda i: f"s{i // 4}")
    assert not any(
        "one recording" in warning
        for warning in splits(by_speaker, digests=dict(zip(by_speaker.ids, digests, strict=True)))[
            0
        ].warnings
    )


def test_a_cache_gives_the_digests():
    class Cache:
        def digests(self, clips, kind):
            assert kind == "audio"
            return ["same"] * len(clips)

    with pytest.raises(InputError, match="one recording"):
        splits(clips(), "stratified", digests=Cache())
    with pytest.raises(InputError, match="3 digests for 40 clips"):
        splits(clips(), "stratified", digests=["a", "b", "c"])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        *(
            (("", ""), ("", ""), True),
            (("0", "2"), ("0.3", "2.3"), True),
            (("", ""), ("4", "5"), True),
        ),
        *((("0", "2"), ("1.9", "4"), False), (("0", "2"), ("2", "4"), False)),
    ],
)
def test_two_sections_of_one_file_that_are_half_the_same_are_one_recording(one, other, same):
    def row(name, path, part, times=("", "")):
        start, end = times
        texts = {"id": name, "path": path, "label": "joy", "speaker": name, "split": part}
        return {**texts, "start": start, "end": end}

    rows = [row("a", "x.wav", "train", one), row("b", "./x.wav", "test", other)]
    rows += [row("c", "y.wav", "train"), row("d", "z.wav", "test")]
    table = Manifest.from_rows(rows)
    if same:
        with pytest.raises(InputError, match=r"different parts: a \(train\) = b \(test\)\. "):
            splits(table, "column", dev_size=0)
    else:
        assert splits(table, "column", dev_size=0)


def test_recordings_without_digests_are_reported():
    audio = clips(path=lambda i: f"{i}.wav")
    assert any("not checked for duplicates" in w for w in splits(audio, "stratified")[0].warnings)


def test_the_same_script_is_a_warning():
    script = clips(speaker=lambda i: f"s{i // 4}", text=lambda i: f"Sentence {i % 4}!")
    warnings = splits(script, "speaker")[0].warnings
    assert any(
        "clips of test have a text that also occurs in train" in warning for warning in warnings
    )
    assert "text" not in " ".join(splits(script, "speaker", reads_texts=False)[0].warnings)


def test_near_duplicates_are_found_across_blocks_and_scales():
    rng = np.random.default_rng(0)
    train, other = rng.normal(size=(50, 16)), rng.normal(size=(40, 16))
    other[7], other[33] = 3 * train[11], train[2] * (1 + 1e-7)
    pairs = near_duplicates(train, other, block=8)
    assert [(t, o) for t, o, _ in pairs] == [(11, 7), (2, 33)]
    assert near_duplicates(train, rng.normal(size=(5, 16))) == []
    assert near_duplicates(np.zeros((0, 4)), np.ones((2, 4))) == []


@pytest.mark.parametrize("part", ["train", "dev"])
def test_near_duplicates_become_a_warning_that_names_ids(part):
    rng = np.random.default_rng(0)
    [split] = splits(clips(), "stratified")
    values = {name: rng.normal(size=(len(part), 8)) for name, part in split.parts.items()}
    values["test"][0] = values[part][3]
    [message] = check_near_duplicates(split.parts, values)
    assert f"of test nearly identical to a clip of {part}, perhaps a copy of it: " in message
    assert f"{split.test.ids[0]} = {split.parts[part].ids[3]} " in message


def test_splits_ask_for_embeddings_where_they_can():
    table = clips()
    rng = np.random.default_rng(0)
    values = rng.normal(size=(40, 8))
    values[20:] = values[:20]
    [split] = splits(table, "stratified", embed=lambda part: values)
    assert any("nearly identical to a clip of train" in warning for warning in split.warnings)


def test_blank_speakers_are_nobody():
    assert leaks.shared({"train": ["", "x"], "test": ["", "y"]}) == {}


def test_labels_missing_on_one_side_are_reported_where_something_is_trained():
    def said(train: str) -> list[str]:
        found = clips(
            split=lambda i: "test" if i % 2 else train,
            label=lambda i: "joy" if i % 2 else "anger",
        )
        return [w for w in splits(found, "column", needs_train=False)[0].warnings if "joy" in w]

    assert said("train") == ["test has clips of joy, and train has none"]
    assert said("test") == []


@pytest.mark.parametrize(
    ("train", "test"),
    [
        *(("Ada", "ada"), ("s01", "s1"), ("bo", "bo "), ("José", "Jose\u0301"), ("7", "7.0")),
        *(("spk-1", "spk_1"), ("spk 1", "Spk1"), ("bo", "b\u200bo")),
    ],
)
def test_one_speaker_in_two_spellings_on_two_sides_is_refused(train, test):
    names = {"train": train, "test": test}
    part = ["train", "test"]
    table = clips(speaker=lambda i: names[part[i // 2 % 2]], split=lambda i: part[i // 2 % 2])
    if table["speaker"][0] == table["speaker"][2]:  # a manifest makes these one already
        with pytest.raises(InputError, match="in both train and test"):
            splits(table, "column", dev_size=0)
        return
    with pytest.raises(InputError, match="differ only in case, blanks, hyphens, leading zeros or"):
        splits(table, "column", dev_size=0)
    [forced] = splits(table, "column", dev_size=0, allow_speaker_overlap=True)
    assert any("Write one name for one speaker" in text for text in forced.warnings)


def test_a_copy_is_found_by_how_near_the_other_clips_are():
    """A copy with noise has a cosine of 0.95, far below any fixed threshold that is safe."""
    rng = np.random.default_rng(0)
    voices = rng.normal(size=(30, 64))
    here = voices[np.arange(240) % 20] + rng.normal(size=(240, 64))
    there = voices[20 + np.arange(80) % 10] + rng.normal(size=(80, 64))
    assert near_duplicates(here, there) == []
    copies = here[:40] + 0.3 * rng.normal(size=(40, 64))
    found = near_duplicates(here, np.concatenate([there, copies]))
    assert [(a, b) for a, b, _ in found] == [(row, 80 + row) for row in range(40)]
    assert min(cosine for *_, cosine in found) < 0.98


def test_several_copies_of_one_clip_in_train_do_not_hide_each_other():
    rng = np.random.default_rng(1)
    clip = rng.normal(size=(60, 64))
    here = np.concatenate([clip, clip[:10] + 0.1 * rng.normal(size=(10, 64))])
    found = near_duplicates(here, clip[:10] + 0.1 * rng.normal(size=(10, 64)))
    assert [b for _, b, _ in found] == list(range(10))


def test_a_copy_that_a_filter_or_noise_changed_is_found_and_different_clips_are_not():
    """The filter moves two thirds of the features by more than clips differ."""
    rng = np.random.default_rng(0)
    voices = rng.normal(size=(30, 120))
    here = voices[np.arange(240) % 20] + rng.normal(size=(240, 120))
    there = voices[20 + np.arange(80) % 10] + rng.normal(size=(80, 120))
    assert altered_copies(here, there) == []
    assert altered_copies(here[:16], here[:5]) == []  # too few clips to say what is near
    assert altered_copies(here[:, :40], here[:5, :40]) == []
    sparse = np.where(rng.random((60, 120)) < 0.1, 1.0, 0.0)  # most values are alike everywhere
    assert altered_copies(sparse[:50], sparse[50:]) == []
    filtered = here[:20] + 0.05 * rng.normal(size=(20, 120))
    filtered[:, :80] += rng.normal(3, 1, size=80)
    found = altered_copies(here, np.concatenate([there, filtered]))
    assert found == [(row, 80 + row) for row in range(20)]
    assert near_duplicates(here, filtered) == []
    [split] = splits(clips(), "stratified")
    values = {name: rng.normal(size=(len(part), 120)) for name, part in split.parts.items()}
    values["train"] = np.concatenate([values["train"]] * 2)
    assert check_near_duplicates(split.parts, values) == []


def test_two_voices_alike_by_chance_are_no_copies_and_copies_still_are():
    """The synthetic corpus of the demo had two such voices: cosine 0.93, all others far away."""
    rng = np.random.default_rng(3)
    [split] = splits(clips(40), "stratified")
    values = {name: rng.normal(size=(len(part), 120)) for name, part in split.parts.items()}
    train, test = values["train"], values["test"]
    test[0] = train[0] + 0.5 * rng.choice([-1, 1], size=120)  # every feature differs a little
    assert near_duplicates(train, test)
    assert check_near_duplicates(split.parts, values) == []
    test[1] = train[1] + 0.2 * rng.normal(size=120)
    [message] = check_near_duplicates(split.parts, values)
    assert f"{split.parts['test'].ids[1]} = {split.parts['train'].ids[1]} " in message
    assert message.startswith("1 clip of test")
    assert "Within train" not in message
    train[2] = train[3] + 0.1 * rng.normal(size=120)  # train holds copies too
    [message] = check_near_duplicates(split.parts, values)
    assert f". Within train 2 of {len(train)} clips are just as close to another one: " in message
