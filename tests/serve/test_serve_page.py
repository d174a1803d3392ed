"""The page in a real browser: a file chosen, a file dropped, a recording, and a clean console."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.browser import BrowserPage, chromium, needs_browser
from tests.support.services import wav

pytestmark = needs_browser
DROP = """
const bytes = Uint8Array.from(atob(arguments[0]), (c) => c.charCodeAt(0));
const data = new DataTransfer();
data.items.add(new File([bytes], "dropped.wav", { type: "audio/wav" }));
const event = new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
document.getElementById("drop").dispatchEvent(event);
"""


class Page(BrowserPage):
    """What a person does with the page."""

    def __getitem__(self, name: str) -> Any:
        return self.driver.find_element("id", name)

    def predict(self) -> str:
        """Press the button; return label and score."""
        self.wait(self["predict"].is_enabled)
        self["predict"].click()
        self.wait(lambda: self["status"].text.startswith("Answered"))
        return self.driver.find_element("class name", "verdict").text


@pytest.fixture(scope="module")
def driver(tmp_path_factory) -> Iterator[Any]:
    os.environ.setdefault("NO_PROXY", "127.0.0.1,localhost")
    media = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
    with chromium(tmp_path_factory.mktemp("chromium"), *media, "--window-size=1200,900") as driver:
        yield driver


@pytest.fixture
def page(driver, service) -> Page:
    driver.get(service.url)
    page = Page(driver)
    page.wait(lambda: page["system"].text == "mean")
    return page


def shown(answer: list[dict[str, Any]]) -> str:
    """Return how the page shows the first row."""
    return f"{answer[0]['label']} {100 * answer[0]['score']:.1f} %"


def test_a_chosen_file_and_a_text(page, service, recordings):
    file = recordings / "3.wav"
    page["file"].send_keys(str(file))
    page.wait(lambda: page["clip-length"].text == "0:00.5")
    assert page["status"].text == "Still needed: a text"
    assert not page["predict"].is_enabled()
    page["text"].send_keys("what a wonderful day")
    verdict = page.predict()
    sent = {"audio": ("3.wav", file.read_bytes())}
    answer = service.client.post("/predict", files=sent, data={"text": "what a wonderful day"})
    assert verdict == shown(answer.json())
    assert [one.text for one in page.driver.find_elements("css selector", ".member h4")] == [
        "speech-lr\naudio",
        "text-lr\ntext",
    ]
    assert page.console() == []


def test_a_dropped_recording_becomes_a_timeline(page, service):
    long = wav(20)
    page.driver.execute_script(DROP, base64.b64encode(long).decode())
    page.wait(lambda: page["clip-length"].text == "0:20.0")
    assert page["timeline"].is_selected()
    page["text"].send_keys("monday")
    verdict = page.predict()
    sent = {"audio": ("dropped.wav", long)}
    answer = service.client.post(
        "/predict?window=4&hop=2", files=sent, data={"text": "monday"}
    ).json()
    assert verdict == shown(answer)
    assert page["answer-of"].text == "Window 1 of 9, 0:00.0 – 0:04.0"
    page["chart"].send_keys("\ue014")  # the right arrow
    assert page["answer-of"].text == "Window 2 of 9, 0:02.0 – 0:06.0"
    assert page.driver.find_element("class name", "verdict").text == shown(answer[1:])
    assert page.console() == []


def test_a_recording_from_the_microphone(page):
    """Chromium's false microphone beeps."""
    page["record"].click()
    page.wait(lambda: page["status"].text.startswith("Recording 0:01"))
    page["record"].click()
    page.wait(lambda: page["clip-name"].text == "recording.wav" and page["clip-length"].text != "")
    page["text"].send_keys("beep")
    assert page.predict()
    assert page.console() == []


def test_a_refusal_takes_the_earlier_answer_away(page, recordings, tmp_path):
    page["text"].send_keys("monday")
    page["file"].send_keys(str(recordings / "3.wav"))
    page.predict()
    assert page["answer"].is_displayed()
    (tmp_path / "bad.wav").write_bytes(b"dear diary")
    page["file"].send_keys(str(tmp_path / "bad.wav"))
    page.wait(lambda: page["clip-name"].text == "bad.wav")
    assert "stale" in page["answer"].get_attribute("class")
    page["predict"].click()
    page.wait(lambda: page["status"].text.startswith("not_audio"))
    assert not page["answer"].is_displayed()
    [told] = page.console()  # the browser's own word for every refusal
    assert "422" in told


def test_a_narrow_screen_and_the_api_page(page, service):
    page.driver.set_window_size(390, 800)
    page.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True},
    )
    try:
        width = "return document.documentElement.scrollWidth"
        assert page.driver.execute_script(width) <= 390
        page.driver.get(f"{service.url}/docs")
        page.wait(lambda: len(page.driver.find_elements("class name", "verb")) == 3)
        assert page.driver.execute_script(width) <= 390
        assert page.console() == []
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
