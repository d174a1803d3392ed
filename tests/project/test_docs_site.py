"""The documentation site: built strictly, whole without network, and every link leads somewhere."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
LOADED = {"script": "src", "img": "src", "source": "src", "iframe": "src", "link": "href"}


class _Page(HTMLParser):
    """Where a page's links lead, its anchors, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[tuple[str, bool]] = []  # the link, and whether it stands in the text
        self.loaded: list[str] = []
        self._articles = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self._articles += tag == "article"
        if place := found.get("id"):
            self.anchors.add(place)
        if tag == "a" and (link := found.get("href")):
            own = "headerlink" in (found.get("class") or "")
            self.links.append((link, self._articles > 0 and not own))
        loads = tag != "link" or found.get("rel") in ("stylesheet", "icon", "preload")
        if loads and (link := found.get(LOADED.get(tag, ""))):
            self.loaded.append(link)

    def handle_endtag(self, tag: str) -> None:
        self._articles -= tag == "article"


def read_pages(site: Path) -> dict[Path, _Page]:
    return {path: _Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}


def broken(pages: dict[Path, _Page], site: Path) -> list[str]:
    """Links and loaded files that lead nowhere."""
    wrong = []
    for path, page in pages.items():
        if path.name == "404.html":  # its links start at the site's address
            continue
        for link in {link for link, _ in page.links} | set(page.loaded):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            anchor = unquote(parts.fragment)
            if not target.is_relative_to(site) or not target.is_file():
                wrong.append(f"{path.relative_to(site)}: {link}")
            elif anchor and target in pages and anchor not in {*pages[target].anchors, "__skip"}:
                wrong.append(f"{path.relative_to(site)}: {link} (no such anchor)")
    return sorted(wrong)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    pytest.importorskip("mkdocs", reason="needs the extra dev")
    folder = tmp_path_factory.mktemp("site").resolve()
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, _Page]:
    return read_pages(site)


def test_every_link_and_anchor_leads_somewhere(pages, site):
    assert sum(len(page.links) for page in pages.values()) > 1_000
    assert not broken(pages, site)


def test_broken_links_are_found(tmp_path):
    (tmp_path / "a.html").write_text(
        '<article><h1 id="x"></h1><a href="b.html#y">.</a><a href="#x">.</a><a href="c.html">.</a>'
        '<a href="https://example.org/no">.</a><img src="no.svg"></article>'
    )
    (tmp_path / "b.html").write_text("<p id='z'></p>")
    found = broken(read_pages(tmp_path), tmp_path)
    assert found == ["a.html: b.html#y (no such anchor)", "a.html: c.html", "a.html: no.svg"]


def test_every_page_is_linked_from_the_text_of_another(pages, site):
    links = defaultdict(set)
    for path, page in pages.items():
        for link, in_text in page.links:
            if in_text and not urlsplit(link).netloc and (target := urlsplit(link).path):
                links[(path.parent / unquote(target)).resolve()].add(path)
    alone = [
        str(path.relative_to(site))
        for path in pages
        if path.name not in ("404.html", "index.html") and not links[path] - {path}
    ]
    assert not alone


def test_nothing_is_loaded_from_elsewhere(pages):
    assert not {link for page in pages.values() for link in page.loaded if urlsplit(link).netloc}


def test_every_page_of_the_folder_is_in_the_site(site):
    made = {path.relative_to(site).with_suffix("") for path in site.rglob("*.html")}
    assert {path.relative_to(DOCS).with_suffix("") for path in DOCS.rglob("*.md")} <= made


@pytest.mark.parametrize("package", ["cache", "extract", "classify"])
def test_every_public_name_is_in_the_reference(package, pages, site):
    text = (DOCS / f"reference/api-{package}.md").read_text(encoding="utf-8")
    found = re.findall(rf"^::: affekt\.{package}\.(\w+)$", text, re.MULTILINE)
    names = importlib.import_module(f"affekt.{package}").__all__
    assert found == names
    anchors = pages[site / f"reference/api-{package}.html"].anchors
    assert {f"affekt.{package}.{name}" for name in names} <= anchors


def test_every_command_is_in_the_reference(site):
    from affekt.classify.cli import COMMANDS

    text = (site / "reference/commands.html").read_text(encoding="utf-8")
    assert all(f"<code>affekt {name}</code>" in text for name in COMMANDS)
    assert "affekt cache verify" in text
    assert text.count("Usage: ") >= len(COMMANDS) + 8


def keys_of(heading: str) -> set[str]:
    """Keys in the tables of one section of the page about recipe keys."""
    text = (DOCS / "reference/recipe-keys.md").read_text(encoding="utf-8")
    section = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {key for cell in cells for key in re.findall(r"`(\w+)`", cell)}


def test_the_page_about_recipe_keys_has_those_of_the_code():
    from affekt.classify.data import task_file
    from affekt.classify.experiments.recipes import keys_of_compare, keys_of_split, recipe

    assert keys_of("The recipe") == set(recipe._TOP)
    assert keys_of("An encoder") == set(recipe._ENCODER)
    assert keys_of("A member") == set(recipe._MEMBER)
    assert keys_of("`split`") == set(keys_of_split._SPLIT)
    assert keys_of("`compare`") == set(keys_of_compare.OPTIONS)
    assert keys_of("A task file") == set(task_file.KEYS)


def test_links_of_files_outside_the_site():
    """README and CONTRIBUTING link into docs/ as a repository shows it."""
    for name in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        links = re.findall(r"\]\(([^)#\s]+)", text) + re.findall(r'(?:src|href)="([^"#]+)', text)
        assert links or name != "README.md"
        for link in links:
            assert urlsplit(link).scheme or (ROOT / link).exists(), f"{name}: {link}"


def test_pages_that_messages_name_are_there():
    """An error that names docs/PAGE.md names one that exists."""
    found = set()
    for package in ("affekt", "cache", "extract", "classify"):
        for path in (ROOT / package).rglob("*.py"):
            found |= set(re.findall(r"docs/[\w/-]+\.md", path.read_text(encoding="utf-8")))
    assert found
    assert not [name for name in found if not (ROOT / name).is_file()]
