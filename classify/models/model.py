"""A model: a head with its task, its features and its training record.

A head sees only numbers. `Model` adds the rest: it reads the cache by content, standardises with
the statistics of train alone, gives label names in task order, and records what it was trained on.
It saves to a folder that runs no code when loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from affekt.notebook import shown
from affekt.versions import version_of

from ...cache.errors import InputError, check_number, shaped
from ...cache.files.home_folder import at_home
from ...cache.manifest import Manifest
from ..data.predictions import Predictions
from ..data.task import Task
from ..heads.registry import check_estimator, naming_own_head
from ..heads.training.rows_on_disk import by_blocks
from .fitting import fit_models
from .folders.model_folder import (
    folders_of,
    read_folder,
    read_folders,
    write_folder,
    written_folders,
)
from .folders.restore import head_name, looks_like_an_id, restore_canary, restore_head
from .needs import Needs
from .new_clips.predict_methods import Predicts
from .read_features import accepts_missing_side, features_of
from .scalers.scaling import Scaling

if TYPE_CHECKING:
    from ...cache.cache import Cache
    from ...cache.space import Features
    from .new_clips.system import System


class Model(Predicts):
    """Train a head on cached features, predict, save.

    Parameters
    ----------
    head : head or other scikit-learn classifier
        Used as a template: `fit` trains a copy. Only the heads of affekt can be saved.
    task : Task or str
        The labels and their order.
    features : Features or list of Features
        What the head sees; of a list, side by side, and the head gets their ``widths``.
    scale : bool or {"speaker", "language", "dataset"}, default=True
        Standardise every feature with mean and deviation of train; or within each speaker,
        language or corpus, which is transductive (see `affekt.classify.models.scalers.scaling`).
    votes : bool, default=False
        Learn from the shares of the raters' votes, in the columns that `votes.with_votes` makes.
    random_state : int, default=0
        Given to a head whose own is None: one seed, one result.

    Attributes
    ----------
    head_ : the trained copy
    record : dict
        Sizes, labels, split hashes, seed, versions; saved with the model.

    Examples
    --------
    >>> model = Model(LogisticHead(), Task.named("valence"), space.features(layers=-1))
    ... # doctest: +SKIP
    >>> model.fit(part.train, part.dev).predict(part.test).write("pred.csv")  # doctest: +SKIP
    """

    def __init__(
        self,
        head: Any,
        task: Task | str,
        features: Features | Sequence[Features],
        *,
        scale: bool | str = True,
        random_state: int = 0,
        votes: bool = False,
    ) -> None:
        self.head = head
        self.task = Task.of(task)
        self.features = list(features) if isinstance(features, Sequence) else [features]
        self.needs = [Needs.of(one) for one in self.features]
        self.scaling = Scaling(scale)
        check_number("random_state", random_state, 0, 2**32 - 1, whole=True)
        self.random_state = random_state
        self.votes = votes
        self.canaries: list[np.ndarray | None] = [one.space.canary() for one in self.features]
        self.encoder_folders: dict[str, Path] = {}  # by spec key, as a saved model noted them
        self.head_: Any = None
        self.record: dict[str, Any] = {}

    def fit(
        self,
        train: Manifest,
        dev: Manifest | None = None,
        *,
        test: Manifest | None = None,
        allow_speaker_overlap: bool = False,
        allow_duplicates: bool = False,
    ) -> Model:
        """Train on `train`; heads that stop early watch `dev`.

        Parameters
        ----------
        train, dev : Manifest
            Labelled clips; labels that the task leaves out are counted and dropped.
        test : Manifest, optional
            The clips that will judge the model: a speaker or a content that is there and in
            `train` or `dev` is an error.
        allow_speaker_overlap, allow_duplicates : bool
            Ask by name for what is otherwise refused.

        Returns
        -------
        Model
            Itself.

        Raises
        ------
        InputError
            Unknown labels, one class only, a feature that is not finite, a leak.
        MissingError
            Clips whose features are not stored.
        """
        check_estimator(self.head, self.task.kind)
        fit_models(
            [self], train, dev, test=test, allow_speaker_overlap=allow_speaker_overlap,
            allow_duplicates=allow_duplicates,
        )  # fmt: skip
        return self

    def predict_features(
        self,
        ids: Sequence[str],
        values: np.ndarray,
        columns: Mapping[str, Mapping[str, str]] | None = None,
    ) -> Predictions:
        """Predict features that were computed already.

        Parameters
        ----------
        ids : sequence of str
        values : ndarray (clips, width) float32
            The features of all encoders side by side, not scaled.
        columns : mapping, optional
            Id -> columns of a manifest; for a model that scales within each speaker, language or
            corpus.

        Returns
        -------
        Predictions
        """
        self._check_trained()
        width, values = sum(need.width for need in self.needs), np.asarray(values)
        if values.shape != (len(ids), width):
            raise InputError(
                f"features have the shape {values.shape}, expected {(len(ids), width)}: a row for "
                "each id, the features of the model's encoders side by side"
            )
        if values.dtype.kind not in "fiu":
            raise InputError(f"features are of type {values.dtype}; expected numbers")
        absent = np.isnan(values) & accepts_missing_side(self.head_)
        finite = (np.isfinite(values) | absent).all(axis=1)
        if not finite.all():
            raise InputError(
                f"the features of {ids[int(np.argmin(finite))]!r} hold what is not a finite number;"
                " leave that clip out"
            )
        clips = None
        if self.scaling.within is not None:
            rows = [{"id": name, "text": "-", **(columns or {}).get(name, {})} for name in ids]
            clips = Manifest.from_rows(rows, source="the clips given")
        return self._named(list(ids), self.scaling.apply(values, clips))

    def save_pretrained(
        self,
        folder: str | Path,
        *,
        note_encoders: bool = True,
        moves_to: str | Path | None = None,
    ) -> None:
        """Save to a folder: `config.json` and `model.safetensors`.

        Parameters
        ----------
        folder : path
            An older model there is replaced, and intact until the new one is written.
        note_encoders : bool
            Note in `encoders.json` where encoders that came from folders are. It is for this
            machine; nothing else in the folder names a path.
        moves_to : path, optional
            Where the folder will be moved; the note is relative to it.
        """
        self._check_trained()
        folder = at_home(folder)
        name = head_name(self.head_)
        state, arrays = self.head_.get_state()
        arrays = {f"head.{key}": value for key, value in arrays.items()}
        arrays |= self.scaling.arrays()
        for position, canary in enumerate(self.canaries):
            if canary is not None:
                arrays[f"canary.{position}"] = np.asarray(canary, np.float32)
        config = {
            "affekt": version_of("affekt") or "unknown",
            "task": self.task.record(),
            "labels": list(self.task.labels),
            "features": [need.record() for need in self.needs],
            "scale": self.scaling.config(),
            "head": {"name": name, "state": state},
            "record": self.record,
        }
        encoders = b""
        if note_encoders:
            known = folders_of([one.space for one in self.features]) | self.encoder_folders
            encoders = written_folders(
                known, [need.spec for need in self.needs], Path(moves_to or folder)
            )
        write_folder(folder, config, arrays, encoders)

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, cache: Cache | None = None, *, revision: str | None = None
    ) -> Model:
        """Load a model; no code in it is run.

        Parameters
        ----------
        folder : path or str
            A model folder, or the id of one on the Hub.
        cache : Cache, optional
            Where its features are; may be given to `predict` instead.
        revision : str, optional
            Commit, tag or branch on the Hub.

        Raises
        ------
        InputError, DamagedError
            The folder is not whole, not a model, or changed after it was written.
        SpecError
            `cache` has no space of the model's spec.
        """
        hub: dict[str, Any] = {}
        folder = at_home(folder)
        if not Path(folder).exists() and looks_like_an_id(folder):
            from .folders.model_hub import locate_model

            place = locate_model(folder, revision)
            folder, hub = place.folder, {"repository": place.repository, "commit": place.commit}
        elif revision is not None:
            raise InputError(f"`{revision=}` was given with {folder}, which is a folder")
        config, arrays = read_folder(folder)
        source = f"{folder}: config.json"
        with shaped(source, "a model saved by affekt; save it again"):
            model = cls._restored(config, arrays, source)
            specs = [need.spec for need in model.needs]
            model.encoder_folders = {} if hub else read_folders(Path(folder), specs)
            model.record = config["record"] | ({"hub": hub} if hub else {})
        if cache is not None:
            model.features = [need.inside(cache) for need in model.needs]
        return model

    @classmethod
    def _restored(
        cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray], source: str
    ) -> Model:
        task = Task.from_record(config["task"])
        if list(task.labels) != config["labels"]:
            raise InputError(f"{source}: labels are not those of the task")
        model = cls(None, task, [])
        model.needs = [Needs.from_record(record, source) for record in config["features"]]
        model.head_ = model.head = restore_head(config["head"], arrays, source)
        model.scaling = Scaling.restore(config["scale"], arrays, model.head_, source)
        model.canaries = [
            restore_canary(arrays, i, need, source) for i, need in enumerate(model.needs)
        ]
        own = {f"canary.{i}" for i in range(len(model.needs))}
        own |= set(model.scaling.arrays())
        if extra := sorted(n for n in arrays if not n.startswith("head.") and n not in own):
            raise InputError(f"{source}: unexpected tensors: {', '.join(extra)}")
        task.check_head(model.head_, source)
        width = sum(need.width for need in model.needs)
        if width != model.head_.n_features_in_:
            raise InputError(
                f"{source}: the features are {width} wide, the head takes "
                f"{model.head_.n_features_in_}"
            )
        return model

    def __repr__(self) -> str:
        inputs = ", ".join(need.spec.name for need in self.needs)
        state = "trained" if self.head_ is not None else "not trained"
        return f"<Model of {type(self.head).__name__} on {inputs} for {self.task.name}, {state}>"

    def _repr_html_(self) -> str:
        facts = {
            "head": self.head_ if self.head_ is not None else self.head,
            "task": f"{self.task.name}: {', '.join(self.task.labels)}",
        }
        for need in self.needs:
            combined = f", {need.combine}" if len(need.layers) > 1 else ""
            layers = ", ".join(map(str, need.layers))
            facts[f"features of {need.spec.name}"] = f"layers {layers}{combined}"
        rows = [
            [part, one["clips"], one["speakers"]]
            for part in ("train", "dev")
            if (one := self.record.get(part))
        ]
        return shown(repr(self), facts, ("trained on", "clips", "speakers") if rows else (), rows)

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels in task order."""
        return self.task.labels

    def _as_system(self) -> System:
        from .new_clips.system import System

        self._check_trained()
        return System("model", {"model": self}, opened=self._encoders())

    def _predict_stored(self, clips: Manifest, cache: Cache | None) -> Predictions | None:
        self._check_trained()
        if cache is None and not self.features:
            return None
        values = self._read(clips, self._features_in(cache))
        return self._named(list(clips.ids), self.scaling.apply(values, clips))

    def _check_trained(self) -> None:
        if self.head_ is None:
            raise InputError("this model is not trained; call fit first")

    def push_to_hub(self, repository: str, *, card: str | None = None, **options: Any) -> str:
        """Upload the model to the Hub as owner/name, and return the commit.

        `card` is the text of README.md, as `model_card` returns it; one that is there stays if
        it is left out. For the other options see `push_folder`.
        """
        import tempfile

        from .folders.model_hub import push_folder

        with tempfile.TemporaryDirectory() as place:
            self.save_pretrained(Path(place) / "model", note_encoders=False)
            if card is not None:
                Path(place, "model", "README.md").write_text(card, encoding="utf-8")
            return push_folder(Path(place) / "model", repository, **options)

    def _features_in(self, cache: Cache | None) -> list[Features]:
        if cache is not None:
            return [need.inside(cache) for need in self.needs]
        if not self.features:
            raise InputError(
                "a loaded model has no cache of its own: predict(clips, cache=Cache(...)), or "
                "from_pretrained(folder, cache=Cache(...))"
            )
        return self.features

    def _labelled(self, clips: Manifest) -> tuple[Manifest, dict[str, int]]:
        # `select` leaves raw_label behind; mapping its labels again could change them
        if "raw_label" in clips and set(clips["label"]) <= set(self.task.labels):
            return clips, {}
        return self.task.select(clips)

    def _read(self, clips: Manifest, features: Sequence[Features], whole: bool = False) -> Any:
        head = self.head_ if self.head_ is not None else self.head
        gaps, whole = accepts_missing_side(head), whole or not self.scaling.by_row
        return features_of(clips, features, gaps=gaps, whole=whole)

    def _named(self, ids: list[str], values: Any) -> Predictions:
        if not ids:
            raise InputError("no clips to predict; expected at least one")
        values, far = self.scaling.watched(values)
        with naming_own_head(self.head_, f"predicting {len(ids)} clips"):
            found = self.task.predicted(ids, by_blocks(self.head_, values), values)
        found.unlike_training = [ids[row] for row in np.flatnonzero(far)]
        return found
