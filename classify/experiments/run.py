"""Run a recipe: extract what is missing, train what changed, compare, report.

Every step is kept under a key over all that decides its result, so a second run finds everything
done, a changed member trains that member only, and a killed run continues where it was. The report
is replaced in one step, once the next one is complete. Rows that could not be embedded are
quarantined: the run ends with exit code 3 and reports how many and why.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...cache.errors import counted
from ...cache.files.reading import file_sha256
from ..data.splitting.findings import Kind, split_warnings
from ..data.splitting.split_file import write_split
from ..models.folders.run_folder import check_whole
from .checks.folder_checks import check_stored
from .checks.recipe_checks import check_recipe, check_sources
from .embeddings import embed, keep_opened, look
from .members.joblib_workers import JoblibWorkers
from .members.member_folder import (
    changed_since,
    is_done,
    read_member,
    take_other,
    train_member,
)
from .members.shares import Division, divisions
from .members.side_by_side import SideBySide, count_workers, network_rows
from .members.trainer import Trainer
from .prepare import open_source, prepare
from .recipes.entries import MemberEntry
from .recipes.lines import with_lines
from .recipes.prepared import Prepared
from .recipes.recipe import Recipe
from .results.last_report import keep_earlier, step_times
from .results.next_step import next_step
from .results.report_folder import OLD, ReportFolder, opened_report, read_state
from .results.run_keys import member_key, run_key

if TYPE_CHECKING:
    from ..data.splitting.split import Split
    from ..evaluation.comparison import Comparison

Line = Callable[[str], None]


@dataclass
class Outcome:
    """The result of a run.

    Attributes
    ----------
    folder : Path
        With `report.md`, `comparison.json`, `split.csv` and `members/`.
    table : str
        The comparison as text.
    did : list of str
        One line per step that was not done before; empty if nothing had to be done.
    quarantined : dict of str to dict
        Encoder -> reason code -> number of clips that have no embedding.
    embedded : dict of str to dict
        Encoder -> ``clips`` that were embedded, and the ``seconds`` it took.
    next_step : str
        How new clips are predicted; blank if nothing had to be done.
    """

    folder: Path
    table: str = ""
    did: list[str] = field(default_factory=list)
    quarantined: dict[str, dict[str, int]] = field(default_factory=dict)
    embedded: dict[str, dict[str, float]] = field(default_factory=dict)
    next_step: str = ""

    @property
    def exit_code(self) -> int:
        """0, or 3 if rows were quarantined."""
        return 3 if any(self.quarantined.values()) else 0


def run(
    recipe: Recipe | str | Path,
    *,
    force: bool = False,
    n_jobs: int = -1,
    on_table: Callable[[str], None] = lambda table: None,
    on_member: Callable[..., object] = lambda *row: None,
    progress: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Run a recipe, as far as it is not done already.

    Parameters
    ----------
    recipe : Recipe or path
    force : bool
        Take over the report folder of another recipe.
    n_jobs : int, default=-1
        Most processes that train members side by side; -1: the number of processors.
    on_table : callable, optional
        Given the table as soon as it is known, before curves and other analyses are made and the
        report is written.
    on_member : callable, optional
        Given name, state (waiting, training, kept, done), UAR or CCC on dev and seconds left of a
        member, whenever they change; the last two may be None.
    progress : callable, optional
        Called with each step as it happens.

    Returns
    -------
    Outcome

    Raises
    ------
    InputError
        Anything wrong with what the recipe names, before any work; or another run writes into the
        report's folder.

    Examples
    --------
    >>> outcome = run("recipes/real-speech.yaml", progress=print)  # doctest: +SKIP
    >>> outcome.exit_code  # doctest: +SKIP
    0
    """
    recipe = recipe if isinstance(recipe, Recipe) else Recipe.read(recipe)
    with with_lines(recipe.at):
        ready, outcome = prepare(recipe), Outcome(recipe.report)
        for note in ready.notes:
            progress(note)
        for name, source in ready.sources.items():
            ready.stored[name] = look(source, ready.cache)
        if any(one.pending for one in ready.stored.values()) or not is_current(ready, outcome):
            found = [fold for division in check(ready) for fold in division.folds]
            with opened_report(recipe.report, recipe.path, force=force) as report:
                outcome.embedded = embed(ready, progress)
                for name, new in outcome.embedded.items():
                    outcome.did.append(f"embedded {new['clips']} clips with {name}")
                if not is_current(ready, outcome):
                    looked = [
                        (ready.sources[name].clips, list(one.digests.values()))
                        for name, one in ready.stored.items()
                        if ready.sources[name].spec.modality == "audio"
                    ]
                    with ready.cache.held_digests(looked), ready.cache.keeping_results():
                        work = _Work(ready, report, outcome, on_table, progress, n_jobs, on_member)
                        work.train_and_compare(found)
        if outcome.did:
            outcome.next_step = next_step(ready)
        for source in ready.sources.values():
            keep_opened(source, ready.cache)
        return outcome


