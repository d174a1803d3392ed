"""A real browser, for the tests of pages; they are skipped where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
DRIVER = shutil.which("chromedriver") or ""
needs_browser = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="no Chromium with its chromedriver on this machine"
)


@contextmanager
def chromium(profile: Path, *words: str) -> Iterator[Any]:
    """Start Chromium without a window, with further arguments; yield its driver."""
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for word in (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *("--disable-dev-shm-usage", f"--user-data-dir={profile}", *words),
    ):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


class BrowserPage:
    """The page that a browser shows."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def wait(self, done: Callable[[], bool]) -> None:
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, 60, 0.05).until(lambda _: done(), "waited in vain")

    def console(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser")]
