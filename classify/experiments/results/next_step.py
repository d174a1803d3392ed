"""What to do after a run: how new clips are predicted, and what the chosen system needs of them."""

from __future__ import annotations

from ....cache.errors import in_shell, listed
from ...models.folders.run_folder import default_system, read_comparison, systems_without
from ..recipes.prepared import Prepared


def next_step(ready: Prepared) -> str:
    """Return the command that predicts new clips with what the finished run chose."""
    folder = ready.recipe.report
    if (folder / "repeats.json").is_file():
        folder = folder / "repeat-1"  # each repeat has models of its own
    command = f"affekt predict {in_shell(folder)}"
    data = read_comparison(folder / "comparison.json")
    chosen = default_system(data)
    if chosen is None:
        return f"New clips: {command} --system NAME FILE..."
    entries = [ready.recipe.members[name] for name in data["systems"][chosen]["members"]]
    sources = {name: ready.sources[name] for entry in entries for name in entry.on}
    if imported := [name for name, source in sources.items() if source.is_imported]:
        return (
            f"{chosen} cannot predict new clips: the vectors of {listed(imported)} were imported. "
            f"Clips of that import, labelled or not: {command} TABLE --cache "
            f"{in_shell(ready.cache.path)}"
        )
    needed: set[str] = set()
    for entry in entries:
        kinds = {sources[name].spec.modality for name in entry.on}
        accepts_missing = "predict" in entry.settings.get("missing", ())
        needed |= set() if len(kinds) > 1 and accepts_missing else kinds
    if needed == {"text"}:
        return f"New clips: {command} --text WORDS, or a table with a column text"
    if needed == {"audio", "text"}:
        alone = [
            f"{command} --system {in_shell(name)} FILE..."
            for name in systems_without(folder, "text")
        ]
        return (
            f"New clips: {command} FILE... --transcribe, or a table with a column text: {chosen} "
            f"needs audio and text{''.join(f'. Without text: {one}' for one in alone[:1])}"
        )
    return f"New clips: {command} FILE..."
