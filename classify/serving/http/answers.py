"""JSON answers for clients: the rows of `affekt predict --json`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..output import as_rows
from .bodies import Refused

if TYPE_CHECKING:
    from ...data.predictions import Predictions
    from ...models.new_clips.answer import Answer
    from ...models.new_clips.new_clip import RawClip
    from ...models.new_clips.system import System
    from .recording import Recording

#: from the model cards of the underlying systems
CAUTION = (
    "Emotion recognition is uncertain and depends on context. A prediction is an estimate of a "
    "model, not a finding about what a person feels.",
    "Do not base decisions about people on it alone: not in diagnosis or mental health, "
    "employment, law or education, and never for profiling or surveillance.",
    "Accuracy may be lower for accents, speaking styles, languages and recording conditions that "
    "differ from the training data, for noise and for overlapping speakers.",
    "Ask people before you process their voice, and tell them that a model estimates emotion.",
)


def name_of(system: System) -> str:
    """Return what clients may call the system: of a folder its name, not its path."""
    return Path(system.name).resolve().name if Path(system.name).is_dir() else system.name


def _members(system: System) -> list[str]:
    return list(system.models) if len(system.models) > 1 else [name_of(system)]


def inputs_of(system: System) -> dict[str, str]:
    """Return what a clip needs: ``audio`` and ``text``, each required, optional or unused.

    Where both are optional, one of them is enough.
    """
    from ...models.read_features import accepts_missing_side

    required: set[str] = set()
    optional: set[str] = set()
    for model in system.models.values():
        kinds = {need.spec.modality for need in model.needs}
        (optional if len(kinds) > 1 and accepts_missing_side(model.head_) else required).update(
            kinds
        )
    return {
        kind: "required" if kind in required else "optional" if kind in optional else "unused"
        for kind in ("audio", "text")
    }


def describe(system: System, limits: Mapping[str, float]) -> dict[str, Any]:
    """Return what `/labels` answers."""
    members = {
        name: sorted({need.spec.modality for need in model.needs})
        for name, model in zip(_members(system), system.models.values(), strict=True)
    }
    scales = system.task.record().get("dimensions", {})
    return {
        "system": name_of(system),
        "labels": list(system.labels),
        **({"scales": {name: one["range"] for name, one in scales.items()}} if scales else {}),
        "members": members,
        "inputs": inputs_of(system),
        "limits": dict(limits),
        "caution": list(CAUTION),
    }


def merged(ask: Callable[[Sequence[RawClip]], Answer], clips: Sequence[RawClip]) -> list[Answer]:
    """Answer clips of several requests in one pass, whatever their ids; one answer for each."""
    if len(clips) == 1:
        return [ask(clips)]
    numbered = [replace(clip, id=str(number)) for number, clip in enumerate(clips)]
    whole = ask(numbered)
    return [_part(whole, str(number), clip.id) for number, clip in enumerate(clips)]


def _part(whole: Answer, number: str, name: str) -> Answer:
    """Return the part of an answer for one clip, under the clip's own id."""

    def own(found: Mapping[str, Any]) -> dict[str, Any]:
        return {name: found[number]} if number in found else {}

    def rows(found: Predictions) -> Predictions:
        part = found.select([number])
        return type(found)([name], part.labels, part.proba)

    there = whole.predictions is not None and number not in whole.failed
    return replace(
        whole,
        predictions=rows(whole.predictions) if there and whole.predictions is not None else None,
        members={member: rows(found) for member, found in whole.members.items()} if there else {},
        failed=own(whole.failed),
        reasons=own(whole.reasons),
        one_sided=own(whole.one_sided),
        flags={flag: [name] for flag, ids in whole.flags.items() if number in ids},
    )


def result(
    system: System,
    answers: Sequence[Answer],
    asked: Mapping[str, Any],
    name: str = "",
    recording: Recording | None = None,
) -> Any:
    """Return the JSON of a request: rows, or with ``details`` an object that holds them.

    Parameters
    ----------
    answers : sequence of Answer
        Of one clip, or of each window of a recording.
    asked : mapping
        The parameters of the request.
    name : str
        Id of the recording.
    """
    spans = recording.spans.items() if recording is not None else ()
    extra: dict[str, dict[str, Any]] = {
        window: {"recording": name, "start": start, "end": end} for window, (start, end) in spans
    }
    for one, remark in _all(answers, "remarks").items():
        extra[one] = extra.get(one, {}) | {"remark": remark}
    rows = _rows([answer.predictions for answer in answers], asked["top"], extra)
    if not rows:
        codes, reasons = _all(answers, "failed"), _all(answers, "reasons")
        first = next(iter(codes), "")
        code = _one_code(codes.get(first, "failed"))
        reason = reasons.get(first, "nothing was predicted")
        if code == "too_long" and recording is None:
            reason += "; /predict?window=SECONDS answers with a timeline"
        raise Refused(code, reason, 422)
    if not asked["details"]:
        return rows
    flags: dict[str, list[str]] = {}
    if recording is not None and recording.flags:
        flags[name] = list(recording.flags)
    for flag, ids in (item for answer in answers for item in answer.flags.items()):
        for one in ids:
            flags.setdefault(one, []).append(flag)
    members = {
        shown: _rows([answer.members.get(member) for answer in answers], asked["top"], {})
        for member, shown in zip(system.models, _members(system), strict=True)
    }
    return {
        "system": name_of(system),
        "labels": list(system.labels),
        "rows": rows,
        "members": members,
        "failed": _all(answers, "reasons"),
        "flags": flags,
        "notes": answers[0].notes,
    }


def _one_code(code: str) -> str:
    """Return the code of the side that was sent, for a model that needs only one.

    Examples
    --------
    >>> _one_code("not_audio and no text"), _one_code("no audio and no text")
    ('not_audio', 'missing_input')
    """
    sent = [one for one in code.split(" and ") if not one.startswith("no ")]
    return sent[0] if sent else "missing_input"


def _all(answers: Sequence[Answer], what: str) -> dict[str, str]:
    """Return one field of all answers, by id."""
    return {name: value for answer in answers for name, value in getattr(answer, what).items()}


def _rows(
    found: Sequence[Predictions | None], top: int | None, extra: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    return [row for one in found if one is not None for row in as_rows(one, top, extra)]