def check(ready: Prepared, *, hash_files: bool = True) -> list[Division]:
    """Check everything that can be checked before any work; open encoders that have to embed.

    Parameters
    ----------
    hash_files : bool
        As for `look`.

    Returns
    -------
    list of Division
        Of the clips that have a row or may get one.

    Raises
    ------
    InputError
        Anything that a run refuses; with file and line.
    """
    found = check_recipe(ready)
    for name, source in ready.sources.items():
        is_closed = source.encoder is None and not source.is_stored_space
        if ready.stored[name].pending and is_closed:
            ready.sources[name] = open_source(source.entry, ready)
            ready.stored[name] = look(ready.sources[name], ready.cache, hash_files=hash_files)
    check_sources(ready)
    check_stored(ready)
    return divisions(ready.recipe, found, ready.hopeful)


def is_current(ready: Prepared, outcome: Outcome) -> bool:
    """Whether the report was made from exactly this; if so, put its table into the outcome."""
    folder = ready.recipe.report
    outcome.quarantined = ready.quarantined
    try:
        check_whole(folder)
        state = read_state(folder)
        if state is None or state["key"] != run_key(ready):
            return False
        if any(file_sha256(folder / name) != made for name, made in state["files"].items()):
            return False
        outcome.table = state["table"]
        return True
    except (OSError, ValueError, KeyError, TypeError):  # InputError is a ValueError
        return False


@dataclass
class _Job:
    """A member on one division of the clips."""

    entry: MemberEntry
    division: Division
    parts: list[Split]
    last: Path  # its folder in the report that is in place
    folder: Path  # and in the next one
    key: str  # of what decides it, and that in words
    made_of: dict[str, str]
    made: Path | None = None  # the one of its folders that holds it; None if it is to be trained
    trained: tuple[str, float] | None = None  # why, and the seconds it took, where it was


