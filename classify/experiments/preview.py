"""``affekt run --check``: what a run would do, in numbers of clips, without doing any of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...cache.commands.terminal import aligned
from ...cache.errors import listed
from ..data.splitting.findings import of_splits
from .embeddings import look, measure, unreadable
from .members.shares import Division
from .prepare import prepare
from .recipes.entries import MemberEntry
from .recipes.lines import with_lines
from .recipes.recipe import Recipe
from .results.report_folder import ReportFolder, check_owner
from .run import Outcome, check, is_current

if TYPE_CHECKING:
    from .recipes.prepared import Prepared

#: Rough seconds to train a head on one clip once, on two processors: for an estimate only.
SECONDS = {"logistic": 1e-3, "ridge": 1e-3, "patch": 0.03, "cross-attention": 0.02}
NETWORK = 5e-3  # other heads
REST = 10.0  # seconds to start, compare and write


@dataclass(frozen=True)
class Preview:
    """What a run would do.

    Attributes
    ----------
    labels : dict of str to int
        Clips by label of the task; of a task of numbers, clips rated for each dimension.
    left_out : dict of str to int
        Raw label -> clips that the task leaves out.
    encoders : dict of str to dict
        ``clips`` that have what it reads, ``stored``, ``failed`` before, ``to_embed``, and
        ``seconds`` to embed them (None: it was not measured).
    members : dict of str to dict
        ``settings`` to choose from, ``seeds``, ``folds`` (``fold``, ``train``, ``dev``, ``test``),
        and ``sits_out``, fold -> reason.
    seconds : float
        For everything: to embed (measured on short inputs) and to train (rough).
    is_current : bool
        Whether the report there is was made of exactly this: nothing to do.
    """

    recipe: str
    clips: int
    labels: dict[str, int]
    left_out: dict[str, int]
    encoders: dict[str, dict[str, Any]]
    members: dict[str, dict[str, Any]]
    seconds: float
    is_current: bool
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    def text(self) -> str:
        """Return it as tables to read."""
        labels = ", ".join(f"{label} {count}" for label, count in self.labels.items())
        lines = [f"{self.recipe}: {self.clips} clips ({labels})", ""]
        rows = [["encoder", "clips", "stored", "failed before", "to embed", "minutes"]]
        for name, one in self.encoders.items():
            minutes = "?" if one["seconds"] is None else _minutes(one["seconds"])
            counts = [str(one[key]) for key in ("clips", "stored", "failed", "to_embed")]
            rows.append([name, *counts, minutes])
        lines += [*aligned(rows, left=1), ""]
        rows = [["member", "fold", "train", "dev", "test"]]
        for name, one in self.members.items():
            for fold in one["folds"]:
                counts = [str(fold[key]) for key in ("train", "dev", "test")]
                rows.append([name, fold["fold"] or "-", *counts])
        lines += [*aligned(rows, left=2), ""]
        lines += self.notes
        if self.is_current:
            lines.append("Nothing to do: the report is up to date.")
        else:
            lines.append(f"Estimated: {_minutes(self.seconds)} minutes in all.")
        lines.append("Nothing was embedded, trained or written.")
        return "\n".join(lines)


def preview(recipe: Recipe | str | Path, *, force: bool = False) -> Preview:
    """Check a recipe as `run` does before any work, and count what a run would do.

    Parameters
    ----------
    recipe
        The recipe, or its file.
    force
        Allow the report folder of another recipe.

    Raises
    ------
    InputError
        Anything that a run would refuse before it embeds or trains; with file and line.

    Examples
    --------
    >>> print(preview("recipes/real-speech.yaml").text())  # doctest: +SKIP
    """
    recipe = recipe if isinstance(recipe, Recipe) else Recipe.read(recipe)
    with with_lines(recipe.at):
        found = _preview(prepare(recipe))
    check_owner(ReportFolder(recipe.report, recipe.path), force=force)
    return found


def _preview(ready: Prepared) -> Preview:
    recipe = ready.recipe
    for name, source in ready.sources.items():
        ready.stored[name] = look(source, ready.cache, hash_files=False)
    divided = check(ready, hash_files=False)
    encoders = {name: _encoder(ready, name) for name in ready.stored}
    members = {name: _member(entry, divided) for name, entry in recipe.members.items()}
    notes = ready.notes
    notes += [note for name in ready.stored for note in _left_out(ready, name)]
    notes += of_splits([fold for division in divided for fold in division.folds])
    notes += list(dict.fromkeys(text for division in divided for text in division.sits_out))
    done = is_current(ready, Outcome(recipe.report))
    embedding = sum(one["seconds"] or 0.0 for one in encoders.values())
    training = sum(_training(recipe.members[name], one["folds"]) for name, one in members.items())
    return Preview(
        str(recipe.path),
        len(ready.labelled),
        ready.task.counts(ready.labelled),
        dict(ready.left_out),
        encoders,
        members,
        0.0 if done else embedding + training + REST,
        done,
        notes,
    )


def _encoder(ready: Prepared, name: str) -> dict[str, Any]:
    source, stored = ready.sources[name], ready.stored[name]
    seconds = measure(source, ready.cache, stored) if stored.pending else 0.0
    return {
        "clips": len(source.clips),
        "stored": len(stored.there),
        "failed": len(stored.failed),
        "to_embed": len(stored.pending),
        "seconds": seconds,
    }


def _left_out(ready: Prepared, name: str) -> Iterator[str]:
    source, stored = ready.sources[name], ready.stored[name]
    if source.spec.modality != "audio":
        return
    for what, clips in unreadable(source.clips, stored.pending).items():
        if clips:
            verb = "is" if len(clips) == 1 else "are"
            yield (
                f"{name}: {len(clips)} of {len(source.clips)} recordings {verb} {what} and will be "
                f"left out: {listed(clips)}"
            )


def _member(entry: MemberEntry, divided: Sequence[Division]) -> dict[str, Any]:
    shares = [division.shares[entry.name] for division in divided]
    return {
        "head": entry.head,
        "settings": len(list(entry.candidates())),
        "seeds": entry.seeds,
        "folds": [
            {
                "fold": part.name,
                "train": len(part.train) if entry.head else 0,
                "dev": len(part.dev),
                "test": len(part.test),
            }
            for share in shares
            for part in share.parts
        ],
        "sits_out": {fold: why for share in shares for fold, why in share.sits_out.items()},
    }


def _training(entry: MemberEntry, folds: Sequence[Mapping[str, Any]]) -> float:
    if not entry.head:
        return 0.0
    fits = len(list(entry.candidates())) + entry.seeds - 1
    return fits * SECONDS.get(entry.head, NETWORK) * sum(fold["train"] for fold in folds)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f}" if seconds < 600 else f"{seconds / 60:.0f}"
