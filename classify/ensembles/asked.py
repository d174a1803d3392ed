"""Ensembles by name: a rule, of all members or of those that the name gives."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ...cache.errors import InputError, expected_one_of
from .fitted_rules import STRATEGIES, strategy
from .fixed_rules import Ensemble

PLUS = " + "  # separates members


@dataclass(frozen=True)
class Asked:
    """An ensemble that was asked for: its name, its rule, and the members that it combines."""

    name: str
    rule: Ensemble
    members: tuple[str, ...]


def named(rule: str, members: Sequence[str]) -> str:
    """Return the name of an ensemble of some members.

    Examples
    --------
    >>> named("mean", ["speech", "text"])
    'mean of speech + text'
    """
    return f"{rule} of {PLUS.join(members)}"


def asked(entries: Sequence[str | Ensemble], members: Collection[str]) -> list[Asked]:
    """Return the ensembles of names such as ``mean`` and ``mean of speech + text``.

    Parameters
    ----------
    entries
        Names, or ensembles of your own, which combine all members.
    members
        Names of all members.

    Raises
    ------
    InputError
        An unknown rule or member, fewer than two members, or an ensemble that appears twice.

    Examples
    --------
    >>> [one.members for one in asked(["mean", "max of a + b"], ["a", "b", "c"])]
    [('a', 'b', 'c'), ('a', 'b')]
    """
    found: dict[tuple[str, tuple[str, ...]], Asked] = {}
    for one in (_asked(entry, members) for entry in entries):
        same = found.setdefault((one.rule.name, one.members), one)
        if same is not one:
            raise InputError(
                f"the ensembles {same.name!r} and {one.name!r} combine the same members; expected "
                "each ensemble once"
            )
    return [*found.values()]


def not_of_numbers(one: Asked, task: str) -> str:
    """Return why an ensemble cannot be of a regression task; blank if it can.

    Examples
    --------
    >>> not_of_numbers(asked(["median"], ["a", "b"])[0], "affect")
    ''
    """
    if one.rule.of_numbers:
        return ""
    able = [name for name, kind in STRATEGIES.items() if kind.of_numbers]
    return (
        f"the ensemble {one.name!r} combines class probabilities, and the task {task!r} is a "
        f"regression task; expected one of {', '.join(able)}"
    )


def _asked(entry: str | Ensemble, members: Collection[str]) -> Asked:
    if isinstance(entry, Ensemble):
        return Asked(entry.name, entry, tuple(sorted(members)))
    if not isinstance(entry, str):
        raise InputError(
            f"an ensemble is {entry!r}; expected a name, such as 'mean' or 'mean of A + B', or an "
            "Ensemble"
        )
    name, of, some = entry.strip().partition(" of ")
    rule = strategy(name := name.strip())
    if not of:
        return Asked(name, rule, tuple(sorted(members)))
    chosen = [one.strip() for one in some.split(PLUS)]
    for one in members:
        if PLUS in one and f"{PLUS}{one}{PLUS}" in f"{PLUS}{some}{PLUS}":
            raise InputError(
                f"{entry!r}: rename the member {one!r}, since {PLUS!r} separates members"
            )
    close = [one.strip() for one in some.split(PLUS.strip())]
    if {*close} <= {*members}:  # a+b; otherwise a name may have a + of its own
        chosen = close
    for one in chosen:
        if one not in members:
            raise InputError(f"{entry!r}: unknown member {one!r}; {expected_one_of(one, members)}")
    if len(set(chosen)) < max(2, len(chosen)):
        raise InputError(f"{entry!r}; expected at least two different members: {name} of A + B")
    return Asked(named(name, chosen), rule, tuple(sorted(chosen)))
