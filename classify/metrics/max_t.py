"""Test several pairs of systems together by exchanging them within whole groups (speakers).

If two systems are equally good, they may be exchanged within any speaker. All pairs are exchanged
together, so that the test knows how alike the pairs are: the corrected p of a pair is the share of
exchanges in which the largest statistic of the family is at least its own. That is the step-down
max-T procedure of Westfall and Young (1993). Unlike Holm's correction it does not multiply p, and
so it can find a difference with six speakers, where p cannot be smaller than 2 / 2^6.

The p of the unseen speaker (see `unseen_speaker`) is corrected by what the exchanges find for the
pair, corrected / p, times the number of comparisons that the family amounts to, but by their number
at most. One of the two alone is too little where few speakers are there and a system is erratic: 6
to 10 false alarms in 100 data sets instead of at most 6 (`benchmarks/claims_dev.py families`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .unseen_speaker import unseen_speaker

TIE = 1e-9  # equal statistics differ in the last digits
AT_ONCE = 4_000_000  # numbers of exchanges in memory


@dataclass(frozen=True)
class MaxT:
    """What the test found, one entry for each pair.

    Attributes
    ----------
    p
        Two-sided p of each pair on its own, `(pairs,)`.
    corrected
        p corrected for the family, `(pairs,)`: never below `p`. All claims below a level hold
        together.
    exact
        Whether all exchanges were tried; otherwise p is ``(1 + as extreme) / (1 + draws)``.
    """

    p: np.ndarray
    corrected: np.ndarray
    exact: bool


def exchanges(n_groups: int, n_draws: int = 10_000, random_state: int = 0) -> np.ndarray:
    """Return which groups are exchanged, `(exchanges, groups)` of +1 and -1, in bytes.

    All ``2 ** n_groups`` where they are at most `n_draws`, else as many drawn at random.

    Examples
    --------
    >>> exchanges(2).tolist()
    [[1, 1], [-1, 1], [1, -1], [-1, -1]]
    """
    if n_groups <= 60 and 2**n_groups <= n_draws:
        bits = (np.arange(2**n_groups)[:, None] >> np.arange(n_groups)) & 1
    else:
        raw = np.random.default_rng(random_state).bytes(n_draws * ((n_groups + 7) // 8))
        bits = np.unpackbits(np.frombuffer(raw, np.uint8).reshape(n_draws, -1), axis=1)
        bits = bits[:, :n_groups]
    return 1 - 2 * bits.astype(np.int8)


def exchanged(signs: np.ndarray, differences: np.ndarray) -> np.ndarray:
    """Return the sums over groups in each exchange, `(exchanges, columns)`, in little memory."""
    rows = max(1, AT_ONCE // max(signs.shape[1], 1))
    return np.concatenate(
        [signs[at : at + rows] @ differences for at in range(0, len(signs), rows)]
    )


def statistics(sums: np.ndarray, differences: np.ndarray) -> np.ndarray:
    """Return |sum| / root of the sum of squares over groups, 0 where all differences are 0.

    The sum of squares is the same in every exchange, so this orders as Student's t does.

    Parameters
    ----------
    sums
        Sums of the differences over groups, `(..., pairs)`.
    differences
        Difference of each group and pair, `(groups, pairs)`.
    """
    scale = np.sqrt((differences**2).sum(axis=0))
    return np.divide(np.abs(sums), scale, out=np.zeros_like(sums), where=scale > 0)


def max_t(
    differences: np.ndarray,
    worth: np.ndarray | None = None,
    within: np.ndarray | None = None,
    *,
    n_draws: int = 10_000,
    random_state: int = 0,
) -> MaxT:
    """Test whether pairs of systems differ, corrected for testing several.

    Parameters
    ----------
    differences
        Share of each group in the difference of each pair, `(groups, pairs)`; a column sums to the
        difference in UAR (or in any other measure that is a sum of shares of groups).
    worth, within
        Share of each group in the measure, `(groups,)`, and the variance of `differences` that the
        number of clips alone gives, `(groups, pairs)`, as for `unseen_speaker`. Without `worth` the
        exchanges decide alone.
    n_draws
        Random exchanges where there are more than that many in all.
    random_state
        Seed of the draws.

    Examples
    --------
    Six speakers, the first pair differs alike in each, the second not at all:

    >>> found = max_t(np.column_stack([np.full(6, 0.1), [0.1, -0.1, 0.1, -0.1, 0.1, -0.1]]))
    >>> found.corrected.tolist(), found.exact
    ([0.0625, 1.0], True)
    """
    signs = exchanges(len(differences), n_draws, random_state)
    exact = len(signs) == 2 ** min(len(differences), 60)
    observed = statistics(differences.sum(axis=0), differences)
    counts = np.zeros((2, len(observed)))
    block = max(1, AT_ONCE // max(1, *differences.shape))
    for start in range(0, len(signs), block):
        drawn = statistics(signs[start : start + block] @ differences, differences)
        counts += as_extreme(drawn.T, observed)
    p, single = p_values(counts, len(signs), exact=exact)
    corrected = step_down(single, observed)
    found = MaxT(p, corrected, exact)
    return found if worth is None else allow_for_unseen(found, differences, worth, within)


def allow_for_unseen(
    found: MaxT, differences: np.ndarray, worth: np.ndarray, within: np.ndarray | None = None
) -> MaxT:
    """Return what exchanges found with no p below that of the unseen speaker, as `max_t` does."""
    least = unseen_speaker(differences, worth, within)
    # never more than by the number of pairs (Bonferroni), which is always enough
    more = np.minimum(found.corrected / found.p * comparisons(differences), len(found.p))
    corrected = np.maximum(found.corrected, np.minimum(least * more, 1))
    return MaxT(np.maximum(found.p, least), corrected, found.exact)


def as_extreme(drawn: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Count the exchanges that are as extreme as what was observed.

    Parameters
    ----------
    drawn
        Statistics of each exchange, `(..., pairs, exchanges)`.
    observed
        `(..., pairs)`.

    Returns
    -------
    counts
        `(2, ..., pairs)`: exchanges in which the pair itself, and in which the largest of the pair
        and of those with a smaller statistic, is as extreme.
    """
    order = np.argsort(observed, axis=-1, kind="stable")  # smallest first
    least = observed - TIE
    rows = drawn.reshape(-1, drawn.shape[-1])  # whole rows are moved: many times faster
    first = np.arange(0, len(rows), observed.shape[-1]).reshape(*observed.shape[:-1], 1)
    largest = rows[first + order]
    for rank in range(1, observed.shape[-1]):
        np.maximum(largest[..., rank, :], largest[..., rank - 1, :], out=largest[..., rank, :])
    counts = np.empty((2, *observed.shape))
    counts[0] = (drawn >= least[..., None]).sum(axis=-1)
    least = np.take_along_axis(least, order, axis=-1)
    np.put_along_axis(counts[1], order, (largest >= least[..., None]).sum(axis=-1), axis=-1)
    return counts


