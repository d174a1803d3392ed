"""The public names of a package: imported when they are first used, and written once."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Callable
from typing import Any


def public_names(
    package: str,
) -> tuple[list[str], Callable[[str], Any], Callable[[], list[str]]]:
    """Make a package import lazily what its ``if TYPE_CHECKING:`` block imports.

    Type checkers read the block as it stands, and `import affekt.classify` does not load torch.

    Parameters
    ----------
    package
        ``__name__`` of the package, whose ``__init__.py`` has the block.

    Returns
    -------
    The package's ``__all__``, ``__getattr__`` and ``__dir__``.

    Examples
    --------
    >>> if TYPE_CHECKING:
    ...     from .space import Space as Space
    >>> __all__, __getattr__, __dir__ = public_names(__name__)  # doctest: +SKIP
    """
    spec = sys.modules[package].__spec__
    source = spec.loader.get_source(package)  # type: ignore[union-attr]
    home = {
        alias.name: f".{statement.module}"
        for block in ast.parse(source).body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
        if alias.asname == alias.name
    }
    names = sorted(home)

    def get(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(home[name], package), name)

    return names, get, lambda: list(names)
