"""What a comparison may claim: max-T, what it finds, the choice on dev, uses of test."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from affekt.cache.errors import InputError
from affekt.cache.manifest import Manifest
from affekt.classify.data.predictions import Predictions
from affekt.classify.data.splitting import leaks
from affekt.classify.data.splitting.findings import Finding, Kind, of_splits, ranked
from affekt.classify.data.splitting.near_duplicates import check_near_duplicates
from affekt.classify.data.splitting.split import Split
from affekt.classify.data.task import Task
from affekt.classify.ensembles.calibration import CALIBRATORS
from affekt.classify.evaluation.analyses.split_sanity import check_relation
from affekt.classify.evaluation.compare import compare
from affekt.classify.evaluation.dev_and_test import check_apart
from affekt.classify.evaluation.scores.scoring import mean_interval
from affekt.classify.experiments.results.uses_of_test import record_use
from affekt.classify.metrics import measures as metrics
from affekt.classify.metrics.scored_clips import clusters
from scipy import stats

LABELS = ["a", "b", "c"]


def test_two_speakers_have_no_test_and_no_interval_but_their_own_values():
    rows, proba = corpus(2)
    data = compare(proba, rows, Task.from_labels(LABELS), strategies=[], n_resamples=50).data
    [pair] = data["pairs"]
    assert pair["p_uar"] is pair["p_uar_corrected"] is None
    assert pair["uar_difference_interval"] == [None, None]
    assert not pair["different"]
    assert [row["group"] for row in data["groups"]["values"]] == ["s0", "s1"]
    by_class = data["groups"]["values"][0]["uar"]["good"]
    assert by_class == pytest.approx(1.0)


def test_five_speakers_say_how_many_it_would_take():
    rows, proba = corpus(5)
    result = compare(proba, rows, Task.from_labels(LABELS), strategies=[], n_resamples=50)
    [pair] = result.data["pairs"]
    assert pair["p_uar"] == 2 / 2**5
    assert pair["uar_detectable"] is None
    assert pair["groups_needed"] >= 6
    assert "would be needed" in result.report()


def corpus(n_speakers, per=6, prefix="", seed=0, n_labels=3, text=lambda i: f"words {i}"):
    rows = [
        {"id": f"{prefix}{s}-{k}-{j}", "text": text(f"{prefix}{s}{k}{j}"), "label": LABELS[k]}
        | {"speaker": f"{prefix}s{s}", "language": f"l{s % 3}"}
        for s in range(n_speakers) for k in range(n_labels) for j in range(per)
    ]  # fmt: skip
    table = Manifest.from_rows(rows)
    truth = np.array([LABELS.index(row["label"]) for row in rows])
    rng = np.random.default_rng(seed)
    good = np.full((len(rows), 3), 0.05)
    good[np.arange(len(rows)), truth] = 0.9
    bad = rng.dirichlet([1, 1, 1], len(rows))
    return table, {n: Predictions(table.ids, LABELS, p) for n, p in [("good", good), ("bad", bad)]}


def test_a_perfect_system_gets_1_in_a_language_without_a_class():
    table, proba = corpus(6)
    kept = [i for i, lang, label in zip(table.ids, table["language"], table["label"], strict=True)
            if not (lang == "l1" and label == "c")]  # fmt: skip
    members = {name: p.select(kept) for name, p in proba.items()}
    data = compare(
        members, table.select(kept), Task.from_labels(LABELS), strategies=[], n_resamples=50
    ).data["by"]["language"]
    assert data["values"]["l1"]["absent"] == ["c"]
    assert data["values"]["l1"]["systems"]["good"]["uar"]["value"] == 1
    assert data["values"]["l1"]["systems"]["good"]["macro_f1"]["value"] == 1
    assert data["macro"]["good"]["uar"] == 1
    assert data["macro_interval"]["good"] == [None, None]  # three languages


def test_the_interval_over_languages_is_students():
    values = [0.5, 0.7, 0.6, 0.65, 0.55, 0.62]
    expected = stats.t.interval(0.95, 5, np.mean(values), stats.sem(values))
    assert mean_interval(values) == pytest.approx(expected)
    assert np.isnan(mean_interval(values[:4])).all()


def test_with_one_dev_speaker_what_learns_cannot_be_chosen():
    table, proba = corpus(6)
    dev_table, dev = corpus(1, 12, "d")
    learnt = ["mean", "stacking", "greedy", "weighted"]
    result = compare(
        proba, table, Task.from_labels(LABELS), strategies=learnt, dev=dev, dev_truth=dev_table,
        subsets=True, n_resamples=50,
    )  # fmt: skip
    systems = result.data["systems"]
    for name in learnt[1:]:
        assert systems[name]["dev"] is None
        assert "one speaker" in systems[name]["learnt"]["not_eligible"]
    assert result.chosen in ("good", "mean")
    assert any("could not be chosen" in text for text in result.data["warnings"])
    assert result.data["choice"]["same"] is None


def test_subsets_are_scored_by_choices_that_did_not_see_the_fold():
    """Equal members: the best of 57 subsets looks better in sample than out of fold."""
    rng = np.random.default_rng(0)
    table, _ = corpus(6, 10)
    test, _ = corpus(4, 4, "t")

    def member(clips):
        truth = [LABELS.index(label) for label in clips["label"]]
        scores = rng.normal(size=(len(clips), 3)) + 0.4 * np.eye(3)[truth]
        return Predictions(clips.ids, LABELS, np.exp(scores) / np.exp(scores).sum(1)[:, None])

    from affekt.classify.ensembles.combining import combine_all
    from affekt.classify.ensembles.subsets import search
    from affekt.classify.metrics.scored_clips import Part

    task = Task.from_labels(LABELS)
    gaps = []
    for _ in range(6):
        dev = {f"m{k}": member(table) for k in range(6)}
        part = Part(dev, table, task, "dev")
        on_test = Part({name: member(test) for name in dev}, test, task, "test").members
        groups = np.repeat(np.arange(6), 30)
        found = combine_all(on_test, ["mean"], part.members, part.codes, groups, subsets=True)
        [best] = search(part.members, part.codes, ["mean"])
        for item in found.values():
            if "subsets_tried" in item.learnt:
                gaps.append(best.uar - item.dev["uar"])
    assert len(gaps) >= 4
    assert np.mean(gaps) > 0.01


@pytest.mark.parametrize("name", list(CALIBRATORS))
def test_calibration_leaves_a_class_that_dev_lacks_and_trusts_small_dev_little(name):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 300)
    proba = rng.dirichlet([1, 1, 1], 300) * 0.4 + 0.6 * np.eye(3)[truth]
    dev = Predictions([str(i) for i in range(300)], LABELS, proba)
    names = [LABELS[k] for k in truth]  # nothing is c
    fitted = CALIBRATORS[name]().fit(dev, names, np.arange(300) % 20)
    again = CALIBRATORS[name]().set_state(3, fitted.get_state())
    other = Predictions(["x", "y"], LABELS, [[0.2, 0.1, 0.7], [0.5, 0.3, 0.2]])
    calibrated = fitted.apply(other)
    assert np.array_equal(calibrated.proba, again.apply(other).proba)
    assert calibrated.codes[0] == 2
    if name != "temperature":
        assert calibrated.proba[:, 2] == pytest.approx([0.7, 0.2])
    few = dev.select(dev.ids[:20])
    rough = CALIBRATORS[name]().fit(few, names[:20], np.arange(20) % 2)
    close = np.abs(rough.apply(other).proba - other.proba).max()
    assert close < 0.1
    assert 0.25 <= CALIBRATORS["temperature"]().fit(few, names[:20]).temperature_ <= 4


@pytest.mark.parametrize(
    ("strategy", "calibrate", "few", "warned"),
    [("stacking", None, 1, False), ("mean", "vector", 1, True), ("mean", "temperature", 1, False),
     ("mean", "vector", 9, False)],
)  # fmt: skip
def test_a_label_that_is_rare_on_dev_only_is_named(strategy, calibrate, few, warned):
    table, proba = corpus(6)
    dev_table, dev = corpus(6, prefix="d")
    rare = [name for name, label in zip(dev_table.ids, dev_table["label"], strict=True)
            if label == "c"][few:]  # fmt: skip
    kept = [name for name in dev_table.ids if name not in rare]
    warnings = compare(
        proba, table, Task.from_labels(LABELS), strategies=[strategy], calibrate=calibrate,
        dev={n: p.select(kept) for n, p in dev.items()}, dev_truth=dev_table.select(kept),
        n_resamples=20,
    ).data["warnings"]  # fmt: skip
    named = [text for text in warnings if text.startswith(f"c is 1 of {len(kept)} dev clips and")]
    assert bool(named) == warned


def test_dev_and_test_must_be_apart():
    table, proba = corpus(6)
    task = Task.from_labels(LABELS)
    with pytest.raises(InputError, match=r"share 108 ids: .*6 speakers"):
        compare(proba, table, task, dev=proba, dev_truth=table, n_resamples=50)
    assert compare(
        proba, table, task, dev=proba, dev_truth=table, allow_overlap=True, n_resamples=50
    ).chosen
    other, _ = corpus(6, prefix="d", text=lambda i: f"words {i[1:]}")
    with pytest.raises(InputError, match="the text of 108 of 108 test clips"):
        check_apart(other, table)
    heard = [
        Manifest.from_rows(
            [{"id": f"{part}{i}", "path": f"{i}.wav", "label": "a"} for i in range(9)]
        )
        for part in ("dev", "test")
    ]
    with pytest.raises(InputError, match="share 9 recordings"):
        check_apart(*heard)
    single = other.with_columns(text=["words 000", *[f"d {i}" for i in range(107)]])
    assert "dev holds the text of 1 test clips" in check_apart(single, table)[0]
    odd = Manifest.from_rows([{"id": "one\ntwo", "text": "-"}])
    with pytest.raises(InputError, match=r"share 1 id: one\\ntwo\."):
        check_apart(odd, odd)
    for name, value in [
        ("level", 95), ("level", 1), ("level", "0.95"), ("n_resamples", 1), ("n_resamples", 1e4),
        ("random_state", 1.5), ("strategies", "mean"), ("by", "language"),
    ]:  # fmt: skip
        with pytest.raises(InputError, match=f"`{name}` is {value!r}"):
            compare(proba, table, task, **{name: value})


def test_uses_of_a_test_set_count_choices_not_runs(tmp_path):
    path = tmp_path / "my.cache.test-uses.jsonl"
    assert record_use(path, ["a", "b"], {"C": 1})["choices"] == 1
    assert record_use(path, ["b", "a"], {"C": 1})["choices"] == 1
    assert record_use(path, ["a", "c"], {"C": 1})["choices"] == 1  # another test set
    with path.open("a") as file:
        file.write('{"test": "torn')
    assert record_use(path, ["a", "b"], {"C": 2})["choices"] == 2
    assert record_use(path, ["a", "b"], {"C": 3})["choices"] == 3
    assert record_use(tmp_path / "not" / "there", ["a"], 1)["choices"] is None


def test_speakers_in_two_spellings_and_copies_of_a_file_are_shared(tmp_path):
    def clips(part, speaker, *paths):
        rows = [
            {"id": f"{part}{i}", "path": path, "label": "a", "speaker": speaker}
            for i, path in enumerate(paths)
        ]
        return Manifest.from_rows(rows, root=tmp_path)

    for name, content in (("a.wav", b"one"), ("b.wav", b"one"), ("c.wav", b"two")):
        (tmp_path / name).write_bytes(content)
    assert check_apart(clips("dev", "ada", "a.wav"), clips("test", "bo", "c.wav")) == []
    for speaker in ("Ada", "ada ", "A d a"):
        with pytest.raises(InputError, match="differ in spelling only"):
            check_apart(clips("dev", "ada", "a.wav"), clips("test", speaker, "c.wav"))
    for path in ("a.wav", "./a.wav", "b.wav"):
        with pytest.raises(InputError, match=r"share 1 recording: a\.wav"):
            check_apart(clips("dev", "ada", "a.wav"), clips("test", "bo", path, "c.wav"))


def test_warnings_come_in_the_order_in_which_they_can_change_the_answer():
    """Each text is made by the check that raises it, which gives it its kind."""
    rows = [
        {"id": f"c{i}", "text": f"t{i % 9}", "label": "ab"[i % 2], "speaker": f"s{i % 4}"}
        for i in range(40)
    ]
    clips = Manifest.from_rows(rows)
    parts = {"train": clips.select(np.arange(20)), "test": clips.select(np.arange(20, 40))}
    rng = np.random.default_rng(0)
    values = {"train": rng.normal(size=(20, 70))}
    values["test"] = np.concatenate([values["train"][:1], rng.normal(size=(19, 70))])
    truth = rng.integers(0, 3, 300)
    moved = np.r_[truth[:150], np.roll(truth[150:], 1)]
    expected = [
        *check_relation("m", truth, truth, moved, truth, "abc"),
        *leaks.check_speakers(parts, allow=True),
        *leaks.check_duplicates(parts, {"c0": "x", "c20": "x"}, allow=True),
        *check_near_duplicates(parts, values),
        *leaks.check_texts(parts),
        *clusters(clips, "speaker")[1],
        "test has no clip of joy",
    ]
    assert len(expected) >= 7
    assert ranked(expected[::-1] + expected[-1:])[-1] == expected[-1]
    places = [expected.index(text) for text in ranked(expected[::-1])]
    first = len(expected) - 6
    assert sorted(places[:first]) == list(range(first))
    assert places[first:] == list(range(first, len(expected)))


def test_a_warning_of_several_folds_is_given_once_and_names_them():
    def fold(name, *warnings):
        clips = Manifest.from_rows([{"id": "a", "text": "t", "label": "x"}])
        return Split(clips, clips, clips, "kfold", name, warnings)

    def texts(seen, of):
        return Finding("{} clips of dev were seen", Kind.TEXTS, (seen, of))

    folds = [
        fold("fold 1", "dev has no clip of joy", texts(45, 60)),
        fold("fold 2", texts(60, 60), Finding("2 speakers {only}", Kind.GROUPS)),
        fold("fold 3", "dev has no clip of joy", texts(58, 60)),
    ]
    assert of_splits(folds) == [
        "all 3 folds: 45 to 60 of 60 clips of dev were seen",
        "fold 2: 2 speakers {only}",
        "fold 1, fold 3: dev has no clip of joy",
    ]
    assert [one.kind for one in of_splits(folds)] == [Kind.TEXTS, Kind.GROUPS, Kind.OTHER]
    assert of_splits(folds[:1]) == ["dev has no clip of joy", "45 of 60 clips of dev were seen"]
    whole = [fold("fold 1", texts(60, 60)), fold("fold 2", texts(45, 45))]
    assert of_splits(whole) == ["all 2 folds: all 45 to 60 clips of dev were seen"]
    assert texts(60, 60) == "all 60 clips of dev were seen"
    many = [fold(f"{k}", *["alike"][: k < 7]) for k in range(9)]
    assert of_splits(many) == ["0, 1, 2, 3, 4 and 2 more: alike"]
    copied = copy.deepcopy(texts(45, 60))  # as when it goes to another process
    assert (copied, copied.kind, copied.numbers) == (texts(45, 60), Kind.TEXTS, ((45, 60),))


def test_gaps_stand_in_the_report():
    table, proba = corpus(12)
    rng = np.random.default_rng(1)
    gender = np.array([("f", "m")[int(name[1:]) % 2] for name in table["speaker"]])
    worse = {}
    for name, one in proba.items():
        mixed = one.proba.copy()
        mixed[gender == "m"] = rng.dirichlet([1, 1, 1], int((gender == "m").sum()))
        worse[name] = Predictions(one.ids, LABELS, mixed)
    table = table.with_columns(gender=list(gender))
    task = Task.from_labels(LABELS)
    found = compare({"good": worse["good"]}, table, task, by=["gender"], n_resamples=50)
    [row] = found.data["by"]["gender"]["gaps"]
    assert row["value"] == "f"
    assert row["p_corrected"] < 0.001
    assert "UAR on one value of gender less that on all other" in found.report()


def test_calibration_after_fusion_is_scored_out_of_fold_and_is_what_is_served():
    rng = np.random.default_rng(0)
    table, _ = corpus(8)
    dev_table, _ = corpus(8, 4, "d")

    def members(clips):
        truth = np.array([LABELS.index(label) for label in clips["label"]])
        noise = rng.normal(size=(len(clips), 3)) + 0.3 * rng.normal(size=(2, len(clips), 3))
        powers = np.exp(3 * (noise + 1.5 * np.eye(3)[truth]))  # far too sure
        return {
            name: Predictions(clips.ids, LABELS, one / one.sum(axis=1, keepdims=True))
            for name, one in zip("xy", powers, strict=True)
        }

    test, dev = members(table), members(dev_table)
    options = {"strategies": ["mean"], "dev": dev, "dev_truth": dev_table, "n_resamples": 50}
    task = Task.from_labels(LABELS)
    plain = compare(test, table, task, **options)
    fused = compare(test, table, task, calibrate_fused="temperature", **options)
    found, before = fused.data["systems"]["mean"], plain.data["systems"]["mean"]
    assert found["learnt"]["calibration_fused"]["temperature"] > 1.2
    assert found["dev"]["uar"] == before["dev"]["uar"]  # a temperature keeps the labels
    assert found["test"]["uar"] == before["test"]["uar"]
    for part in ("dev", "test"):
        nll = [one[part]["nll"] for one in (found, before)]
        nll = [value["value"] if isinstance(value, dict) else value for value in nll]
        assert nll[0] < nll[1]
    assert fused.data["systems"]["x"]["test"]["nll"] == plain.data["systems"]["x"]["test"]["nll"]
    assert "ensembles calibrated on dev: temperature" in fused.report()
    again = fused.replays["mean"].combine(test)
    codes = metrics.codes(list(table["label"]), LABELS)
    assert metrics.nll(codes, again.select(table.ids).proba) == pytest.approx(
        found["test"]["nll"]["value"]
    )
    with pytest.raises(InputError, match="`calibrate_fused='temperature'` is fitted on dev"):
        compare(test, table, task, calibrate_fused="temperature", n_resamples=50)


def test_a_frame_shows_systems_with_and_without_probabilities():
    table, proba = corpus(8)
    first = next(iter(proba.values()))
    systems = {**proba, "labels": Predictions.one_hot(first.ids, LABELS, first.label)}
    result = compare(systems, table, Task.from_labels(LABELS), strategies=[], n_resamples=50)
    frame = result.to_frame().set_index("system")
    for column in ("nll", "nll low", "ece"):
        assert frame[column].isna().to_dict() == {name: name == "labels" for name in frame.index}
    assert (frame["uar low"] < frame["uar"]).all()
    assert (frame["uar"] <= frame["uar high"]).all()
    assert frame["uar"].is_monotonic_decreasing
    assert "labels" in result._repr_html_()


def spans(found, place=""):
    """Yield what is called an interval, and where it is."""
    if isinstance(found, dict):
        for name, one in found.items():
            yield from spans(one, f"{place}/{name}")
    elif isinstance(found, list) and "interval" in place:
        yield place, *found
    elif isinstance(found, list):
        for at, one in enumerate(found):
            yield from spans(one, f"{place}/{at}")


def test_every_interval_is_narrower_at_a_lower_level():
    table, proba = corpus(18, 2)
    dev = dict(zip(("dev_truth", "dev"), corpus(18, 2, "d"), strict=True))
    narrow, wide = (
        list(spans(compare(proba, table, Task.from_labels(LABELS), n_resamples=50, level=level,
                           **dev).data))
        for level in (0.5, 0.95)
    )  # fmt: skip
    assert len(wide) > 100
    for (where, low, high), (_, least, most) in zip(narrow, wide, strict=True):
        if "macro_interval" not in where:  # none of three languages
            assert high - low < most - least, where
