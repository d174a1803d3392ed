"""A task: an ordered label set, and how raw labels of many corpora map to it.

Raw labels are matched exactly (after Unicode NFC): ``Anger`` next to ``anger`` is far more often a
slip than a wish, so it is an error that names the nearest right word, unless the task says
``ignore_case``. A label that the task leaves out (surprise, in ``valence``) is counted; one that
is unknown stops the work before it starts.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import InitVar, dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from affekt.notebook import shown

from ...cache.errors import InputError, expected_one_of, listed, nearest, one_of
from ...cache.files.home_folder import at_home
from ...cache.manifest.column_names import BLANK_LABEL
from ...cache.manifest.manifest import check_manifest
from ...cache.manifest.tables.cells import text_of
from .located_yaml import read_yaml
from .predictions import Predictions
from .task_file import NOT_A_TASK, check_label, is_numeric, plain_spec, spec_of
from .vocabulary import any_case, check_signs, resolve, shipped, unknown_labels, whole

if TYPE_CHECKING:
    from ...cache.manifest import Manifest


@dataclass(frozen=True)
class Encoded:
    """Task labels of a manifest, row by row.

    Attributes
    ----------
    labels
        Object array ``(clips,)`` of task labels; None where the task leaves the label out.
    dropped
        How often each left-out raw label occurs.
    """

    labels: np.ndarray
    dropped: dict[str, int]


@dataclass(frozen=True)
class Task:
    """An ordered label set with the raw labels that each label covers.

    Parameters
    ----------
    name
        What reports call it.
    labels
        Task labels in their order; every probability column follows it.
    map
        Raw label to task label, or to None for "known, and left out".
    corpora
        The same for single corpora (the manifest's ``dataset``, case ignored); looked up first.
    values
        A number for each label where the labels are ordered (valence: -1, 0, 1), else empty.
    ignore_case
        Match raw labels without regard to case and surrounding space.
    version
        Of the file that it comes from, to be read by people; the hash identifies the task.
    saved
        From a record, which may hold labels that new tasks may not: ``id``, blanks around a name.

    Examples
    --------
    >>> task = Task.named("valence")
    >>> task.labels
    ('negative', 'neutral', 'positive')
    >>> task.label_of("enojo"), task.label_of("surprise"), task.label_of("calm", "mess")
    ('negative', None, 'positive')
    """

    name: str
    labels: tuple[str, ...]
    map: Mapping[str, str | None] = field(repr=False)
    corpora: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict, repr=False)
    values: Mapping[str, float] = field(default_factory=dict, repr=False)
    ignore_case: bool = False
    version: int = field(default=1, compare=False)
    saved: InitVar[bool] = False

    measure: ClassVar[str] = "uar"  # what dev chooses by
    kind: ClassVar[str] = "labels"
    of_clips: ClassVar[type[Predictions]] = Predictions
    of_numbers: ClassVar[type[Task]]  # the one other kind, which `scales` sets

    def __post_init__(self, saved: bool):
        object.__setattr__(self, "labels", tuple(self.labels))  # a list would equal no other task
        if len(self.labels) < 2 or len(set(self.labels)) < len(self.labels):
            raise InputError(
                f"task {self.name!r} has the labels {listed(self.labels)}; "
                "expected at least two, each once"
            )
        for label in () if saved else self.labels:
            check_label(label, f"task {self.name!r}")

    @classmethod
    def named(cls, name: str) -> Task:
        """Return a task that ships with affekt.

        Raises
        ------
        InputError
            If there is no task of that name; the message lists them.

        Examples
        --------
        >>> Task.named("emotion6").labels
        ('anger', 'disgust', 'fear', 'joy', 'neutral', 'sadness')
        """
        tasks = shipped()["tasks"]
        if name not in tasks:
            beside = [f"{name}.yaml"] if Path(f"{name}.yaml").is_file() else []
            raise InputError(
                f"unknown task {name!r}; expected one of {', '.join(tasks)}, "
                f"or a YAML file.{nearest(name, beside or tasks)}"
            )
        return cls(name, *resolve(tasks[name]))

    @classmethod
    def read(cls, path: str | PathLike[str]) -> Task:
        """Read a task from a YAML file; `docs/how-to/task.md` shows some.

        Raises
        ------
        InputError
            If the file cannot be read, or a key or label in it is not understood.
        """
        path = Path(at_home(path))
        spec = spec_of(read_yaml(path))
        return cls.from_spec(spec, default_name=path.stem, source=str(path))

    @classmethod
    def from_spec(
        cls, spec: Mapping[str, Any], *, default_name: str = "task", source: str = "task"
    ) -> Task:
        """Build a task from a mapping with the keys of a task file.

        Examples
        --------
        >>> task = Task.from_spec({"labels": {"low": ["calm", "sad"], "high": ["angry"]}})
        >>> task.labels, task.label_of("sad")
        (('low', 'high'), 'low')
        """
        if is_numeric(spec, source):
            return cls.of_numbers.from_spec(spec, default_name=default_name, source=source)
        spec = plain_spec(spec, source)
        merged = dict(spec)
        if "extends" in spec:
            tasks = shipped()["tasks"]
            if (name := spec["extends"]) not in tasks:
                raise InputError(f"{source}: extends is {name!r}; {expected_one_of(name, tasks)}")
            base = tasks[name]
            merged = {**base, **{k: v for k, v in spec.items() if k != "extends"}}
            merged["corpora"] = {**base.get("corpora", {}), **spec.get("corpora", {})}
        if not merged.get("labels"):
            raise InputError(f"{source}: no `labels`; expected a list, or label: [raw labels]")
        return cls(str(merged.get("name", default_name)), *resolve(merged, source))

    @classmethod
    def of(cls, task: Task | str | PathLike[str] | Mapping[str, Any]) -> Task:
        """Return a task from a task, a name, a YAML file or a mapping."""
        if isinstance(task, Task):
            return task
        if isinstance(task, Mapping):
            return cls.from_spec(task)
        if not isinstance(task, str | PathLike):
            raise InputError(f"the task is of type {type(task).__name__}; {NOT_A_TASK}")
        is_file = str(task).endswith((".yaml", ".yml"))
        return cls.read(task) if is_file else cls.named(str(task))

    @classmethod
    def from_labels(cls, labels: Iterable[str], name: str = "labels") -> Task:
        """Return the task in which every raw label is its own label.

        Examples
        --------
        >>> Task.from_labels(["no", "yes"]).label_of("yes")
        'yes'
        """
        labels = tuple(unicodedata.normalize("NFC", text_of(label)) for label in labels)
        return cls(name, labels, {label: label for label in labels})

    def _repr_html_(self) -> str:
        return shown(f"Task {self.name}", {"labels": ", ".join(self.labels)})

    def record(self) -> dict[str, Any]:
        """Return everything that decides the task, for JSON; `from_record` reads it back."""
        return {
            "name": self.name,
            "version": self.version,
            "hash": self.hash,
            "labels": list(self.labels),
            "map": dict(sorted(self.map.items())),
            "corpora": {name: dict(sorted(m.items())) for name, m in sorted(self.corpora.items())},
            "values": dict(self.values),
            "ignore_case": self.ignore_case,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Task:
        """Return the task of a `record`.

        Raises
        ------
        InputError
            If the record's hash is not that of its content.

        Examples
        --------
        >>> task = Task.named("sentiment")
        >>> Task.from_record(task.record()) == task
        True
        """
        try:
            if record.get("type"):
                keys = {key: record[key] for key in ("type", "name", "version", "dimensions")}
                task = cls.of_numbers.from_spec(keys, source="task record")
            else:
                names = ("corpora", "values", "ignore_case", "version")
                more: Any = {name: record[name] for name in names if name in record}
                task = cls(record["name"], record["labels"], record["map"], **more, saved=True)
        except KeyError as error:
            raise InputError(f"a task record without {error}") from error
        if record.get("hash", task.hash) != task.hash:
            raise InputError(f"the record of task {task.name!r} was changed after it was written")
        return task

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of the labels, their order and the whole map; the name does not count."""
        content = [list(self.labels), self.map, self.corpora, self.values, self.ignore_case]
        text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def label_of(self, raw: str, dataset: str = "") -> str | None:
        """Return the task label of a raw label, or None where the task leaves it out.

        A whole number may be written as a program with gaps in a column of numbers writes it: -1.0
        for -1, here or in the task.

        Raises
        ------
        InputError
            If neither the task nor the corpus has the raw label.
        """
        key = self._key(text_of(raw))
        here = self._corpus(dataset)
        for name in (key, whole(key), f"{key}.0"):
            for table in (here, self.map):
                if name in table:
                    return table[name]
        known = sorted({*here, *self.map})
        raise InputError(
            f"task {self.name!r} does not know the label {raw!r}.{nearest(raw, known)}"
        )

    def encode(self, clips: Manifest, *, blank: str = "error") -> Encoded:
        """Map the raw labels of a manifest.

        Parameters
        ----------
        clips
            The manifest; its `dataset` picks the map of a corpus.
        blank
            What a clip without a label means: "error", or "drop" (counted under "").

        Raises
        ------
        InputError
            If raw labels are unknown or blank: each with its count, first line and nearest name.
        """
        check_manifest(clips)
        one_of(blank, BLANK_LABEL, "blank")
        clips.column("label")
        known: dict[tuple[str, str], str | None] = {}
        unknown: dict[str, list[int]] = {}
        result = np.empty(len(clips), dtype=object)
        dropped: Counter[str] = Counter()
        for row, pair in enumerate(zip(clips["label"], clips["dataset"], strict=True)):
            if pair not in known:
                ignored = pair[0] == "" and blank == "drop"
                try:
                    known[pair] = None if ignored else self.label_of(*pair)
                except InputError:
                    unknown.setdefault(pair[0], []).append(row)
                    continue
            result[row] = label = known[pair]
            if label is None:
                dropped[pair[0]] += 1
        if unknown:
            raise InputError(unknown_labels(self.name, self.labels, self.map, unknown, clips))
        check_signs(self.map, self._corpus, known, clips.source)
        return Encoded(result, dict(sorted(dropped.items())))

    def select(self, clips: Manifest, *, blank: str = "error") -> tuple[Manifest, dict[str, int]]:
        """Return the clips whose label the task uses, with task labels, and what was left out.

        The returned manifest's `label` holds the task label and `raw_label` what was written;
        `blank` is that of `encode`.

        Raises
        ------
        InputError
            As `encode`; and if no clip is left.
        """
        encoded = self.encode(clips, blank=blank)
        keep = np.array([label is not None for label in encoded.labels], dtype=bool)
        if not keep.any():
            raise InputError(
                f"{clips.source}: the task {self.name!r} leaves out every one of its "
                f"{len(clips)} clips: {encoded.dropped or 'no rows'}"
            )
        kept = clips.select(keep)
        raw = kept["raw_label"] if "raw_label" in kept else kept["label"]
        kept = kept.with_columns(label=list(encoded.labels[keep]), raw_label=list(raw))
        return kept, encoded.dropped

    def targets(self, clips: Manifest) -> np.ndarray:
        """Return what a head learns of selected clips: their labels, `(clips,)` text."""
        return clips["label"].astype(str)

    def answers(self, clips: Manifest) -> list[Any]:
        """Return the labels of selected clips, as JSON."""
        return list(clips["label"])

    def predicted(self, ids: list[str], head: Any, values: np.ndarray) -> Predictions:
        """Return the predictions of a trained head for features ``(clips, features)``."""
        found = np.asarray(head.predict_proba(values), dtype=np.float64)
        proba = np.zeros((len(ids), len(self.labels)))
        columns = [self.labels.index(str(label)) for label in head.classes_]
        proba[:, columns] = found / found.sum(axis=1, keepdims=True)
        return Predictions(ids, self.labels, proba)

    def counts(self, clips: Manifest) -> dict[str, int]:
        """Return how many selected clips each label has."""
        found = Counter(clips["label"])
        return {label: found[label] for label in self.labels}

    def nothing(self) -> Predictions:
        """Return empty predictions."""
        return self.of_clips([], self.labels, np.empty((0, len(self.labels))))

    def read_predictions(
        self, path: str | PathLike[str], rename: Mapping[str, str] | None = None
    ) -> Predictions:
        """Read a file of predictions of this task."""
        return self.of_clips.read(path, self.labels, rename)

    def check_head(self, head: Any, source: str) -> None:
        """Raise unless a stored head has labels of the task only."""
        unknown = sorted(set(map(str, getattr(head, "classes_", ["none"]))) - set(self.labels))
        if unknown:
            raise InputError(f"{source}: the head knows labels the task does not: {unknown}")

    def check_train(self, clips: Manifest) -> None:
        """Raise unless train has two labels."""
        counts = Counter(clips["label"])
        if len(counts) < 2:
            raise InputError(
                f"all {len(clips)} clips of train have the label {next(iter(counts))!r}; "
                f"expected at least two of {', '.join(self.labels)}"
            )

    def far_outside(self, values: np.ndarray) -> np.ndarray:
        """Whether numbers are far outside of a scale, `(clips,)`; probabilities never are."""
        return np.zeros(len(values), dtype=bool)

    def _corpus(self, dataset: str) -> Mapping[str, str | None]:
        return self.corpora.get(unicodedata.normalize("NFC", dataset).casefold(), {})

    def _key(self, raw: str) -> str:
        return any_case(raw) if self.ignore_case else unicodedata.normalize("NFC", raw)
