"""How a manifest shows itself, and its table as a pandas DataFrame."""

from __future__ import annotations

from typing import Any, Protocol

from affekt.notebook import frame, shown


class _Table(Protocol):
    source: str

    @property
    def columns(self) -> tuple[str, ...]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, name: str, /) -> Any: ...


class InNotebooks:
    """What a notebook shows of a table of clips."""

    def to_frame(self: _Table) -> Any:
        """Return a pandas DataFrame with the columns of the table; `from_frame` reads it back.

        Raises
        ------
        InputError
            pandas is not installed.
        """
        return frame({name: self[name] for name in self.columns})

    def __repr__(self: _Table) -> str:
        return f"Manifest({self.source}, {len(self)} clips, {', '.join(self.columns)})"

    def _repr_html_(self: _Table) -> str:
        columns = [self[name][:10] for name in self.columns]
        title = f"Manifest {self.source}: {len(self):,} clips"
        return shown(title, {}, self.columns, zip(*columns, strict=True), len(self))