def p_values(counts: np.ndarray, n_draws: int, *, exact: bool) -> np.ndarray:
    """Return the share of exchanges; of drawn ones the one that changes nothing counts too."""
    return counts / n_draws if exact else (1 + counts) / (1 + n_draws)


def step_down(single: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Return corrected p, `(..., pairs)`: never below that of a pair with a larger statistic."""
    order = np.argsort(observed, axis=-1, kind="stable")[..., ::-1]  # largest first
    corrected = np.empty_like(single)
    highest = np.maximum.accumulate(np.take_along_axis(single, order, axis=-1), axis=-1)
    np.put_along_axis(corrected, order, highest, axis=-1)
    return corrected


def comparisons(differences: np.ndarray) -> np.ndarray:
    """Return the number of independent pairs that the pairs of a family are equivalent to.

    Pairs squared over the sum of squared cosines between them: from 1, where all pairs differ in
    the same way, to their number. Pairs that do not differ at all do not count.

    Parameters
    ----------
    differences
        `(..., groups, pairs)`.

    Returns
    -------
    number
        `(...)`.

    Examples
    --------
    >>> float(comparisons(np.array([[0.1, 0.2], [0.1, 0.2]])).round(3))
    1.0
    >>> float(comparisons(np.array([[0.1, 0.1], [0.1, -0.1]])).round(3))
    2.0
    """
    unit, length = directions(differences)
    narrow = fewer_columns(unit)
    return independent((length > 0).sum(axis=-1), alike(narrow, narrow))


def independent(number: np.ndarray | int, squares: np.ndarray) -> np.ndarray:
    """Return `comparisons` of this many pairs with that sum of squared cosines."""
    return np.maximum(number**2 / np.maximum(squares, 1), 1.0)


def directions(differences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return columns of length 1, `(..., groups, pairs)`, and their lengths `(..., pairs)`.

    A column of zeros stays.
    """
    length = np.sqrt((differences**2).sum(axis=-2))
    return differences / np.where(length > 0, length, 1.0)[..., None, :], length


def alike(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the sum of the squared products of the columns of two matrices, `(...)`."""
    return ((np.swapaxes(a, -1, -2) @ b) ** 2).sum(axis=(-2, -1))


def fewer_columns(matrix: np.ndarray) -> np.ndarray:
    """Return a matrix with the same `alike` to any other, with no more columns than rows."""
    if matrix.shape[-1] <= matrix.shape[-2]:
        return matrix
    return np.swapaxes(np.linalg.qr(np.swapaxes(matrix, -1, -2), mode="r"), -1, -2)
