"""A recipe: one YAML file that describes a whole experiment, read into frozen dataclasses.

Every mistake is an error before any work, with file, line, what was expected and the nearest right
name. Paths are relative to the recipe. Reading one needs no head, no encoder and no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ....cache.errors import InputError, expected_one_of, in_shell, nearest
from ....cache.files.home_folder import at_home
from ....cache.manifest.column_names import BLANK_LABEL
from ....cache.manifest.tables import SUFFIXES
from ...data.located_yaml import Located, expanded, place, read_yaml
from ...models.scalers.scaling import check_scale
from .entries import PROBE, EncoderEntry, MemberEntry
from .keys_of_compare import compare_options, transfer_options
from .keys_of_split import split_options
from .names import check_folder_names

_TOP = (
    *("manifest", "root", "where", "task", "votes", "unlabelled", "cache", "encoders", "split"),
    *("members", "ensembles", "group", "compare", "transfer", "report"),
)
_ENCODER = {
    **dict.fromkeys(("name", "space", "modality", "revision", "pooling", "dtype"), Located.text),
    **dict.fromkeys(("device", "long", "silence", "damage", "prefix", "store_dtype"), Located.text),
    **dict.fromkeys(("max_seconds", "min_seconds"), partial(Located.number, least=0)),
    **dict.fromkeys(("dim", "longest", "max_length"), partial(Located.number, whole=True, least=1)),
    **dict.fromkeys(("classifier", "special_tokens", "normalise"), Located.flag),
    "allow_extra": lambda at, what: [one.text(what) for one in at.many()] and at.plain(),
}
#: of a member; any other key is a setting of its head
_MEMBER = ("head", "on", "layers", "combine", "scale", "seeds", "random_state", "refit", "votes")
_NEEDED = ["manifest", "task", "members"]
_COMBINE = ["concat", "mean", "mix"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A whole experiment, as `docs/guide/recipes.md` explains it key by key.

    Attributes
    ----------
    path : Path
        The file it was read from.
    manifest, cache, report : Path
    root : Path or None
        The folder that audio paths may not leave; the manifest's by default.
    where : dict of str to tuple of str
        Column -> values: only these clips take part.
    unlabelled : str
        What a clip without label means: "error", or "drop".
    task : str
        A named task, or the path of a task file.
    votes : Path, tuple of str or bool
        A table of votes, the manifest's columns of raters, or whether the manifest has columns of
        votes: members learn from all raters.
    encoders, members : dict
        By name, in the order of the recipe.
    split : dict
        Arguments of `affekt.classify.splits`.
    ensembles : tuple of str
    group : str
        The column whose values are resampled together for intervals.
    compare : dict
        More arguments of `affekt.classify.compare`, and ``learning_curve``.
    transfer : dict of str to str
        ``by``, the column of a transfer matrix, and perhaps ``member``; empty for none.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "recipe.yaml")
    >>> _ = path.write_text('''
    ... manifest: clips.csv
    ... task: valence
    ... encoders: {speech: spectral}
    ... members:
    ...   speech-lr: {head: logistic, on: speech, C: [0.01, 0.1, 1]}
    ... ''')
    >>> recipe = Recipe.read(path)
    >>> len(list(recipe.members["speech-lr"].candidates())), recipe.ensembles
    (3, ('mean', 'max'))
    """

    path: Path
    manifest: Path
    root: Path | None
    where: Mapping[str, tuple[str, ...]]
    task: str
    unlabelled: str
    votes: Path | tuple[str, ...] | bool
    cache: Path
    encoders: Mapping[str, EncoderEntry]
    split: Mapping[str, Any]
    members: Mapping[str, MemberEntry]
    ensembles: tuple[str, ...]
    group: str
    compare: Mapping[str, Any]
    transfer: Mapping[str, str]
    report: Path
    at: Located = field(repr=False, compare=False)

    @classmethod
    def read(cls, path: str | Path) -> Recipe:
        """Read a recipe.

        Parameters
        ----------
        path : path
            A YAML file.

        Returns
        -------
        Recipe

        Raises
        ------
        InputError
            Anything unknown, missing or of the wrong kind; with file and line.
        """
        path = at_home(path)
        if Path(path).suffix.lower() in set(SUFFIXES) - {".json"}:  # YAML reads JSON
            raise InputError(
                f"{path}: a table, expected a recipe; affekt init {in_shell(path)} writes one"
            )
        top = read_yaml(path)
        keys = top.mapping("the recipe", _TOP)
        for name in _NEEDED:
            if name not in keys:
                top.fail(f"the recipe has no {name!r}; expected at least {', '.join(_NEEDED)}")
        folder = Path(path).parent
        votes = _votes(top["votes"], folder) if "votes" in top else False
        encoders = _encoders(top["encoders"]) if "encoders" in top else {}
        task = top["task"].text("task")
        if task.endswith((".yaml", ".yml")):
            task = str(place(top["task"], "task", folder))
        unlabelled = _text(keys, "unlabelled", "error")
        if unlabelled not in BLANK_LABEL:
            keys["unlabelled"].fail(
                f"unlabelled is {unlabelled!r}; {expected_one_of(unlabelled, BLANK_LABEL)}"
            )
        return cls(
            path=Path(path),
            manifest=place(top["manifest"], "manifest", folder),
            root=place(top["root"], "root", folder) if "root" in top else None,
            where=_where(top["where"]) if "where" in top else {},
            task=task,
            unlabelled=unlabelled,
            votes=votes,
            cache=place(keys["cache"], "cache", folder) if "cache" in keys else folder / "my.cache",
            encoders=encoders,
            split=split_options(top["split"], folder) if "split" in top else {"scheme": "auto"},
            members=_members(top["members"], encoders, folder, bool(votes)),
            ensembles=_ensembles(keys),
            group=_text(keys, "group", "speaker"),
            compare=compare_options(top["compare"]) if "compare" in top else {},
            transfer=transfer_options(top["transfer"]) if "transfer" in top else {},
            report=place(keys["report"], "report", folder) if "report" in keys else folder / "out",
            at=top,
        )

    def gives(self, *keys: str) -> bool:
        """Whether a key is written down, and not left at its default."""
        at = self.at
        for key in keys:
            if not isinstance(at.value, dict) or key not in at.value:
                return False
            at = at.value[key]
        return True

    @property
    def allowed(self) -> dict[str, bool]:
        """What the split lets train and test share, as `Model.fit` takes it."""
        return {key: self.split[key] for key in self.split if key.startswith("allow_")}


