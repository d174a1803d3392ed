"""How a model standardises its features: over train, or within speakers, languages or corpora.

Within groups, features are scaled by the group's own unlabelled rows. That is transductive: a
prediction then depends on the other clips of its speaker, so it must be requested by name and
is named in every report. Speakers are centred as far as their clips allow, even with one clip (see
`SpeakerScaler`); a language or a corpus needs enough clips for a mean and a deviation of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ....cache.errors import InputError, counted, nearest
from ....cache.manifest import Manifest
from ...heads.training.rows_on_disk import RowsOnDisk

if TYPE_CHECKING:
    from .group_scaler import GroupScaler
    from .speaker_scaler import SpeakerScaler

SCALES = ("speaker", "language", "dataset")
log = logging.getLogger(__name__)

BLOCK = 1024  # rows at a time, so that the float64 in between stays small
COLUMNS, VALUES = 64, 1 << 22  # likewise: at most so many columns, unless they are short
#: root mean square of scaled features beyond which a clip is unlike all of train, where it is 1 on
#: average: other languages, corpora and devices stay below 5
FAR = 10.0


def check_scale(scale: Any) -> bool | str:
    """Return a scale setting that can be used.

    Examples
    --------
    >>> check_scale("speaker")
    'speaker'
    """
    if isinstance(scale, bool) or scale in SCALES:
        return scale
    raise InputError(
        f"`scale` is {scale!r}; expected one of true, false, {', '.join(SCALES)}."
        f"{nearest(str(scale), SCALES)}"
    )


class Scaling:
    """Learns from train, applies to any clips.

    Parameters
    ----------
    scale : bool or {"speaker", "language", "dataset"}
        True: mean and deviation of train; a column: of each group's own rows.

    Examples
    --------
    >>> clips = Manifest.from_rows({"id": str(i), "text": "x"} for i in range(4))
    >>> values = np.array([[0.0], [2.0], [4.0], [6.0]], np.float32)
    >>> scaled = Scaling(True).fit(values, clips).apply(values, clips)
    >>> [round(float(value), 2) for value in scaled.ravel()]
    [-1.34, -0.45, 0.45, 1.34]
    """

    def __init__(self, scale: bool | str = True) -> None:
        self.scale = check_scale(scale)
        self.is_quiet = False  # of several models of one member, one warns for all
        self.mean: np.ndarray | None = None
        self.deviation: np.ndarray | None = None
        self.within: GroupScaler | SpeakerScaler | None = None

    @property
    def by_row(self) -> bool:
        """Whether each row is scaled on its own, so that rows can stay on the disk."""
        return isinstance(self.scale, bool)

    def fit(self, values: np.ndarray | RowsOnDisk, clips: Manifest) -> Scaling:
        """Learn from the features ``(clips, features)`` of train, and its labels."""
        if isinstance(values, RowsOnDisk):
            self._fit_blocks(values)
        elif self.scale == "speaker":
            from .speaker_scaler import SpeakerScaler

            self.within = SpeakerScaler().fit(values, clips["label"], self._groups(clips))
        elif isinstance(self.scale, str):
            from .group_scaler import GroupScaler

            self.within = GroupScaler(unseen="transductive")
            self.within.fit(values, groups=self._groups(clips))
        elif self.scale:
            from sklearn.preprocessing import StandardScaler

            # some columns at a time: scikit-learn holds several copies in float64
            parts = min(-(-values.shape[1] // COLUMNS), -(-values.size // VALUES))
            sides = np.array_split(values, parts, axis=1)
            scalers: list[Any] = [StandardScaler().fit(side.astype(np.float64)) for side in sides]
            self.mean = np.concatenate([scaler.mean_ for scaler in scalers])
            self.deviation = np.concatenate([scaler.scale_ for scaler in scalers])
        return self

    def _fit_blocks(self, values: RowsOnDisk) -> None:
        """Learn mean and deviation in one pass, which also looks whether all rows are finite."""
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler()
        for _, block in values.blocks():
            if self.scale:
                scaler.partial_fit(block.astype(np.float64))
        if self.scale:
            self.mean, self.deviation = np.asarray(scaler.mean_), np.asarray(scaler.scale_)

    def apply(self, values: Any, clips: Manifest | None) -> Any:
        """Return scaled features ``(clips, features)`` float32; groups are columns of `clips`.

        Raises
        ------
        InputError
            Another width than train's; clips without a group, or a group of too few clips.
        """
        if self.within is not None and clips is not None:
            return self.within.transform(values, self._groups(clips)).astype(np.float32)
        if self.mean is None:
            return values
        if isinstance(values, RowsOnDisk):
            return values.changed(lambda block: self.apply(block, None))
        if values.shape[1] != len(self.mean):
            raise InputError(
                f"features are {values.shape[1]} wide; the model was trained on {len(self.mean)}"
            )
        found = np.empty(values.shape, np.float32)
        for start in range(0, len(values), BLOCK):
            rows = slice(start, start + BLOCK)
            found[rows] = (values[rows] - self.mean) / self.deviation
        return found

    def watched(self, scaled: Any) -> tuple[Any, np.ndarray]:
        """Return scaled ``(clips, features)``, and which rows are unlike train, ``(clips,)`` bool.

        A head answers them, too, but extrapolates: a feature that hardly varied in train (those
        above 4 kHz of telephone speech) is divided by a tiny deviation. Rows on the disk are known
        once they were read. Without scaling nothing is known of train.

        Examples
        --------
        >>> clips = Manifest.from_rows({"id": str(i), "text": "x"} for i in range(2))
        >>> scaling = Scaling(True).fit(np.array([[0.0], [2.0]], np.float32), clips)
        >>> _, far = scaling.watched(scaling.apply(np.array([[5.0], [50.0]], np.float32), None))
        >>> far.tolist()
        [False, True]
        """
        far = np.zeros(len(scaled), dtype=bool)

        def read(rows: Any) -> np.ndarray:
            values = scaled.read(rows) if isinstance(scaled, RowsOnDisk) else scaled[rows]
            far[rows] = np.nanmean(np.square(values, dtype=np.float64), axis=1) > FAR**2
            return values  # a missing side is NaN

        if not self.scale:
            return scaled, far
        if isinstance(scaled, RowsOnDisk):
            return RowsOnDisk(read, scaled.width, scaled.order), far
        for start in range(0, len(scaled), BLOCK):
            read(slice(start, start + BLOCK))
        return scaled, far

    def config(self) -> bool | dict[str, Any]:
        """Return its entry in ``config.json``."""
        if self.within is None:
            return bool(self.scale)
        return {"by": self.scale, **self.within.get_state()[0]}

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the tensors ``scaler.*``."""
        found: Mapping[str, np.ndarray] = {}
        if self.within is not None:
            found = self.within.get_state()[1]
        elif self.mean is not None and self.deviation is not None:
            found = {"mean": self.mean, "scale": self.deviation}
        return {f"scaler.{name}": value for name, value in found.items()}

    @classmethod
    def restore(cls, config: Any, arrays: Mapping[str, np.ndarray], head: Any, source: str) -> Any:
        """Rebuild it from ``config.json`` and tensors, checked against the head."""
        if isinstance(config, bool):
            made = cls(config)
            if config:
                made.mean, made.deviation = (
                    _restored(arrays, name, head, source) for name in ("mean", "scale")
                )
            return made
        from .group_scaler import GroupScaler
        from .speaker_scaler import SpeakerScaler

        made = cls(config.get("by", ""))
        kind = SpeakerScaler if made.scale == "speaker" else GroupScaler
        rest = {name: value for name, value in config.items() if name != "by"}
        own = {n.removeprefix("scaler."): a for n, a in arrays.items() if n.startswith("scaler.")}
        try:
            made.within = kind.from_state(rest, own)
        except InputError as error:
            raise InputError(f"{source}: {error}") from None
        if made.within.n_features_in_ != head.n_features_in_:
            raise InputError(f"{source}: the scaler and the head differ in width")
        return made

    def check_named(self, clips: Manifest) -> None:
        """Raise if clips name no language or corpus that they could be scaled within."""
        if self.scale in (True, False, "speaker"):
            return
        if blank := [c for c, name in zip(clips.ids, self._names(clips), strict=True) if not name]:
            raise InputError(
                f"features are scaled within each {self.scale}, and {len(blank)} of "
                f"{counted(len(clips), 'clip')} name none ({', '.join(map(repr, blank[:3]))}): a "
                f"single file cannot be scaled by its {self.scale}. Use a manifest with the column "
                f"{self.scale}"
            )

    def _names(self, clips: Manifest) -> np.ndarray:
        column = str(self.scale)
        return np.asarray(clips[column] if column in clips else [""] * len(clips)).astype(str)

    def _groups(self, clips: Manifest) -> np.ndarray:
        self.check_named(clips)
        names = self._names(clips)
        if (blank := int((names == "").sum())) and not self.is_quiet:
            said = "%d of %d clips name no speaker; they are scaled as those of an average speaker"
            log.warning(said, blank, len(clips))
        return names


def _restored(arrays: Mapping[str, np.ndarray], name: str, head: Any, source: str) -> np.ndarray:
    """Return mean or scale, float64, as wide as the head's input."""
    key = f"scaler.{name}"
    width = int(head.n_features_in_)
    if key not in arrays:
        raise InputError(f"{source}: scale is true, and the tensor {key} is missing")
    values = arrays[key]
    if values.shape != (width,) or values.dtype != np.float64 or not np.isfinite(values).all():
        raise InputError(
            f"{source}: {key} is {values.dtype} {values.shape}; expected finite float64 ({width},)"
        )
    if name == "scale" and not (values > 0).all():
        raise InputError(
            f"{source}: {key} holds {values.min():g}; expected deviations, all above 0: "
            "affekt saved no such model"
        )
    return values
