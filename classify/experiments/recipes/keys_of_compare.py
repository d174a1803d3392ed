"""The key `compare` of a recipe: options of the comparison."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...data.located_yaml import Located
from ...evaluation.compare_options import MOST_DRAWS


def compare_options(at: Located) -> dict[str, Any]:
    """Read the recipe's `compare`: options of the comparison.

    Returns
    -------
    options
        `calibrate`, `calibrate_fused`, `crossed`, `subsets`, `all_pairs`, `by`, `n_resamples`,
        `level`, `learning_curve`, `audit_audio`.
    """
    return at.read("compare", OPTIONS)


def _columns(item: Located, name: str) -> list[str]:
    return [one.text(name) for one in item.many()]


def _curve(item: Located, name: str) -> bool | str:
    return item.flag(name) if isinstance(item.value, bool) else item.text(name)


def _draws(item: Located, name: str) -> int:
    draws = item.number(name, whole=True, least=100)
    if draws > MOST_DRAWS:
        item.fail(f"{name} is {draws}; expected at most {MOST_DRAWS}")
    return draws


def _level(item: Located, name: str) -> float:
    level = item.number(name, least=0.5)
    if level >= 1:
        item.fail(f"level is {level}; expected a share from 0.5 to below 1")
    return level


def transfer_options(at: Located) -> dict[str, str]:
    """Read the recipe's `transfer`: a column, or ``{by: COLUMN, member: NAME}``."""
    if isinstance(at.value, str):
        return {"by": at.text("transfer")}
    found = at.read("transfer", {"by": Located.text, "member": Located.text}, " of transfer")
    if "by" not in found:
        at.fail("transfer has no 'by'; expected a column, as transfer: {by: language}")
    return found


OPTIONS: dict[str, Callable[[Located, str], Any]] = {
    "calibrate": Located.text,
    "calibrate_fused": Located.text,
    "crossed": Located.text,
    "subsets": Located.flag,
    "all_pairs": Located.flag,
    "by": _columns,
    "n_resamples": _draws,
    "level": _level,
    "learning_curve": _curve,
    "audit_audio": Located.flag,
}
