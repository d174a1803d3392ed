"""One division of clips into train, dev and test: its hash, its file, its counts."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affekt.notebook import shown

from ....cache.files.atomic_writes import write_whole
from ....cache.files.home_folder import at_home
from ..escape import csv_text, defused
from . import leaks

if TYPE_CHECKING:
    from ....cache.manifest import Manifest

PARTS = ("train", "dev", "test")


@dataclass(frozen=True)
class Split:
    """One division of the clips.

    Attributes
    ----------
    train, dev, test
        The parts; dev may be empty, train and test never are.
    scheme
        How it was made.
    name
        Its name among several: "fold 2", "deu"; blank where there is only one.
    warnings
        What the leak checks found and was asked for by name, and what could not be checked.
    """

    train: Manifest
    dev: Manifest
    test: Manifest
    scheme: str
    name: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def parts(self) -> dict[str, Manifest]:
        """The parts by name."""
        return {"train": self.train, "dev": self.dev, "test": self.test}

    def having(self, ids: Set[str]) -> Split:
        """Return the split with those of its clips that are among `ids`."""
        parts = {}
        for name, clips in self.parts.items():
            has_all = ids >= set(clips.ids)  # the usual case, and quick
            parts[name] = clips if has_all else clips.select([i for i in clips.ids if i in ids])
        return replace(self, **parts)

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of the part of each id, whatever the order of the rows."""
        digest = hashlib.sha256()
        for row in sorted(self.rows()):
            digest.update(("\0".join(row) + "\n").encode())
        return digest.hexdigest()

    def write(self, path: str | PathLike[str]) -> None:
        """Write `split.csv`: id and part of each clip."""
        write_rows(Path(at_home(path)), self.rows())

    def describe(self) -> dict[str, Any]:
        """Return hash, warnings and, for each part, clips, speakers and labels, for reports."""
        parts = {
            name: {
                "clips": len(clips),
                "speakers": len(set(leaks.speakers(clips)) - {""}),
                "labels": dict(sorted(Counter(clips["label"]).items())),
            }
            for name, clips in self.parts.items()
        }
        return {
            "scheme": self.scheme,
            "name": self.name,
            "hash": self.hash,
            "parts": parts,
            "warnings": list(self.warnings),
        }

    def _repr_html_(self) -> str:
        parts = self.describe()["parts"]
        rows = [[name, one["clips"], one["speakers"], one["labels"]] for name, one in parts.items()]
        title = " ".join(["Split", self.scheme, *([self.name] if self.name else [])])
        return shown(title, {}, ("part", "clips", "speakers", "labels"), rows)

    def rows(self) -> Iterator[tuple[str, str]]:
        """Yield id and part of each clip."""
        for part, clips in self.parts.items():
            for clip_id in clips.ids:
                yield clip_id, part


def write_rows(
    path: Path, rows: Iterable[Sequence[str]], header: Sequence[str] = ("id", "split")
) -> None:
    """Write rows of ids and parts, and of folds where the header has them."""
    write_whole(path, csv_text([header, *(map(defused, row) for row in rows)]))
