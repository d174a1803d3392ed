"""Does test follow the relation of train and dev? Published splits are not always what they say.

EmoEvent's published Spanish test labels, for one, are shifted against its texts. What predicts dev
well has to predict test as well, or something is wrong with the labels, the ids or the order.
"""

from __future__ import annotations

import numpy as np

from . import metrics

SHIFTS = (-3, -2, -1, 1, 2, 3)


def check_relation(
    name: str,
    dev_truth: np.ndarray,
    dev_guess: np.ndarray,
    truth: np.ndarray,
    guess: np.ndarray,
    n_labels: int,
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
    n_labels
        Size of the label set.

    Returns
    -------
    warnings
        A collapse: dev UAR clearly above chance, test UAR less than half as far above it, and the
        difference beyond four standard errors. A shift: labels moved by 1 to 3 rows fit clearly
        better.

    Examples
    --------
    >>> truth = np.arange(300) * 7 // 3 % 3
    >>> check_relation("words", truth, truth, truth, truth, 3)
    []
    >>> shifted = np.roll(truth, 1)
    >>> print(check_relation("words", truth, truth, shifted, truth, 3)[0][:72])
    the test labels look shifted: words fits them better when they are moved
    """
    chance = 1 / n_labels
    dev, dev_error = _uar(dev_truth, dev_guess, n_labels)
    test, error = _uar(truth, guess, n_labels)
    warnings = []
    for shift in SHIFTS:
        moved, moved_error = _uar(np.roll(truth, shift), guess, n_labels)
        if moved - test > 4 * np.hypot(error, moved_error):
            warnings.append(
                f"the test labels look shifted: {name} fits them better when they are moved by "
                f"{shift:+d} rows (UAR {moved:.3f} instead of {test:.3f})"
            )
    above = dev - chance
    collapsed = test - chance < above / 2 and dev - test > 4 * np.hypot(error, dev_error)
    if above > 4 * dev_error and collapsed:
        warnings.append(
            f"test does not follow train and dev: {name} reaches UAR {dev:.3f} on dev but "
            f"{test:.3f} on test (chance {chance:.3f}); look at the test labels"
        )
    return warnings


def _uar(truth: np.ndarray, guess: np.ndarray, n_labels: int) -> tuple[float, float]:
    """Return UAR over the classes that occur, and its standard error with clips independent."""
    table = metrics.per_class(metrics.confusion_of_codes(truth, guess, n_labels))
    there = table["support"] > 0
    recall, support = table["recall"][there], table["support"][there]
    spread = (recall * (1 - recall) + 0.25 / support) / support
    return float(recall.mean()), float(np.sqrt(spread.sum()) / there.sum())
