"""Keys over everything that decides a report, or the numbers of one member: has it changed?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ....cache.files.kept_results import programs
from ....cache.files.reading import json_sha256
from ...data.splitting.old_split import continue_split
from ...data.votes import task_votes
from ...evaluation.analyses.audio_facts import NUMBERS
from ..members.member_folder import EPOCH

if TYPE_CHECKING:
    from ....cache.manifest import Manifest
    from ...data.splitting.split import Split
    from ..recipes.entries import MemberEntry
    from ..recipes.prepared import Prepared


def run_key(ready: Prepared) -> str:
    """Return a key over everything that decides the report, the sources of affekt included."""
    recipe = ready.recipe
    return json_sha256(
        {
            "programs": programs(),
            "task": ready.task.hash,
            "clips": ready.labelled.hash,
            **(
                {} if ready.task.kind == "labels" else {"rated": ready.task.answers(ready.labelled)}
            ),
            "split": _split_key(ready),
            "members": {name: one.describe() for name, one in recipe.members.items()},
            "ensembles": recipe.ensembles,
            "group": recipe.group,
            "columns": json_sha256(_named_columns(ready)),
            "compare": dict(recipe.compare),
            "left_out": ready.left_out,
            **({"transfer": dict(recipe.transfer)} if recipe.transfer else {}),
            **(
                {"votes": json_sha256(task_votes(ready.labelled, ready.task).counts.tolist())}
                if recipe.votes
                else {}
            ),
            "stored": {
                name: {
                    "spec": ready.sources[name].spec.key,
                    "rows": json_sha256([[clip, one.digests[clip]] for clip in sorted(one.there)]),
                    "failed": sorted(one.failed.items()),
                }
                for name, one in ready.stored.items()
            },
        }
    )


def _split_key(ready: Prepared) -> dict[str, Any]:
    """Return the options of the split; of a file the division, wherever the file is."""
    options = dict(ready.recipe.split)
    if "file" in options:
        seed = str(options.get("random_state", 0))
        _, folds = continue_split(ready.labelled, options["file"], seed, needs_train=False)
        options["file"] = [[name, parts.tolist()] for name, parts, _ in folds]
    return options


def _named_columns(ready: Prepared) -> dict[str, list[str]]:
    """Return the values of columns that count and are not in the hash of clips.

    Those that the recipe names, and what the audit of shortcuts takes from columns.
    """
    recipe = ready.recipe
    names = {
        *NUMBERS,
        recipe.group,
        *recipe.compare.get("by", ()),
        recipe.transfer.get("by", recipe.group),
    }
    names |= {recipe.split[key] for key in ("column", "group") if key in recipe.split}
    names |= {recipe.compare["crossed"]} if "crossed" in recipe.compare else set()
    return {
        name: [str(value) for value in ready.labelled[name]]
        for name in sorted(names)
        if name in ready.labelled
    }


WORDS = {  # what decides a member, in words for the user
    "epoch": "the version of affekt",
    "member": "its settings",
    "specs": "an encoder",
    "task": "the task",
    "split": "the split",
    "parts": "its clips, their order, labels or embeddings",
}


def member_key(
    entry: MemberEntry, ready: Prepared, parts: Sequence[Split]
) -> tuple[str, dict[str, str]]:
    """Return a key over everything that decides the numbers of a member, and its parts in words."""
    stored = ready.stored

    def rows(clips: Manifest) -> list[Any]:
        digests = [[stored[name].digests.get(clip) for name in entry.on] for clip in clips.ids]
        within = [list(clips[entry.scale])] if entry.scale in clips.columns else []
        shares = [task_votes(clips, ready.task).counts.tolist()] if entry.votes else []
        return [clips.ids, ready.task.answers(clips), digests, *within, *shares]

    decides = {
        "epoch": EPOCH,
        "member": entry.describe(),
        "specs": [ready.sources[name].spec.key for name in entry.on],
        "task": ready.task.hash,
        "split": {key: v for key, v in ready.recipe.split.items() if key != "file"},
        "parts": [[rows(part.train), rows(part.dev), rows(part.test)] for part in parts],
    }
    made_of = {WORDS[name]: json_sha256(value)[:16] for name, value in decides.items()}
    return json_sha256(decides), made_of
