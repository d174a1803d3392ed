"""Hostile values, and files with one of them in a random place."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import click
import yaml

NUMBERS = [
    *("-1", "0", "1", "2", "0.5", "-0.0", "1e-320", "1e308", "-1e308", "nan", "inf", "-inf"),
    *("9" * 30, "-" + "9" * 30, "9" * 5000, "2147483648", "0x10", "1_000", "١", "", " 1", "1,5"),
    *("--", "1e400", "2020-13-45", "true", "null", "[]"),
]  # fmt: skip
WORDS = [
    *("", " ", "x", "..", "../x", "/nowhere/x", "clips.csv", "a/b", "a\x00b", "\x1b[31mred\x1b[0m"),
    *("=1+1", "a,b", 'a"b', "a\nb", "a\rb", "id", "label", "nan", "None", "-1", "é", "e\u0301"),
    *("\u202eabc", "\ud800", "x" * 5000, "~", "$HOME", "*", "a=b", "=", "x:y", "con", "%s", "{}"),
    *("<b>", "|", "-", "@file", "all", "0", "1/0", "0/1", "1/1/1", "2/1", "a==b", "a!=", "1..2"),
    *("cuda:99", "foo", "mps", "cpu:x", "float13", "1-", "-1,-1", "0,999", ",", "auto"),
]
VALUES: list[Any] = [
    *(None, True, False, -1, 0, 1, 2, 0.5, -0.0, 1e308, float("nan"), float("inf"), 10**30),
    *(2**31, 2**63, -(2**63), [], {}, [[]], [None], {"": None}, {"x": 1}, [1, "a"], "1", "0.5"),
    *WORDS,
]
COLUMNS = ["start", "end", "split", "id", "path", "text", "label", "speaker", "dataset", "offset"]
COLUMNS += ["duration", "anger", "negative", "filename", "votes", "valence", "language", "x"]
BYTES = [b"", b"\x00", b"\xff", b"\n", b'"', b",", b"{", b"}", b"[" * 3000, b": ", b"- ", b"&a *a"]
BYTES += [b"!!python/object:os.system", b"\xef\xbb\xbf", b"\r", b"9" * 5000, b"2020-13-45", b"NaN"]


def option(rng: random.Random, command: click.Command) -> list[str]:
    """Return one option of a command with a hostile value."""
    options = [one for one in command.params if isinstance(one, click.Option)]
    options = [one for one in options if one.name != "watch"]  # which waits for somebody to save
    if not options:  # every command has one that nobody knows
        return [f"--{rng.choice(['x', 'force', 'cache'])}"]
    one = rng.choice(options)
    name = rng.choice(one.opts)
    if one.is_flag:
        return [name]
    numeric = isinstance(one.type, (click.types.IntParamType, click.types.FloatParamType))
    value = rng.choice(NUMBERS if numeric or rng.random() < 0.3 else WORDS)
    value = value.replace("\x00", "").replace("\ud800", "\udc80")  # the system passes no others
    if isinstance(one.type, click.Choice) and rng.random() < 0.8:
        value = rng.choice([str(choice) for choice in one.type.choices])
    if one.multiple and "=" not in value and rng.random() < 0.6:
        word = rng.choice(["C", "x", "label", "max_epochs", "hidden", "a", "speech", "spectral"])
        value = f"{word}={value}"
    return [name, value]


def damaged(rng: random.Random, path: Path, data: bytes) -> bytes:
    """Return a file's content with one thing wrong."""
    if rng.random() < 0.65:
        try:
            if path.suffix == ".json":
                return _dumped(_changed(rng, json.loads(data)))
            if path.suffix == ".jsonl":
                lines = data.splitlines()
                i = rng.randrange(len(lines))
                lines[i] = _dumped(_changed(rng, json.loads(lines[i])))
                return b"\n".join(lines)
            if path.suffix in (".yaml", ".yml"):
                return _yaml(_changed(rng, yaml.safe_load(data)))
            if path.suffix == ".csv":
                return _table(rng, data)
            if path.suffix == ".safetensors":
                return _safetensors(rng, data)
        except (ValueError, IndexError, RecursionError):
            pass
    return _bytes(rng, data)


def _dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


def _yaml(value: Any) -> bytes:
    if isinstance(value, str):
        value = {"x": value}
    return yaml.safe_dump(value, allow_unicode=True, sort_keys=False).encode(
        "utf-8", "surrogatepass"
    )


def _changed(rng: random.Random, value: Any) -> Any:
    """Return nested data with one node replaced, dropped, renamed, doubled or nested deep."""
    if isinstance(value, (dict, list)) and value and rng.random() < 0.85:
        if isinstance(value, dict):
            key = rng.choice(list(value))
            kind = rng.random()
            if kind < 0.1:
                return {name: one for name, one in value.items() if name != key}
            if kind < 0.2:
                new = rng.choice(WORDS)
                return {(new if name == key else name): one for name, one in value.items()}
            if kind < 0.25:
                return value | {rng.choice(WORDS): rng.choice(VALUES)}
            return value | {key: _changed(rng, value[key])}
        i = rng.randrange(len(value))
        kind = rng.random()
        if kind < 0.1:
            return value[:i] + value[i + 1 :]
        if kind < 0.2:
            return [*value, value[i]]
        return [*value[:i], _changed(rng, value[i]), *value[i + 1 :]]
    if rng.random() < 0.03:
        deep: Any = value
        for _ in range(rng.choice([30, 500])):
            deep = [deep] if rng.random() < 0.5 else {"x": deep}
        return deep
    return rng.choice(VALUES)


def _table(rng: random.Random, data: bytes) -> bytes:
    rows = [line.split(",") for line in data.decode().splitlines()]
    i = rng.choice([0, rng.randrange(len(rows))])
    j = rng.randrange(len(rows[i]))
    kind = rng.random()
    if kind < 0.1:
        del rows[i][j]
    elif kind < 0.15:
        rows.insert(i, rows[rng.randrange(len(rows))])
    elif kind < 0.2:
        del rows[i]
    elif kind < 0.25:
        name = rng.choice(COLUMNS + WORDS)  # an extra column
        rows = [[*row, name if n == 0 else rng.choice(WORDS)] for n, row in enumerate(rows)]
    elif kind < 0.35:
        value = rng.choice(WORDS + NUMBERS)
        rows = [[*row[:j], value, *row[j + 1 :]] for row in rows]
    else:
        value = str(rng.choice(WORDS + NUMBERS))
        quoted = '"' + value.replace('"', '""') + '"'
        rows[i][j] = quoted if rng.random() < 0.5 else value
    return "\n".join(",".join(row) for row in rows).encode("utf-8", "surrogatepass")


def _safetensors(rng: random.Random, data: bytes) -> bytes:
    size = int.from_bytes(data[:8], "little")
    head = _dumped(_changed(rng, json.loads(data[8 : 8 + size])))
    return len(head).to_bytes(8, "little") + head + data[8 + size :]


def _bytes(rng: random.Random, data: bytes) -> bytes:
    i = rng.randrange(len(data) + 1)
    j = min(len(data), i + rng.choice([1, 1, 4, 64, 1024]))
    kind = rng.random()
    if kind < 0.25:
        return data[:i]
    if kind < 0.5:
        return data[:i] + rng.choice(BYTES) + data[i:]
    if kind < 0.7:
        return data[:i] + rng.choice(BYTES) + data[j:]
    if kind < 0.8:
        return data[:i] + data[i:j] * 2 + data[j:]
    return data[:i] + bytes(byte ^ (1 << rng.randrange(8)) for byte in data[i:j]) + data[j:]
