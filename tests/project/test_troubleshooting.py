"""Every message that the troubleshooting page quotes is one that the code can print."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"\*\*`([^`\n]+)`\*\*", PAGE)
VALUE = "\0"  # stands for what is filled in


def template(node: ast.AST) -> str:
    """Return a string of the code, with `VALUE` where something is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(template(part) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return template(node.left) + template(node.right)
    return VALUE


def templates() -> Iterator[str]:
    for package in ("cache", "extract", "classify"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp):
                    yield template(node)


@cache
def texts_of_the_code() -> str:
    return "\n\n".join({text for text in templates() if " " in text or text.isupper()})


def found(message: str, texts: str | None = None) -> bool:
    """Whether a message, with ``...`` for what is filled in, is a string of the code."""
    fragments = [part.strip() for part in message.split("...") if part.strip()]
    pattern = r"[^\n]*\0[^\n]*".join(map(re.escape, fragments))
    return bool(fragments) and re.search(pattern, texts or texts_of_the_code()) is not None


@pytest.mark.parametrize("message", QUOTED)
def test_a_quoted_message_exists(message):
    assert found(message)


def test_a_message_that_is_gone_is_found_out():
    assert len(QUOTED) > 25
    assert template(ast.parse("f'a {x} b' ' c'").body[0].value) == "a \0 b c"
    assert found("a ... c", "a \0 b c")
    assert not found("a ... b", "a b")
    assert not found("is a folder, expected a tabel (...)")
