"""What decides a tokenizer's output besides its class: the files it reads, and optional packages.

A tokenizer may keep its merges in a file of its own (``bpe.codes``), and may cut words or spell
emoji with a package that is installed here and not there (emoji, fugashi, sacremoses ...). Both
are in the spec, so that rows of two tokenizers are never in one space.
"""

from __future__ import annotations

import ast
import inspect
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from affekt.versions import version_of

from ....cache.files.reading import read_object

#: in every installation, or of no effect on tokens
_ALWAYS = {"numpy", "torch", "transformers", "tokenizers", "huggingface_hub", "google", "tqdm"}
_ALWAYS |= {"sentencepiece", "regex", "tiktoken", "safetensors", "packaging", "jinja2", "requests"}


def further_files(tokenizer: Any, folder: Path, known: tuple[str, ...]) -> list[Path]:
    """Return the files that the tokenizer's class reads and that are not in `known`, by name."""
    names = {str(name) for name in getattr(type(tokenizer), "vocab_files_names", {}).values()}
    return [folder / name for name in sorted(names - set(known)) if (folder / name).is_file()]


def absent_files(folder: Path) -> str:
    """Name the files of the tokenizer's class that a folder without ``tokenizer.json`` misses.

    Examples
    --------
    >>> import tempfile
    >>> absent_files(Path(tempfile.mkdtemp()))
    ''
    """
    from transformers.models.auto.tokenization_auto import tokenizer_class_from_name

    settings = folder / "tokenizer_config.json"
    if (folder / "tokenizer.json").is_file() or not settings.is_file():
        return ""
    name = read_object(settings, lenient=True).get("tokenizer_class")
    kind = tokenizer_class_from_name(name) if isinstance(name, str) else None
    names = dict(getattr(kind, "vocab_files_names", {}))
    names.pop("tokenizer_file", None)
    return ", ".join(sorted(n for n in names.values() if not (folder / n).is_file()))


def optional_packages(tokenizer: Any) -> dict[str, str]:
    """Return the packages that the tokenizer's code imports, with their versions.

    Parameters
    ----------
    tokenizer : transformers tokenizer

    Returns
    -------
    dict of str to str
        Import name -> version, ``"installed"`` where it has none, or ``"absent"``. Empty for
        almost every tokenizer.

    Examples
    --------
    >>> optional_packages(object())
    {}
    """
    names: set[str] = set()
    for kind in type(tokenizer).__mro__:
        if kind.__module__.startswith("transformers.models."):
            path = Path(inspect.getfile(kind))
            for source in {path, path.with_name("tokenization_utils.py")}:
                if source.is_file():
                    names |= _imported(source)
    return {name: _version(name) for name in sorted(names)}


def _imported(source: Path) -> set[str]:
    """Top-level names of the packages that a file imports anywhere, without the usual ones."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.split(".")[0])
    return found - _ALWAYS - set(sys.stdlib_module_names)


def _version(name: str) -> str:
    if name in sys.modules and sys.modules[name] is None:  # importing it is forbidden
        return "absent"
    if found := version_of(name.replace("_", "-")):
        return found
    if name in sys.modules:
        return str(getattr(sys.modules[name], "__version__", "installed"))
    return "installed" if find_spec(name) is not None else "absent"
