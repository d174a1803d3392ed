"""What notebooks show of affekt's objects, escaped; frames; slices of a manifest."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pytest
from affekt.cache import Cache, InputError, Manifest
from affekt.classify import LogisticHead, Model, Predictions, Task, compare, splits
from affekt.classify.evaluation.comparison import Comparison

from tests.support.cache_toy import fill, make_clips, make_spec

HOSTILE = "<img src=x onerror=alert(1)> \"&'"


class Tags(HTMLParser):
    """The tags of a page, each opened and closed in order, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open, self.seen, self.text = [], set(), ""
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        assert not attrs
        self.seen.add(tag)
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def html_of(thing: object) -> Tags:
    found = Tags(thing._repr_html_())  # type: ignore[attr-defined]
    allowed = {"div", "strong", "br", "table", "thead", "tbody", "tr", "th", "td", "em"}
    assert found.seen <= allowed
    return found


@pytest.fixture(scope="module")
def clips() -> Manifest:
    rows = [
        {"id": f"c{i}", "text": HOSTILE, "label": (HOSTILE, "b")[i % 2], "speaker": f"s{i // 4}",
         "take": str(i)}
        for i in range(48)
    ]  # fmt: skip
    return Manifest.from_rows(rows, source=HOSTILE)


def predictions(clips: Manifest, seed: int) -> Predictions:
    share = np.random.default_rng(seed).uniform(size=len(clips))
    return Predictions(clips.ids, ["b", HOSTILE], np.stack([share, 1 - share], axis=1))


def test_everything_is_shown_and_escaped(clips, tmp_path):
    cache = Cache(tmp_path / "<b>.cache")
    fill(cache.create(make_spec()), make_clips(3))
    [split] = splits(clips, scheme="speaker", test_size=0.3)
    task = Task.from_labels([HOSTILE, "b"])
    test = split.test
    compared = compare(
        {"one": predictions(test, 0), "<i>two": predictions(test, 1)}, test, task, n_resamples=100
    )
    assert "48 clips" in html_of(clips).text
    assert "38 more" in html_of(clips).text
    assert HOSTILE in html_of(clips).text
    assert "toy" in html_of(cache).text
    assert "train" in html_of(split).text
    assert HOSTILE in html_of(task).text
    assert HOSTILE in html_of(predictions(clips, 0)).text
    assert "<i>two" in html_of(compared).text
    frame = compared.to_frame()
    assert set(frame["system"]) == {"one", "<i>two", "mean", "max"} & set(frame["system"])
    row = frame[frame["system"] == "one"].iloc[0]
    assert row["uar"] == compared.data["systems"]["one"]["test"]["uar"]["value"]
    assert list(frame["uar"]) == sorted(frame["uar"], reverse=True)
    last = frame["system"].iloc[-1]  # chosen on dev, it comes first
    assert Comparison({**compared.data, "chosen": last}).to_frame()["system"][0] == last
    assert Comparison.from_frame(frame).data == compared.data
    assert Comparison.from_frame(frame[frame["uar"] > 0]).json() == compared.json()
    with pytest.raises(InputError, match=r"comparison\.json"):
        Comparison.from_frame(frame.__class__(frame.to_dict()))


def test_a_model_is_shown_before_and_after_training(tmp_path):
    clips = Manifest.from_rows(
        [
            {"id": clip.id, "text": clip.text, "label": "ab"[i % 2], "speaker": f"<b>{i % 4}"}
            for i, clip in enumerate(make_clips(16))
        ]
    )
    space = Cache(tmp_path / "my.cache").create(make_spec())
    fill(space, clips)
    model = Model(LogisticHead(C=0.5), Task.from_labels(["a", "b"]), space.features(layers=-1))
    assert repr(model) == "<Model of LogisticHead on toy-mean for labels, not trained>"
    assert "C=0.5" in html_of(model).text
    model.fit(clips)
    assert repr(model).endswith("trained>")
    shown = html_of(model).text
    assert "train164" in shown.replace("clips", "").replace("speakers", "")[-20:]


@pytest.mark.parametrize("hard", [False, True])
def test_a_frame_of_predictions_reads_back(clips, hard):
    found = predictions(clips, 0)
    if hard:
        found = Predictions.one_hot(clips.ids, found.labels, found.label)
    again = Predictions.from_frame(found.to_frame())
    assert again == found
    assert (
        Predictions.from_frame(found.to_frame(), labels=found.labels[::-1]).labels
        == (found.labels[::-1])
    )
    labels_alone = Predictions.from_frame(found.to_frame()[["id", "label"]])
    assert labels_alone.hard
    assert labels_alone.label == found.label


def test_a_frame_is_read_as_its_file(tmp_path):
    pandas = pytest.importorskip("pandas")
    rounded = pandas.DataFrame({"id": ["a", "b"], "x": [0.47, 1], "y": [0.44, 0], "z": [0.08, 0]})
    without = pandas.DataFrame({"id": ["a", "b"], "label": ["x", None]})  # no prediction
    for frame in (rounded, without):
        frame.to_csv(tmp_path / "pred.csv", index=False)
        assert Predictions.from_frame(frame) == Predictions.read(tmp_path / "pred.csv")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.drop(columns="id"), r"rename_axis\('id'\)\.reset_index\(\)"),
        (lambda f: f.assign(id=range(len(f))), "dtype"),
        (lambda f: f.assign(b="x"), "expected numbers"),
        (lambda f: f.assign(b=2.0), "not summing to 1"),
        (lambda f: f.assign(b=float("nan")), "not finite"),
        (lambda f: f.assign(label=f["label"].to_numpy()[::-1]), "largest probability"),
        (lambda f: f[["id"]], "only a column id"),
    ],
)
def test_a_wrong_frame_of_predictions_is_refused(clips, change, said):
    with pytest.raises(InputError, match=said):
        Predictions.from_frame(change(predictions(clips, 0).to_frame()))


def test_a_frame_of_a_manifest_reads_back(clips):
    frame = clips.to_frame()
    assert list(frame.columns) == list(clips.columns)
    assert Manifest.from_frame(frame).hash == clips.hash
    timed = Manifest.from_rows([{"id": "a", "path": "a.wav", "start": 1, "end": 2}, {"id": "b"}])
    again = Manifest.from_frame(timed.to_frame())
    assert again.hash == timed.hash


def test_slices_of_a_manifest(clips):
    assert clips[:3].ids == ["c0", "c1", "c2"]
    assert clips[::-12].ids == ["c47", "c35", "c23", "c11"]
    assert len(clips[100:]) == 0
    assert clips[5:6].line(0) == clips.line(5)
    assert list(clips["take"][:2]) == ["0", "1"]
    assert clips[clips["take"] == "1"].ids == clips.where(take="1").ids != []
    assert clips[np.arange(48) == 0].ids == ["c0"]
    with pytest.raises(InputError, match="a mask of 2 for 48 clips"):
        clips[[True, False]]
