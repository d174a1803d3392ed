"""What a valence checkpoint is, read from the names and shapes of its tensors.

The published card contradicts itself (768 or 1024 inputs, width 256 or 512), so no number is taken
from it. The encoder's tensors are recognised by the names that `torch.nn.TransformerEncoderLayer`
gives them, whatever stands before; the CLS token and the positions by ``cls`` (or ``class_token``)
and ``pos`` in theirs; patch embedding and head by the only way in which their shapes fit together,
and by ``patch``, ``embed`` or ``input`` where two ways would. Anything else is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations

from ....cache.errors import InputError

Shape = tuple[int, ...]
PUBLISHED = (768, 1024)  # input widths, where the tensors leave two
LAYER = re.compile(r"(?P<stem>.*?)layers\.(?P<number>\d+)\.(?P<part>.+)")
EMBEDS = re.compile(r"patch|embed|input", re.IGNORECASE)


@dataclass(frozen=True)
class Layout:
    """Sizes, and which tensor plays which part.

    Attributes
    ----------
    cls_has_position : bool
        Positions are added to CLS as well, or to the patches alone.
    stem : str
        The prefix of ``layers.0.``.
    names : dict of str to str
        ``patch``, ``cls``, ``positions``, ``first``, ``last`` (the two layers of the head), and
        where they exist ``final_norm`` (after the encoder) and ``head_norm`` (before the head).
    """

    patch_size: int
    patches: int
    d_model: int
    n_blocks: int
    feedforward: int
    hidden: int
    classes: int
    cls_has_position: bool
    stem: str
    names: Mapping[str, str]

    def widths(self) -> range:
        """Input widths that fill these patches, zero-padded to a multiple of the patch size."""
        return range((self.patches - 1) * self.patch_size + 1, self.patches * self.patch_size + 1)


def read_layout(shapes: Mapping[str, Shape], width: int | None = None) -> Layout:
    """Recognise a valence checkpoint.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        Every tensor of the file.
    width : int, optional
        Input features, if known (from the scaler). Without it the positions leave two answers,
        with and without a position for CLS; one of them must be 768 or 1024.
    """
    rest = dict(shapes)
    stem, n_blocks, d_model, feedforward = _take_encoder(rest)
    names: dict[str, str] = {}
    if f"{stem}norm.weight" in rest and rest[f"{stem}norm.weight"] == (d_model,) and stem:
        names["final_norm"] = _take_pair(rest, f"{stem}norm", (d_model,))
    names["cls"] = _take_token(rest, d_model)
    names["positions"], rows = _take_positions(rest, d_model)
    patch, first, last = _take_linears(rest, d_model)
    names |= {"patch": patch, "first": first, "last": last}
    if norm := _head_norm(rest, first, d_model):
        names["head_norm"] = norm
    if rest:
        raise InputError(
            f"tensors that have no part in a patch transformer: {', '.join(sorted(rest)[:8])}; "
            f"found {names}"
        )
    patch_size = shapes[f"{patch}.weight"][1]
    with_cls = _cls_has_position(rows, patch_size, width)
    return Layout(
        patch_size=patch_size,
        patches=rows - 1 if with_cls else rows,
        d_model=d_model,
        n_blocks=n_blocks,
        feedforward=feedforward,
        hidden=shapes[f"{first}.weight"][0],
        classes=shapes[f"{last}.weight"][0],
        cls_has_position=with_cls,
        stem=stem,
        names=names,
    )


def layer_shapes(d_model: int, feedforward: int) -> dict[str, Shape]:
    """Name the twelve tensors of a `torch.nn.TransformerEncoderLayer`.

    Examples
    --------
    >>> layer_shapes(4, 8)["linear1.weight"]
    (8, 4)
    """
    shapes: dict[str, Shape] = {
        "self_attn.in_proj_weight": (3 * d_model, d_model),
        "self_attn.in_proj_bias": (3 * d_model,),
        "self_attn.out_proj.weight": (d_model, d_model),
        "self_attn.out_proj.bias": (d_model,),
        "linear1.weight": (feedforward, d_model),
        "linear1.bias": (feedforward,),
        "linear2.weight": (d_model, feedforward),
        "linear2.bias": (d_model,),
    }
    for norm in ("norm1", "norm2"):
        shapes |= {f"{norm}.weight": (d_model,), f"{norm}.bias": (d_model,)}
    return shapes


def _take_encoder(rest: dict[str, Shape]) -> tuple[str, int, int, int]:
    """Take out the encoder layers; return their prefix, their number and two sizes."""
    matches = {name: LAYER.fullmatch(name) for name in rest}
    blocks: dict[tuple[str, int], dict[str, str]] = {}
    for name, match in matches.items():
        if match:
            blocks.setdefault((match["stem"], int(match["number"])), {})[match["part"]] = name
    stems = sorted({stem for stem, _ in blocks})
    if len(stems) != 1:
        raise InputError(
            f"{len(stems)} stacks of layers ({', '.join(stems) or 'none'}); expected one encoder, "
            "named as torch.nn.TransformerEncoder names it (layers.0.self_attn.in_proj_weight ...)"
        )
    stem, numbers = stems[0], sorted(number for _, number in blocks)
    if numbers != list(range(len(numbers))):
        raise InputError(f"encoder layers {numbers}; expected 0, 1, 2 ... without a gap")
    first = blocks[stem, 0]
    if "linear1.weight" not in first or len(rest[first["linear1.weight"]]) != 2:
        raise InputError(f"{stem}layers.0 holds no linear1.weight; it is not a torch encoder layer")
    feedforward, d_model = rest[first["linear1.weight"]]
    expected = layer_shapes(d_model, feedforward)
    for number in numbers:
        found = {part: rest[name] for part, name in blocks[stem, number].items()}
        wrong = sorted(
            part for part in {*found, *expected} if found.get(part) != expected.get(part)
        )
        if wrong:
            part = wrong[0]
            raise InputError(
                f"{stem}layers.{number}.{part} is {found.get(part, 'missing')}; expected "
                f"{expected.get(part, 'no such tensor')} with d_model {d_model}, feedforward "
                f"{feedforward}"
            )
        for name in blocks[stem, number].values():
            del rest[name]
    return stem, len(numbers), d_model, feedforward


def _take_token(rest: dict[str, Shape], d_model: int) -> str:
    allowed = ((1, 1, d_model), (1, d_model), (d_model,))
    found = [
        name
        for name, shape in rest.items()
        if re.search("cls|class_token", name.lower()) and shape in allowed
    ]
    return _only(rest, found, f"'cls' in their name and a shape of {allowed[0]}")


def _take_positions(rest: dict[str, Shape], d_model: int) -> tuple[str, int]:
    found = [
        name
        for name, shape in rest.items()
        if "pos" in name.lower()
        and (len(shape) == 2 or (len(shape) == 3 and shape[0] == 1))
        and shape[-1] == d_model
    ]
    rows = {name: rest[name][-2] for name in found}
    name = _only(rest, found, f"'pos' in their name and a shape of (1, n, {d_model})")
    return name, rows[name]


def _only(rest: dict[str, Shape], found: list[str], what: str) -> str:
    if len(found) != 1:
        listed = ", ".join(found) or f"the rest: {', '.join(sorted(rest)[:8])}"
        raise InputError(f"{len(found)} tensors with {what} ({listed}); expected one")
    del rest[found[0]]
    return found[0]


def _take_pair(rest: dict[str, Shape], name: str, bias: Shape) -> str:
    if rest.get(f"{name}.bias") != bias:
        raise InputError(f"{name}.bias is {rest.get(f'{name}.bias', 'missing')}; expected {bias}")
    del rest[f"{name}.weight"], rest[f"{name}.bias"]
    return name


def _take_linears(rest: dict[str, Shape], d_model: int) -> tuple[str, str, str]:
    """Distinguish the patch embedding from the two layers of the head."""
    weights = {
        name.removesuffix(".weight"): shape
        for name, shape in rest.items()
        if name.endswith(".weight") and len(shape) == 2
    }
    ways = [
        (patch, first, last)
        for patch, first, last in permutations(weights, 3)
        if weights[patch][0] == d_model
        and weights[first][1] == d_model
        and weights[last][1] == weights[first][0]
    ]
    if len(ways) > 1:  # shapes fit in several ways: the names have to say which
        ways = [
            way
            for way in ways
            if EMBEDS.search(way[0]) and not any(EMBEDS.search(name) for name in way[1:])
        ]
    if len(weights) != 3 or len(ways) != 1:
        listed = ", ".join(f"{name}.weight {shape}" for name, shape in sorted(weights.items()))
        raise InputError(
            f"{len(ways)} ways to read {listed or 'no linear layers'} as a patch embedding "
            f"({d_model}, patch), and a head (hidden, {d_model}), (classes, hidden); expected one"
        )
    for name in ways[0]:
        _take_pair(rest, name, (weights[name][0],))
    return ways[0]


def _head_norm(rest: dict[str, Shape], first: str, d_model: int) -> str | None:
    """A LayerNorm inside the head's Sequential, before its first layer; elsewhere it is refused."""
    match = re.fullmatch(r"(.+\.)(\d+)", first)
    if not match:
        return None
    for number in range(int(match[2])):
        name = f"{match[1]}{number}"
        if rest.get(f"{name}.weight") == (d_model,):
            return _take_pair(rest, name, (d_model,))
    return None


def _cls_has_position(rows: int, patch_size: int, width: int | None) -> bool:
    """Decide whether `rows` positions are for CLS and patches, or for patches alone."""
    if width is not None:
        patches = -(-width // patch_size)
        if patches not in (rows - 1, rows):
            raise InputError(
                f"{width} inputs make {patches} patches of {patch_size}; the file has {rows} "
                f"positions: expected {patches + 1} (with CLS) or {patches}"
            )
        return patches == rows - 1
    likely = [with_cls for with_cls in (True, False) if (rows - with_cls) * patch_size in PUBLISHED]
    if len(likely) != 1:
        raise InputError(
            f"{rows} positions of patches of {patch_size}: {(rows - 1) * patch_size} inputs with a "
            f"position for CLS, or {rows * patch_size} without; give the scaler, or `input_dim`"
        )
    return likely[0]