def _text(keys: Mapping[str, Located], name: str, default: str) -> str:
    return keys[name].text(name) if name in keys else default


def _votes(at: Located, folder: Path) -> Path | tuple[str, ...] | bool:
    if at.value == []:
        at.fail("votes is an empty list; expected columns of raters")
    if isinstance(at.value, list):
        return tuple(item.text("a column of votes") for item in at.value)
    return at.flag("votes") if isinstance(at.value, bool) else place(at, "votes", folder)


def _ensembles(keys: Mapping[str, Located]) -> tuple[str, ...]:
    if "ensembles" not in keys:
        return ("mean", "max")
    what = "an ensemble, such as mean or mean of A + B,"
    return tuple(item.text(what) for item in keys["ensembles"].many())


def _where(at: Located) -> dict[str, tuple[str, ...]]:
    return {
        column: tuple(item.word(f"a value of {column!r}") for item in values.many())
        for column, values in at.mapping("where").items()
    }


def _encoders(at: Located) -> dict[str, EncoderEntry]:
    found = {}
    for name, entry in at.mapping("encoders").items():
        if isinstance(entry.value, str):
            options = {"name": expanded(entry, "an encoder")}
            found[name] = EncoderEntry(name, options, ("encoders", name))
            continue
        options = entry.mapping(f"encoder {name!r}", _ENCODER)
        if ("name" in options) == ("space" in options):
            entry.fail(
                f"encoder {name!r} needs either a name (built in, a folder, or a Hub id) or a "
                "space (of the cache)"
            )
        for key, value in options.items():
            if "space" in options and key != "space":
                value.fail(
                    f"encoder {name!r} is a space, whose embeddings are stored, so {key} has no "
                    "effect; leave it out"
                )
        plain = entry.read(f"encoder {name!r}", _ENCODER, f" of encoder {name!r}")
        if "name" in options:
            plain["name"] = expanded(options["name"], f"name of encoder {name!r}")
        found[name] = EncoderEntry(name, plain, ("encoders", name))
    if not found:
        at.fail("no encoder; expected at least one, for example speech: spectral")
    return found


def _members(
    at: Located, encoders: Mapping[str, EncoderEntry], folder: Path, has_votes: bool
) -> dict[str, MemberEntry]:
    entries = at.mapping("members")
    check_folder_names(entries)
    found = {
        name: _member(name, entry, encoders, folder, has_votes) for name, entry in entries.items()
    }
    if not found:
        at.fail("no member; expected at least one, for example lr: {head: logistic, on: speech}")
    return found


