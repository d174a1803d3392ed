"""What raw labels mean: the shipped vocabulary, corpus codes and the content of a task file."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from ...cache.errors import InputError, counted, listed, nearest

if TYPE_CHECKING:
    from ...cache.manifest import Manifest

Spellings = Callable[[object], list[str]]  # a raw label and its synonyms


class Resolved(NamedTuple):
    """The parts of a task after every synonym was written out."""

    labels: tuple[str, ...]
    map: dict[str, str | None]
    corpora: dict[str, dict[str, str | None]]
    values: dict[str, float]
    ignore_case: bool
    version: int


@cache
def shipped() -> dict[str, Any]:
    """Return the content of `tasks.yaml`."""
    return yaml.safe_load(Path(__file__).with_name("tasks.yaml").read_text(encoding="utf-8"))


def resolve(spec: Mapping[str, Any], source: str = "tasks.yaml") -> Resolved:
    """Resolve synonyms and corpus codes, so that one look-up decides.

    Parameters
    ----------
    spec
        Content of a task file: `labels` and what goes with it.
    source
        The file, for messages.
    """
    book, fold = shipped(), bool(spec.get("ignore_case", False))
    vocabulary, synonyms = spec.get("vocabulary") or [], spec.get("synonyms") or {}
    words: dict[str, list[str]] = {}
    for part in (*(book[name] for name in vocabulary), synonyms):
        for word, others in part.items():
            words.setdefault(_text(word), []).extend(others)

    def spellings(raw: object) -> list[str]:
        found = [_text(raw), *map(_text, words.get(_text(raw), []))]
        return [any_case(word) for word in found] if fold else found

    labels = spec["labels"]
    table = labels if isinstance(labels, Mapping) else {label: [] for label in labels}
    names = tuple(_text(label) for label in table)
    mapping = _mapping(table, spec.get("leave_out") or [], spellings, source)
    _check_synonyms(synonyms, mapping, spellings, source)
    corpora: dict[str, dict[str, str | None]] = {}
    if "emotions" in vocabulary:
        for corpus, codes in book["codes"].items():
            corpora[corpus] = {
                (any_case(code) if fold else code): mapping[word]
                for code, word in codes.items()
                if word in mapping
            }
    for corpus, own in (spec.get("corpora") or {}).items():
        for raw, label in own.items():
            if label is not None and _text(label) not in names:
                raise InputError(
                    f"{source}: {corpus} maps {raw!r} to {label!r}; expected one of "
                    f"{', '.join(names)}, or null for left out.{nearest(_text(label), names)}"
                )
            target = corpora.setdefault(_text(corpus).casefold(), {})
            target |= dict.fromkeys(spellings(raw), None if label is None else _text(label))
    values = {_text(label): float(value) for label, value in (spec.get("values") or {}).items()}
    if values and set(values) != set(names):
        raise InputError(f"{source}: `values` names {sorted(values)}; expected {sorted(names)}")
    version = int(spec.get("version", book["version"] if vocabulary else 1))
    return Resolved(names, mapping, corpora, values, fold, version)


def _mapping(
    table: Mapping[str, Any], left_out: Iterable[object], spellings: Spellings, source: str
) -> dict[str, str | None]:
    """Return the label of each raw label, None for those that are left out."""
    mapping: dict[str, str | None] = {}
    pairs = [(raw, _text(label)) for label, raws in table.items() for raw in [label, *(raws or [])]]
    for raw, label in [*pairs, *((raw, None) for raw in left_out)]:
        for word in spellings(raw):
            if mapping.setdefault(word, label) != label:
                raise InputError(
                    f"{source}: {word!r} stands for both {mapping[word] or 'leave_out'!r} "
                    f"and {label or 'leave_out'!r}; expected one"
                )
    return mapping


def _check_synonyms(
    synonyms: Mapping[str, Any], mapping: Mapping[str, Any], spellings: Spellings, source: str
) -> None:
    """Refuse synonyms of a word that is not mapped to a label."""
    for word, others in synonyms.items():
        if spellings(word)[0] not in mapping:
            known = [other for other in others if spellings(other)[0] in mapping]
            first = "; the word that the task knows comes first"
            hint = f"{first}: {{{known[0]}: [{_text(word)}]}}" if known else ""
            raise InputError(
                f"{source}: synonyms of {_text(word)!r}, which is not mapped to a label"
                f"{hint}.{nearest(_text(word), mapping)}"
            )


def _text(word: object) -> str:
    return unicodedata.normalize("NFC", str(word))


def any_case(raw: str) -> str:
    """Return a label without case and surrounding space, for comparison.

    Examples
    --------
    >>> any_case(" Joy ")
    'joy'
    """
    return _text(raw).strip().casefold()


def unknown_labels(
    task: str,
    labels: Sequence[str],
    known: Mapping[str, str | None],
    unknown: Mapping[str, list[int]],
    clips: Manifest,
) -> str:
    """Return the message for raw labels that a task does not have: raw label to its rows."""
    parts = []
    for raw, rows in list(unknown.items())[:10]:
        name = repr(raw) if raw else "blank"
        plural = "row" if len(rows) == 1 else "rows"
        hint = nearest(any_case(raw), sorted(known)) if raw else ""
        parts.append(f"  {name} ({len(rows)} {plural}, first in {clips.spot(rows[0])}).{hint}")
    more = f"\n  and {len(unknown) - 10} more" if len(unknown) > 10 else ""
    noun = "a label" if len(unknown) == 1 else f"{len(unknown)} labels"
    folded: dict[str, set[str | None]] = {}
    for raw, label in known.items():
        folded.setdefault(any_case(raw), set()).add(label)
    ships = task in shipped()["tasks"]
    if all(len(folded.get(any_case(raw), ())) == 1 for raw in unknown):
        advice = (
            f"In lower case it knows {'it' if len(unknown) == 1 else 'them all'}: "
            + (
                f"write a file any-case.yaml with the two lines\n  extends: {task}\n"
                "  ignore_case: true\nand name it as the task in place of "
                if ships
                else "add the line\n  ignore_case: true\nto the file of the task "
            )
            + f"{task}, or write the labels in lower case."
        )
    else:
        own = f"a task file (extends: {task}, with " if ships else "the file of the task ("
        advice = f"Correct the manifest, or map them in {own}synonyms, leave_out or ignore_case)."
    if "" in unknown:
        advice += (
            " To leave out blank ones, set unlabelled: drop in a recipe, or give --unlabelled "
            "drop to train or probe; in Python task.select(clips, blank='drop')[0]."
        )
    return (
        f"{clips.source}: the task {task!r} does not know {noun}:\n"
        + "\n".join(parts)
        + more
        + f"\nExpected labels of {', '.join(labels)}. {advice}"
    )


def whole(raw: str) -> str:
    """Return ``-1`` for ``-1.0``, and anything else as it is."""
    number, _, zeros = raw.partition(".")
    return number if zeros and not zeros.strip("0") and number.lstrip("+-").isdecimal() else raw


def check_signs(
    labels: Mapping[str, str | None],
    corpus: Callable[[str], Mapping[str, str | None]],
    pairs: Iterable[tuple[str, str]],
    source: str,
) -> None:
    """Ask where 0 may be negative (of 0 and 1) or neutral (of -1, 0 and 1).

    Parameters
    ----------
    labels, corpus
        Raw label to task label, and the same of the corpus with a name.
    pairs
        Raw labels, each with the name of its corpus.
    source
        The manifest, for messages.
    """
    if not {"-1", "0"} <= labels.keys():
        return
    raws: dict[str, set[str]] = {}
    for raw, dataset in pairs:
        raws.setdefault(dataset, set()).add(raw if raw in corpus(dataset) else whole(raw))
    for dataset, found in raws.items():
        if "0" in found and "-1" not in found and "0" not in corpus(dataset):
            of = f" of {dataset}" if dataset else ""
            low, middle, high = (labels.get(raw) for raw in ("-1", "0", "1"))
            raise InputError(
                f"{source}: the labels{of} hold 0 and no -1: is 0 {middle}, or is it"
                f" {low}, as of 0 and 1? Say so in a task file, such as"
                f' labels: {{{low}: ["0"], {high}: ["1"]}}, or write the words into the table'
            )


def left_out_note(left_out: Mapping[str, int]) -> list[str]:
    """Return a line on the clips that a task leaves out, by raw label; none if there are none.

    Examples
    --------
    >>> left_out_note({"": 2, "surprise": 4}), left_out_note({})
    (['6 clips are left out by the task: (blank) 2, surprise 4'], [])
    """
    names = [f"{label or '(blank)'} {count}" for label, count in left_out.items()]
    many = sum(left_out.values())
    verb = "is" if many == 1 else "are"
    return [f"{counted(many, 'clip')} {verb} left out by the task: {listed(names)}"] if many else []
