"""What notebooks show of affekt's objects, escaped; frames; slices of a manifest."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pytest
from affekt.cache import Cache, Manifest
from affekt.classify import Predictions, Task, compare, splits

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
