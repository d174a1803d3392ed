"""What a sentence-transformers folder does around its transformer: prompt, pooling, length 1."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....cache.errors import InputError
from ....cache.files.reading import flag, read_json, read_object

#: their words for a pooling, old and new, and ours
_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "last",
    "cls": "cls",
    "mean": "mean",
    "max": "max",
    "lasttoken": "last",
}


@dataclass(frozen=True)
class SentenceSteps:
    """The folder's own steps.

    Attributes
    ----------
    pooling : str
        ``"mean"``, ``"cls"``, ``"max"`` or ``"last"``; the folder's own word where affekt has no
        such pooling.
    prompt : str
        Put before every text by default; blank if there is none.
    prompts : tuple of str
        Names of prompts that are added on request only.
    normalised : bool
        The vector is scaled to length 1 at the end.
    others : tuple of str
        Further steps, such as ``"Dense"``.
    """

    pooling: str
    prompt: str = ""
    prompts: tuple[str, ...] = ()
    normalised: bool = False
    others: tuple[str, ...] = ()

    def notes(self, *, prefix: str, normalise: bool) -> list[str]:
        """Return which steps of the folder are not applied."""
        notes = []
        if self.normalised and not normalise:
            notes.append("sentence-transformers scales its vectors to length 1: --normalise does")
        if self.others:
            notes.append(f"its last steps are not applied: {', '.join(self.others)}")
        if self.prompts and not prefix:
            notes.append(f"it has prompts ({', '.join(self.prompts)}): --prefix TEXT adds one")
        return notes


def read_sentence_steps(root: Path) -> SentenceSteps | None:
    """Read the steps of a sentence-transformers folder.

    Parameters
    ----------
    root : Path
        The folder that holds ``modules.json``, if there is one.

    Returns
    -------
    SentenceSteps or None
        None for any other folder.

    Raises
    ------
    InputError
        A step whose configuration is missing or malformed.

    Examples
    --------
    >>> import tempfile
    >>> read_sentence_steps(Path(tempfile.mkdtemp())) is None
    True
    """
    if not (root / "modules.json").is_file():
        return None
    modules = read_json(
        root / "modules.json", lenient=True
    )  # its first entry was checked: the transformer
    pooling, normalised, others = "mean", False, []
    for module in modules[1:]:
        kind = str(module.get("type", "")).rsplit(".", 1)[-1] if isinstance(module, dict) else "?"
        if kind == "Pooling":
            pooling = _pooling(root / str(module.get("path", "")) / "config.json")
        elif kind == "Normalize":
            normalised = True
        else:
            others.append(kind)
    prompt, prompts = _prompts(root / "config_sentence_transformers.json")
    return SentenceSteps(pooling, prompt, prompts, normalised, tuple(others))


def _pooling(path: Path) -> str:
    settings = read_object(path, lenient=True) if path.is_file() else {}
    said: Any = settings.get("pooling_mode") or []
    found = [said] if isinstance(said, str) else said
    if not isinstance(found, list):
        raise InputError(f"{path}: pooling_mode is {said!r}; expected a name, or a list of names")
    found = found + [
        key for key in settings if key.startswith("pooling_mode_") and flag(settings, key, path)
    ]
    return "+".join(_MODES.get(str(one), str(one)) for one in found) or "mean"


def _prompts(path: Path) -> tuple[str, tuple[str, ...]]:
    settings = read_object(path, lenient=True) if path.is_file() else {}
    table = settings.get("prompts")
    if not isinstance(table, dict):
        return "", ()
    default = settings.get("default_prompt_name")
    if default is not None and not isinstance(table.get(str(default)), str):
        raise InputError(f"{path}: default_prompt_name is {default!r}, which is not among prompts")
    others = tuple(str(name) for name, text in table.items() if text and name != default)
    return (str(table[str(default)]) if default is not None else ""), others
