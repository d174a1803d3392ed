"""How a model shows itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from affekt.notebook import shown

if TYPE_CHECKING:
    from ..data.task import Task
    from .needs import Needs


class _Model(Protocol):
    head: Any
    head_: Any
    task: Task
    needs: list[Needs]
    record: dict[str, Any]


class Shown:
    """What a terminal and a notebook show of a model: head, task, features, training."""

    def __repr__(self: _Model) -> str:
        inputs = ", ".join(need.spec.name for need in self.needs)
        state = "trained" if self.head_ is not None else "not trained"
        return f"<Model of {type(self.head).__name__} on {inputs} for {self.task.name}, {state}>"

    def _repr_html_(self: _Model) -> str:
        head = self.head_ if self.head_ is not None else self.head
        facts = {
            "head": head,
            "task": f"{self.task.name}: {', '.join(self.task.labels)}",
            **{
                f"features of {need.spec.name}": f"layers {', '.join(map(str, need.layers))}"
                + (f", {need.combine}" if len(need.layers) > 1 else "")
                for need in self.needs
            },
        }
        rows = [
            [part, one["clips"], one["speakers"]]
            for part in ("train", "dev")
            if (one := self.record.get(part))
        ]
        header = ("trained on", "clips", "speakers") if rows else ()
        return shown(repr(self), facts, header, rows)