@dataclass(frozen=True)
class _Work:
    """Training and comparing, into a report folder."""

    ready: Prepared
    report: ReportFolder
    outcome: Outcome
    on_table: Line
    progress: Line
    n_jobs: int
    on_member: Callable[..., object]

    def train_and_compare(self, found: list[Split]) -> None:
        """Compare on every division of the clips, and put the report in place."""
        ready, report, outcome = self.ready, self.report, self.outcome
        divided = divisions(ready.recipe, found, ready.there)
        self._announce(divided)
        keep_earlier(report.folder, ready.embedded, self.progress)
        jobs: list[_Job] = []
        for division in divided:
            for entry in ready.recipe.members.values():
                parts = division.shares[entry.name].parts
                inside = Path(division.name.replace(" ", "-"), "members", entry.name)
                folders = report.folder / inside, report.work / inside
                job = _Job(entry, division, parts, *folders, *member_key(entry, ready, parts))
                job.made = next((one for one in folders if is_done(one, job.key)), None)
                places = [one / inside.parent for one in (report.folder, report.folder / OLD)]
                if not job.made and (other := take_other(job.folder, places, job.key)):
                    self.progress(f"{entry.name}: kept, because it was trained as {other}")
                    job.made = job.folder
                self._show(job, "waiting")
                jobs.append(job)
        self._train_side_by_side([job for job in jobs if job.entry.head and not job.made])
        results = {}
        for number, division in enumerate(divided, 1):
            if division.name:
                self.progress(division.name)
            own = [job for job in jobs if job.division is division]
            results[division.name] = self._compare(division, own, is_first=number == 1)
        if len(results) == 1:
            outcome.table = results[divided[0].name].table()
        else:
            from .results.repeats import repeats_table, summarise, write_repeats

            summary = summarise(results, found)
            write_repeats(report.work, summary)
            outcome.table = repeats_table(summary)
        outcome.did.append("compared members and ensembles")
        report.finish({"key": run_key(ready), "table": outcome.table})

    def _announce(self, divided: list[Division]) -> None:
        """Print what is used, what is left out, and the warnings of the splits."""
        task, counts = self.ready.task, self.ready.task.counts(self.ready.labelled)
        shown = ", ".join(f"{label} {count}" for label, count in counts.items())
        self.progress(f"task {task.name}: {shown}")
        if task.kind == "labels" and (absent := [label for label in counts if not counts[label]]):
            self.progress(
                f"warning: no clip is {', '.join(absent)}, which counts 0 in UAR; if the corpus "
                "has no such label, use a task without it"
            )
        every = [fold for division in divided for fold in division.folds]
        for scheme in sorted({fold.scheme for fold in every}):
            folds = [one for one in every if one.scheme == scheme]
            sizes = ", ".join(f"{part} {len(clips)}" for part, clips in folds[0].parts.items())
            many = f", {len(folds)} folds, the first of" if len(folds) > 1 else ":"
            self.progress(f"split {scheme}{many} {sizes} clips")
        shares = [share for division in divided for share in division.shares.values()]
        tested = set().union(*(share.tested for share in shares))
        asked = {clip for division in divided for clip in division.asked}
        for text in dict.fromkeys(text for division in divided for text in division.sits_out):
            self.progress(text)
        if asked - tested:
            self.progress(
                f"{len(asked - tested)} of {len(asked)} test clips are not scored: no member has "
                "its input for them"
            )
        for warning in split_warnings(every):
            self.progress(f"warning: {warning}")

    def _compare(self, division: Division, jobs: list[_Job], *, is_first: bool) -> Comparison:
        """Train every member on one division of the clips, and compare them there."""
        from ..evaluation.reports.markdown.provenance import made
        from .results.compare_members import add_run, compare_members, write_comparison
        from .results.extra_results import extra_results

        ready, folder = self.ready, division.name.replace(" ", "-")
        place, last = self.report.work / folder, self.report.folder / folder
        place.mkdir(exist_ok=True)
        write_split(division.folds, place / "split.csv", last / "split.csv", self.progress)
        for job in jobs:
            self._take(job)
        self.progress("comparing")
        on_table = (lambda table: None) if division.name else self.on_table
        comparison = compare_members(ready, division, on_table)
        trained = {job.entry.name: job.trained for job in jobs}
        times = step_times(last, self.outcome.embedded, trained)
        extra = extra_results(ready, division, self.progress, with_curves=is_first)
        add_run(comparison, ready, division, {**extra, "made": {**made(), **times}})
        for warning in comparison.data["warnings"]:
            if getattr(warning, "kind", None) == Kind.CLIPS:  # the table is of fewer clips
                self.progress(f"warning: {warning}")
        write_comparison(comparison, ready, division, place)
        return comparison

    def _train_side_by_side(self, due: Sequence[_Job]) -> None:
        """Train what has to be trained in several processes, where that is quicker."""
        rows = [network_rows(job.entry, self.ready.task, job.parts) for job in due]
        count = count_workers([one for found in rows for one in found], self.n_jobs)
        workers = JoblibWorkers.chosen()
        if count == 1 and (workers is None or not due):
            return
        where = f"{count} processes" if workers is None else workers.name
        self.progress(f"training {counted(len(due), 'member')} in {where}")
        with workers or SideBySide(count) as pool:
            longest = sorted(range(len(due)), key=lambda at: -sum(rows[at]))
            pool.run([partial(self._train, due[at], pool) for at in longest])
        self.outcome.did += [f"trained {job.entry.name}" for job in due]

    def _take(self, job: _Job) -> None:
        """Take what a member left into the division; train it first, unless that was done."""
        name = job.entry.name
        if job.made == job.last:
            self.progress(f"{name}: kept, because nothing it depends on has changed")
        elif job.made is None:
            self._train(job)
            self.outcome.did.append(f"trained {name}")
        folder = job.made or job.folder
        found = job.division.members[name] = read_member(folder, self.ready.task)
        self.report.take(found.files)
        scores = [one.get("dev_uar", one.get("dev_ccc")) for one in found.parts]
        known = [score for score in scores if score is not None]
        score = sum(known) / len(known) if known else None
        self._show(job, "kept" if folder == job.last else "done", score)

    def _train(self, job: _Job, pool: SideBySide | None = None) -> None:
        ready, name, division = self.ready, job.entry.name, job.division.name
        begun, changed = time.monotonic(), changed_since(job.last, job.made_of)
        if changed:
            self.progress(f"{name}: trained again, because {changed} changed")
        self._show(job, "training")

        def on_epoch(row: Mapping[str, Any]) -> None:
            left = row["seconds"] * (row["max_epochs"] - row["epoch"])
            score = row.get("dev_uar", row.get("dev_ccc"))
            self._show(job, "training", score, left)

        given = (job.entry, ready.task, ready.spaces, ready.recipe.allowed, self.progress, pool)
        trainer = Trainer(*given, on_epoch).in_fold(division if pool else "")
        how: Any = {"made_of": job.made_of, "moves_to": job.last}
        train_member(trainer, ready.labelled, job.parts, job.folder, job.key, **how)
        job.made = job.folder
        job.trained = changed, time.monotonic() - begun

    def _show(self, job: _Job, *row: object) -> None:
        name, division = job.entry.name, job.division.name
        self.on_member(f"{division}: {name}" if division else name, *row)