def _refuse_empty_list(what: str, at: Located, *, is_hidden: bool) -> None:
    """Refuse a list with no value to choose from, such as ``C: []``; also one of an encoder's."""
    for one in at.value.values() if isinstance(at.value, dict) else [at]:
        if one.value == []:
            linear = "; hidden: [[]] has no hidden layer" if is_hidden else ""
            one.fail(
                f"{what} is an empty list, with nothing to choose from; expected at least"
                f" one value{linear}"
            )


def _given_model(name: str, at: Located, folder: Path) -> MemberEntry:
    """Read a member that is a model already; `with_models` reads its folder."""
    keys = at.mapping(f"member {name!r}")
    for key, value in keys.items():
        if key != "model":
            value.fail(
                f"member {name!r} is a given model, which is not trained, so {key} has no effect; "
                "leave it out"
            )
    model = place(keys["model"], f"model of member {name!r}", folder)
    named = str(keys["model"].value)
    return MemberEntry(name, "", (), {}, model=model, named=named)


def _member(
    name: str,
    at: Located,
    encoders: Mapping[str, EncoderEntry],
    folder: Path,
    has_votes: bool,
) -> MemberEntry:
    keys = at.mapping(f"member {name!r}")
    if "model" in keys:
        return _given_model(name, at, folder)
    if not encoders:
        at.fail(
            f"the recipe has no 'encoders', which member {name!r} needs; expected for example "
            "encoders: {speech: spectral}"
        )
    if "on" not in keys:
        at.fail(f"member {name!r} has no 'on'; expected one of the encoders {', '.join(encoders)}")
    for key, value in keys.items():
        _refuse_empty_list(f"{key} of member {name!r}", value, is_hidden=key == "hidden")
    on = []
    for item in keys["on"].many():
        encoder = item.text("on")
        if encoder not in encoders:
            item.fail(f"member {name!r} is on {encoder!r}; {expected_one_of(encoder, encoders)}")
        if encoder in on:
            item.fail(f"member {name!r} is on {encoder!r} twice; expected each encoder once")
        on.append(encoder)
    if not on:
        keys["on"].fail(f"member {name!r} is on no encoder; expected {', '.join(encoders)}")
    if "votes" in keys and not has_votes:
        keys["votes"].fail(f"member {name!r}: the recipe has no votes; set votes: true at its top")
    head = _text(keys, "head", "")
    idle = [key for key in keys if key not in ("head", "on", "votes")]
    if not head and idle:
        keys[idle[0]].fail(
            f"member {name!r} has no head, so {idle[0]} has no effect; leave it out, or name"
            " a head." + nearest(idle[0], ["head"])
        )
    combine = [item.text("combine") for item in keys["combine"].many()] if "combine" in keys else []
    for word in combine:
        if word not in _COMBINE:
            keys["combine"].fail(f"combine is {word!r}; {expected_one_of(word, _COMBINE)}")
    return MemberEntry(
        name=name,
        head=head,
        on=tuple(on),
        layers=_layers(keys.get("layers"), on),
        combine=tuple(combine) or ("concat",),
        settings={
            key: tuple(item.plain() for item in value.many())
            for key, value in keys.items()
            if key not in _MEMBER
        },
        scale=keys["scale"].checked(check_scale) if "scale" in keys else True,
        seeds=keys["seeds"].number("seeds", whole=True, least=1) if "seeds" in keys else 1,
        random_state=keys["random_state"].number("random_state", whole=True, least=0)
        if "random_state" in keys
        else 0,
        refit="refit" in keys and keys["refit"].flag("refit"),
        votes=keys["votes"].flag("votes") if "votes" in keys else has_votes,
    )


def _layers(at: Located | None, on: list[str]) -> dict[str, tuple[Any, ...]]:
    if at is None:
        return dict.fromkeys(on, (-1,))
    if isinstance(at.value, dict):
        chosen = at.mapping("layers", on)
        return {name: _choices(chosen[name]) if name in chosen else (-1,) for name in on}
    return dict.fromkeys(on, _choices(at))


def _choices(at: Located) -> tuple[Any, ...]:
    """Read layers to choose from: 12 | all | probe | [6, 12] | [[6, 12], all]."""
    choices = []
    for item in at.many():
        if isinstance(item.value, list):
            choices.append(tuple(one.number("a layer", whole=True) for one in item.value))
        elif item.value in ("all", PROBE):
            choices.append(item.value)
        elif isinstance(item.value, str):
            item.fail(
                f"layers is {item.value!r}; expected a number, all, {PROBE}, or a list of these"
            )
        else:
            choices.append(item.number("a layer", whole=True))
    return tuple(choices)
