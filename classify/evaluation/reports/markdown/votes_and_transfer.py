"""Sections of a report: what the raters said, and what is learnt here and tested there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....data.escape import md
from .markdown_tables import score, table

Data = Mapping[str, Any]


def votes_section(found: Data) -> str:
    """Return how the raters agree, and the scores against what they said."""
    raters = found["raters"]
    rows = []
    for name, one in found["systems"].items():
        cells = [score(one[key]) for key in ("brier", "kl", "jsd")]
        shares = ("agreement", "agreement_clear", "agreement_split")
        scores = ["-" if one[key] is None else f"{one[key]:.3f}" for key in shares]
        rows.append([md(name), *cells, *scores])
    header = ["system", "Brier", "KL", "JSD", "agreement", "on clear clips", "on split clips"]
    return (
        f"## What the raters said\n\nEach test clip has {raters['votes']:.1f} votes on average. "
        f"The raters' leading label has {raters['agreement']:.3f} of a clip's votes, which is the "
        "most that *agreement* (the share of raters who chose the label predicted) can be; the "
        f"entropy of the votes is {raters['entropy']:.3f} nats. "
        f"{100 * raters['split']:.0f} % of the clips "
        "are split: the leading label has less than 0.6. Brier score, Kullback-Leibler and "
        "Jensen-Shannon divergence compare probabilities with the shares of votes; lower is "
        "better, 0 is perfect.\n\n" + table(header, rows)
    )


def transfer_section(found: Data) -> str:
    """Return the transfer matrix of a member, with what its cells are."""
    member = f" of {md(found['member'])}" if "member" in found else ""
    measure = found.get("measure", "uar").upper()  # not in the JSON of the first release
    return (
        f"## Transfer{member} by {md(found['by'])}\n\n{measure}; rows are trained "
        "on, columns tested on. Off the diagonal a model learns from the clips of one value "
        "(where settings are chosen or a network stops early, a fifth of the speakers is its dev) "
        "and is tested on all clips of the other; the diagonal is cross-validated over speakers, "
        "so that every cell is of unseen voices. The split of the recipe plays no part here.\n\n"
        + transfer_table(found)
    )


def transfer_table(found: Data) -> str:
    """Return a transfer matrix as a Markdown table."""
    names = found["names"]
    rows = [
        [
            md(here),
            *(score(found["cells"][here][there][found.get("measure", "uar")]) for there in names),
        ]
        for here in names
    ]
    return table(["", *map(md, names)], rows)
