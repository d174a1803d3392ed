"""Does test follow the relation of train and dev? Published splits sometimes do not.

EmoEvent's published Spanish test labels, for one, are shifted against its texts. What predicts dev
well has to predict test as well, or something is wrong with the labels, the ids or the order.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from ...data.splitting.findings import Finding, Kind
from ...metrics import measures as metrics
from ...metrics.intervals import t_quantile

SHIFTS = (-3, -2, -1, 1, 2, 3)
CLEAR = 4.0  # standard errors
LEVEL = 0.99  # of Student's t, which asks for more with fewer than seven groups


def check_relation(
    name: str,
    dev_truth: np.ndarray,
    dev_guess: np.ndarray,
    truth: np.ndarray,
    guess: np.ndarray,
    labels: Sequence[str],
    *,
    dev_groups: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> list[str]:
    """Warn where what predicts dev does not predict test, or predicts shifted test labels.

    Parameters
    ----------
    name
        What predicted, for the message.
    dev_truth, dev_guess
        True and predicted label codes of dev.
    truth, guess
        The same of test, in the order of the manifest.
    labels
        The label set.
    dev_groups, groups
        Group code (speaker) of each clip of dev and of test; without, clips are independent.

    Returns
    -------
    warnings
        A collapse: dev UAR clearly above chance, test UAR less than half as far above it, and the
        difference beyond four standard errors over groups (more where groups are few, and never
        with one). A shift: from some row on, labels moved by 1 to 3 rows fit clearly better. An
        exchange: with two labels swapped test fits clearly better, while dev does not.

    Examples
    --------
    >>> truth = np.arange(300) * 7 // 3 % 3
    >>> check_relation("words", truth, truth, truth, truth, "abc")
    []
    >>> shifted = np.roll(truth, 1)
    >>> print(check_relation("words", truth, truth, shifted, truth, "abc")[0][:60])
    the test labels look shifted from row 1 of 300 on: words fit
    """
    n_labels = len(labels)
    chance = 1 / n_labels
    dev, dev_error, few_dev = _uar(dev_truth, dev_guess, n_labels, dev_groups)
    test, error, few = _uar(truth, guess, n_labels, groups)
    dev_matrix = metrics.confusion_of_codes(dev_truth, dev_guess, n_labels)
    warnings = _shifted(name, truth, guess, n_labels)
    warnings += _exchanged(name, dev_matrix, truth, guess, groups, labels)
    above = dev - chance
    far = max(few, few_dev) * np.hypot(error, dev_error)
    collapsed = test - chance < above / 2 and dev - test > far
    if above > few_dev * dev_error and collapsed:
        warnings.append(
            f"test does not follow train and dev: {name} reaches UAR {dev:.3f} on dev but "
            f"{test:.3f} on test (chance {chance:.3f}); look at the test labels"
        )
    return [Finding(text, Kind.LABELS) for text in warnings]


def _shifted(name: str, truth: np.ndarray, guess: np.ndarray, n_labels: int) -> list[str]:
    """Look for a row from which on the labels fit better when they are moved.

    A row that is lost or doubled in the middle of a file shifts what follows. Every start is tried,
    so the gain must be beyond five standard errors.
    """
    support = np.bincount(truth, minlength=n_labels)
    worth = 1 / np.maximum(support, 1) / max(1, (support > 0).sum())
    best: tuple[float, int, int, float] = (5.0, 0, 0, 0.0)
    for shift in SHIFTS:
        moved = np.roll(truth, shift)
        gain = worth[moved] * (guess == moved) - worth[truth] * (guess == truth)
        total, spread = np.cumsum(gain[::-1])[::-1], np.cumsum(gain[::-1] ** 2)[::-1]
        score = total / np.sqrt(spread + worth[support > 0].max() ** 2)
        start = int(score.argmax())
        if score[start] > best[0]:
            best = (float(score[start]), shift, start, float(total[start]))
    if not best[1]:
        return []
    _, shift, start, gained = best
    return [
        f"the test labels look shifted from row {start + 1} of {len(truth)} on: {name} fits them "
        f"better if they are moved by {shift:+d} rows (UAR higher by {gained:.3f})"
    ]


def _exchanged(
    name: str,
    dev: np.ndarray,
    truth: np.ndarray,
    guess: np.ndarray,
    groups: np.ndarray | None,
    labels: Sequence[str],
) -> list[str]:
    """Look for two labels that are swapped on test: confused there, but not on dev."""
    warnings = []
    test = metrics.confusion_of_codes(truth, guess, len(labels))
    for a, b in combinations(range(len(labels)), 2):
        crossed, straight = test[a, b] + test[b, a], test[a, a] + test[b, b]
        if crossed <= straight or dev[a, b] + dev[b, a] >= dev[a, a] + dev[b, b]:
            continue
        both = np.isin(truth, (a, b)) & np.isin(guess, (a, b))
        error, times = _error_of_sum(np.where(truth == guess, -1.0, 1.0) * both, groups)
        if crossed - straight > times * max(error, np.sqrt(crossed + straight)):
            warnings.append(
                f"{labels[a]} and {labels[b]} look swapped on test: {name} confuses {crossed} of "
                f"their clips and gets {straight} right; on dev it does not"
            )
    return warnings


def _uar(
    truth: np.ndarray, guess: np.ndarray, n_labels: int, groups: np.ndarray | None
) -> tuple[float, float, float]:
    """Return UAR over the classes that occur, its standard error, and how many of them count."""
    table = metrics.per_class(metrics.confusion_of_codes(truth, guess, n_labels))
    there = table["support"] > 0
    recall, support = table["recall"][there], table["support"][there]
    spread = (recall * (1 - recall) + 0.25 / support) / support
    alone = float(np.sqrt(spread.sum()) / there.sum())
    moved = ((guess == truth) - table["recall"][truth]) / table["support"][truth] / there.sum()
    error, times = _error_of_sum(moved, groups)
    return float(recall.mean()), max(error, alone), times


def _error_of_sum(each: np.ndarray, groups: np.ndarray | None) -> tuple[float, float]:
    """Return the standard error of a sum over clips if groups are drawn, and how many count."""
    _, codes = np.unique(np.arange(len(each)) if groups is None else groups, return_inverse=True)
    sums = np.bincount(codes, each)
    n = len(sums)
    if n < 2:
        return float("inf"), CLEAR
    return float(np.sqrt(n * sums.var(ddof=1))), max(CLEAR, t_quantile(LEVEL, n))
