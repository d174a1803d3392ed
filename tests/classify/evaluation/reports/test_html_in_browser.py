"""`report.html` in a real browser: sizes, colours, keyboard, the browser of clips, axe."""

from __future__ import annotations

import json
import wave
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from affekt.classify.evaluation.comparison import Comparison
from affekt.classify.evaluation.reports.html.clip_rows import clip_rows
from affekt.classify.evaluation.reports.html.marks import drawn
from affekt.classify.evaluation.reports.pictures.kinds import Cell, Matrix

from tests.support.browser import BrowserPage, chromium, needs_browser

from .hard_pages import SCRIPT, hard, large, many, rated
from .test_golden import read

pytestmark = needs_browser
OPEN = "document.querySelectorAll('details').forEach((one) => { one.open = true; })"
WIDTHS = (390, 820, 1440)


class Page(BrowserPage):
    """What a reader does with a page."""

    def open(self, path: Path, width: int = 820, scheme: str = "light") -> None:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        wanted = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wanted})
        self.driver.get("about:blank")
        self.driver.get(path.as_uri())

    def run(self, script: str, *given: Any) -> Any:
        return self.driver.execute_script(script, *given)

    def find(self, selector: str) -> list[Any]:
        return self.driver.find_elements("css selector", selector)

    @property
    def status(self) -> str:
        return self.run("return document.getElementById('clips-status').textContent")


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Iterator[Page]:
    profile = tmp_path_factory.mktemp("chromium")
    with chromium(profile, "--autoplay-policy=no-user-gesture-required") as driver:
        yield Page(driver)


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    with wave.open(str(folder / "a b.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(32_000))
    golden = folder / "golden.html"
    whole = Comparison(read("split")).html()
    golden.write_text(whole, "utf-8")
    shades = [[Cell(f"{one}", one / 10, f"{one} %") for one in range(11)]] * 11
    shaded = drawn(Matrix("shades", "true", "said", [f"l{n}" for n in range(11)], shades))
    (folder / "shaded.html").write_text(whole.replace("</main>", f"{shaded}</main>"), "utf-8")
    hard(path=str(folder / "a b.wav")).write(folder / "hostile")
    large().write(folder / "large")
    rated().write(folder / "rated")
    return {
        "golden": golden,
        "shaded": folder / "shaded.html",
        "hostile": folder / "hostile" / "report.html",
        "large": folder / "large" / "report.html",
        "rated": folder / "rated" / "report.html",
    }


@pytest.mark.parametrize("name", ["golden", "hostile", "large", "rated"])
def test_at_every_width_in_both_schemes(page, pages, name):
    for width, scheme in zip(WIDTHS, ("light", "dark", "light"), strict=True):
        page.open(pages[name], width, scheme)
        for act in ("", OPEN):
            page.run(act)
            sizes = page.run(
                "const e = document.documentElement; return [e.scrollWidth, innerWidth]"
            )
            assert sizes[0] <= sizes[1], (width, scheme, act)
    assert page.console() == []
    assert pages[name].stat().st_size < 2_000_000


@pytest.mark.skipif(find_spec("axe_core_python") is None, reason="axe-core is not installed")
@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [
        *(("golden", 1440, "dark"), ("golden", 390, "light"), ("hostile", 820, "light")),
        *(("rated", 1440, "light"), ("rated", 390, "dark")),
        *(("shaded", 1440, "light"), ("shaded", 820, "dark")),
    ],
)
def test_accessible(page, pages, name, width, scheme):
    import axe_core_python

    source = Path(axe_core_python.__file__).with_name("axe.min.js").read_text("utf-8")
    page.open(pages[name], width, scheme)
    page.run(OPEN)
    page.driver.execute_script(source)
    found = page.driver.execute_async_script(
        "const done = arguments[0]; axe.run().then((found) => done(found.violations.map("
        "(one) => [one.id, one.nodes.slice(0, 3).map((node) => node.html)])))"
    )
    assert found == []


def test_tables_sort(page, pages):
    page.open(pages["golden"])
    leaderboard = page.find("table.dots")[0]
    heads = leaderboard.find_elements("css selector", "thead th")
    assert [head.find_elements("css selector", "button") != [] for head in heads[:3]] == [
        *(True, False, True),
    ]
    column = "return [...arguments[0].tBodies[0].rows].map((row) => row.cells[2].textContent)"
    for order in ("descending", "ascending"):
        heads[2].find_element("css selector", "button").click()
        assert heads[2].get_attribute("aria-sort") == order
        values = [float(text.split()[0]) for text in page.run(column, leaderboard)]
        assert values == sorted(values, reverse=order == "descending")


def test_folds_open_by_keyboard(page, pages):
    from selenium.webdriver.common.keys import Keys

    page.open(pages["golden"])
    fold = page.find("main > details")[1]
    assert fold.get_attribute("open") is None
    fold.find_element("css selector", "summary").send_keys(Keys.ENTER)
    page.wait(lambda: fold.get_attribute("open") is not None)
    assert fold.find_element("css selector", "table").is_displayed()


def test_names_stay_text_and_clips_can_be_filtered(page, pages):
    from selenium.webdriver.support.ui import Select

    page.open(pages["hostile"])
    assert SCRIPT in page.run("return document.body.textContent")
    page.run("document.getElementById('clips').open = true")
    page.wait(lambda: page.find(".clips > li") != [])
    assert page.find("main img") == []
    assert SCRIPT in page.find(".clips .id")[0].text
    rows = json.loads((pages["hostile"].parent / "clips.json").read_text("utf-8"))["rows"]
    assert page.status == f"1 to 20 of {len(rows)} clips"
    Select(page.find("#clips-label")[0]).select_by_index(2)
    chosen = [row for row in rows if row[7] == 1]
    assert page.status.endswith(f"of {len(chosen)} clips")
    Select(page.find("#clips-kind")[0]).select_by_value("wrong")
    wrong = [row for row in chosen if row[8][0][0] != 1]
    assert page.status.endswith(f"of {len(wrong)} clips")
    page.find("#clips-speaker")[0].send_keys("nobody")
    page.wait(lambda: page.status == "No clip fits these filters")
    assert page.console() == []


def test_clips_of_numbers_are_ordered_by_error(page, pages):
    from selenium.webdriver.support.ui import Select

    page.open(pages["rated"])
    page.run("document.getElementById('clips').open = true")
    page.wait(lambda: page.find(".clips > li") != [])
    data = json.loads((pages["rated"].parent / "clips.json").read_text("utf-8"))
    rows = data["rows"]
    assert page.status == "1 to 20 of 45 clips"
    assert page.find(".clips .id")[0].text == rows[0][0]
    Select(page.find("#clips-order")[0]).select_by_value("off-1")  # valence
    errors = {row[0]: abs(row[7][1] - row[8][0][1]) for row in rows if row[7][1] is not None}
    assert page.find(".clips .id")[0].text == max(errors, key=lambda clip: errors[clip])
    page.find("#clips-text")[0].send_keys("clip 7")  # not rated for valence
    page.wait(lambda: page.status == "1 to 1 of 1 clips")
    assert "not rated" in page.find(".clips > li")[0].text
    assert page.find("main img") == []
    assert page.console() == []


def test_a_language_of_a_table_leads_to_its_clips(page, pages):
    page.open(pages["hostile"])
    page.run(OPEN)
    link = next(one for one in page.find("a[data-column=language]") if one.text == "heb")
    page.run("arguments[0].click()", link)
    rows = json.loads((pages["hostile"].parent / "clips.json").read_text("utf-8"))["rows"]
    count = sum(row[5] == "heb" for row in rows)
    assert 0 < count < len(rows)
    assert page.status.endswith(f"of {count} clips")


def test_a_speaker_whose_name_begins_another_leads_to_its_own_clips(page, tmp_path):
    result = rated()  # of speakers s0 to s8
    rows = clip_rows(result.data, result.predictions, result.clips, tmp_path)
    for number, row in enumerate(rows["rows"]):
        row[6] = ("s1", "s10")[number % 2]
    path = tmp_path / "report.html"
    link = '<a href="#clips" data-column="speaker" data-value="{0}">{0}</a>'
    links = "".join(link.format(name) for name in ("s1", "s2"))
    path.write_text(result.html(rows).replace("</main>", f"{links}</main>"), "utf-8")
    page.open(path)
    page.run("document.querySelector('a[data-value=s1]').click()")
    assert page.status == "1 to 20 of 23 clips"
    assert page.find("a[data-value=s2]") == []  # has no clips on this page


def test_a_page_is_printed_light_in_a_dark_room(page, pages):
    page.open(pages["golden"], 820, "dark")
    page.driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]},
    )
    colours = "const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]"
    printed = page.run(colours)
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    page.open(pages["golden"], 820, "light")
    assert printed == page.run(colours)


def test_a_linked_file_plays(page, pages):
    page.open(pages["hostile"])
    page.run("document.getElementById('clips').open = true")
    page.wait(lambda: page.find("audio") != [])
    page.run("document.querySelector('audio').play()")
    page.wait(lambda: page.run("return document.querySelector('audio').currentTime") > 0)
    assert page.console() == []


def test_a_hundred_thousand_clips_a_page_at_a_time(page, tmp_path):
    data, predictions, clips = many()  # 100,000
    rows = clip_rows(data, predictions, clips, tmp_path)
    path = tmp_path / "report.html"
    path.write_text(Comparison(read("split")).html(rows), "utf-8")
    assert path.stat().st_size < 2_000_000
    page.open(path)
    assert page.find(".clips > li") == []  # nothing is drawn before it is asked for
    page.run("document.getElementById('clips').open = true")
    page.wait(lambda: len(page.find(".clips > li")) == 20)
    page.run("document.getElementById('clips-after').click()")
    assert page.status.startswith("21 to 40 of ")
    assert len(page.find(".clips > li")) == 20
    assert "of 100,000 test clips" in page.run("return document.body.textContent")
