"""Shortcut audit: how well things that are not emotion predict the label on the same split.

A corpus whose angry clips come from one speaker, one microphone or one script can be solved without
hearing any emotion. Each factor is turned into a label by a plain rule, learnt on train: the label
that is most over-represented at this value. Its score on test, as of any system, is what a head can
reach that way. A factor is called a shortcut if its gain over chance (1 / labels) is at least 0.05
and labels dealt out at random over the test clips hardly ever give as much. That test asks whether
the factor goes with the label on these clips, so it works for one test speaker too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ....extract.inputs.words import words
from ...data.splitting import leaks
from ...data.splitting.schemes import Split
from ...metrics import measures as metrics
from ...metrics.bootstrap import resample
from ...metrics.scored_clips import cluster_names
from .audio_facts import NUMBERS, facts

N_BINS = 8
LEAST_GAIN = 0.05  # a smaller gain over chance does not explain the score of a head
LEVEL = 0.01  # about ten factors are tried
N_RESAMPLES = 2000
N_DEALS = 999
COLUMNS = {"corpus": "dataset", "language": "language"}


def audit(
    splits: Split | Sequence[Split],
    labels: Sequence[str],
    *,
    audio: bool = True,
    groups: str | None = "speaker",
    random_state: int = 0,
) -> dict[str, Any]:
    """Predict the label from each factor alone, learnt on train and scored on test.

    Parameters
    ----------
    splits
        The split, or all folds of one, with task labels; test clips of the folds are pooled.
    labels
        The task's labels.
    audio
        Also duration, loudness and sampling rate: from columns of that name or from the files,
        where they are available.
    groups, random_state
        What intervals resample, and the seed.

    Returns
    -------
    result
        `chance`; `factors`, each with UAR, interval, gain over chance, p, clips and whether it is a
        shortcut; `left_out`, factors that cannot be scored on this test set, and why. "script" is
        the exact text as a key, "words" a naive Bayes on words: what the words alone can give,
        which is a shortcut for speech members only.

    Examples
    --------
    >>> from affekt.cache import Manifest
    >>> rows = [{"id": f"c{i}", "text": "-", "label": "ab"[i % 2], "speaker": f"s{i % 4}"}
    ...         for i in range(80)]
    >>> clips = Manifest.from_rows(rows)
    >>> half = [clips.select(range(40)), clips.select([]), clips.select(range(40, 80))]
    >>> audit(Split(*half, "mine"), ["a", "b"], audio=False)["factors"]["speaker"]["uar"]["value"]
    1.0
    """
    folds = [splits] if isinstance(splits, Split) else list(splits)
    answers: dict[str, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {}
    left_out: dict[str, str] = {}
    for fold in folds:
        learn = metrics.codes(list(fold.train["label"]), labels)
        truth = metrics.codes(list(fold.test["label"]), labels)
        names = np.array(cluster_names(fold.test, groups), dtype=object)
        for factor, here, there in _factors(fold, audio, random_state):
            if why := _mute(here, there):
                left_out.setdefault(factor, why)
                continue
            asked = np.array([value is not None for value in there], dtype=bool)
            guess = answer(here, learn, there, len(labels))
            answers.setdefault(factor, []).append((truth[asked], guess[asked], names[asked]))
        texts, asked_texts = list(fold.train["text"]), list(fold.test["text"])
        asked = np.array([bool(text) for text in asked_texts], dtype=bool)
        if any(texts) and asked.any() and len(set(texts)) > 1:
            guess = word_scores(texts, learn, asked_texts, len(labels)).argmax(axis=1)
            answers.setdefault("words", []).append((truth[asked], guess[asked], names[asked]))
    rows = {}
    chance = 1 / len(labels)
    for factor, found in answers.items():
        truth, guess, names = (np.concatenate(column) for column in zip(*found, strict=True))
        if len(set(guess)) < 2:
            left_out.setdefault(factor, "the same answer for every test clip")
            continue
        drawn = resample(
            truth,
            {factor: guess},
            np.unique(names, return_inverse=True)[1],
            len(labels),
            n_resamples=N_RESAMPLES,
            random_state=random_state,
        )
        uar = drawn.score(factor, "uar")
        gain = uar["value"] - chance
        p = dealt(truth, guess, len(labels), random_state=random_state)
        rows[factor] = {
            "uar": uar,
            "gain": gain,
            "p": p,
            "clips": len(truth),
            "shortcut": bool(gain >= LEAST_GAIN and p < LEVEL),
        }
    return {
        "chance": chance,
        "least_gain": LEAST_GAIN,
        "level": LEVEL,
        "factors": rows,
        "left_out": {name: why for name, why in left_out.items() if name not in rows},
    }


def dealt(truth: np.ndarray, guess: np.ndarray, n_labels: int, *, random_state: int = 0) -> float:
    """Return how often labels dealt out at random over the clips give at least this UAR.

    Examples
    --------
    >>> truth = np.tile([0, 1], 20)
    >>> dealt(truth, truth, 2), dealt(truth, np.zeros(40, int), 2)
    (0.001, 1.0)
    """
    support = np.bincount(truth, minlength=n_labels)
    worth = np.divide(1, support, out=np.zeros(n_labels), where=support > 0)
    rng = np.random.default_rng(random_state)
    observed = worth @ np.bincount(truth[guess == truth], minlength=n_labels)
    mixed = truth.copy()
    reached = 1
    for _ in range(N_DEALS):
        rng.shuffle(mixed)
        hits = np.bincount(mixed[guess == mixed], minlength=n_labels)
        reached += worth @ hits >= observed - 1e-12
    return float(reached / (N_DEALS + 1))


def _mute(here: Sequence[Any], there: Sequence[Any]) -> str:
    """Return why a factor cannot be scored on test; blank if it can."""
    known = {value for value in here if value is not None}
    asked = {value for value in there if value is not None}
    if not known or not asked:
        return "not known"
    if len(known) < 2:
        return "one value in train"
    numbers = all(isinstance(value, float | int) for value in known | asked)
    if not numbers and not known & asked:
        return "no value of test is in train"
    return ""


def answer(
    here: Sequence[Any], learn: np.ndarray, there: Sequence[Any], n_labels: int
) -> np.ndarray:
    """Answer with the label that is most over-represented at a clip's value.

    Parameters
    ----------
    here, learn
        Value (text, a number, or None for unknown) and label code of each train clip. Numbers are
        cut into eight bins with equally many clips.
    there
        Value of each test clip.
    n_labels
        Size of the label set.

    Returns
    -------
    guess
        Label codes, `(clips,)`; values that train does not have get label 0.

    Examples
    --------
    >>> answer(["x", "x", "y"], np.array([1, 1, 0]), ["x", "y", "z"], 2).tolist()
    [1, 0, 0]
    """
    if all(isinstance(v, float | int) or v is None for v in [*here, *there]):
        known = np.array([v for v in here if v is not None], dtype=float)
        edges = np.unique(np.quantile(known, np.linspace(0, 1, N_BINS + 1)[1:-1]))
        here, there = _bins(here, edges), _bins(there, edges)
    values = sorted({v for v in here if v is not None})
    place = {value: row for row, value in enumerate(values)}
    counts = np.zeros((len(values) + 1, n_labels))
    for value, label in zip(here, learn, strict=True):
        if value is not None:
            counts[place[value], label] += 1
    total = counts.sum(axis=0)
    share = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    best = share.argmax(axis=1)  # the last row, of values never seen, has 0 everywhere: label 0
    return best[[place.get(value, len(values)) for value in there]]


def _bins(values: Sequence[Any], edges: np.ndarray) -> list[int | None]:
    return [None if v is None else int(np.searchsorted(edges, v, "right")) for v in values]


def _factors(
    fold: Split, audio: bool, random_state: int
) -> Iterator[tuple[str, list[Any], list[Any]]]:
    """Yield the name of each factor and its values in train and test; None is unknown."""
    train, test = fold.train, fold.test
    for name, column in COLUMNS.items():
        if column in train and column in test:
            yield name, _text(train[column]), _text(test[column])
    yield "speaker", _text(leaks.speakers(train)), _text(leaks.speakers(test))
    script = [_text([leaks.plain(text) for text in part["text"]]) for part in (train, test)]
    yield "script", script[0], script[1]
    found = [facts(part, read=audio, random_state=random_state) for part in (train, test)]
    for name in NUMBERS:
        yield name, found[0][name], found[1][name]


def _text(values: Sequence[Any] | np.ndarray) -> list[str | None]:
    return [str(value) or None for value in values]


def word_scores(
    texts: Sequence[str], labels: np.ndarray, asked: Sequence[str], n_labels: int
) -> np.ndarray:
    """Learn words and pairs of words of train texts, and score other texts.

    Labels count equally, however many clips they have.

    Parameters
    ----------
    texts, labels
        Text and label code of each train clip; blank texts are left out.
    asked
        Texts to score.
    n_labels
        Size of the label set; labels that are not in train get probability 0.

    Returns
    -------
    proba
        `(asked, n_labels)`.

    Examples
    --------
    >>> proba = word_scores(["so good", "so bad"], np.array([1, 0]), ["good"], 2)
    >>> proba.argmax(axis=1).tolist()
    [1]
    """
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.naive_bayes import MultinomialNB

    filled = np.array([bool(text.strip()) for text in texts])
    hashed = HashingVectorizer(
        tokenizer=words,
        token_pattern=None,  # pyright: ignore[reportArgumentType]
        lowercase=False,
        ngram_range=(1, 2),
        n_features=2**16,
        alternate_sign=False,
        norm="l1",
    )

    def counted(texts: Sequence[str]) -> Any:
        different, at = np.unique(np.array(texts, dtype=object), return_inverse=True)
        return hashed.transform(different)[at]  # speakers may all say the same sentences

    counts = counted([text for text in texts if text.strip()])
    head = MultinomialNB(alpha=0.01, fit_prior=False).fit(counts, labels[filled])
    proba = np.zeros((len(asked), n_labels))
    proba[:, head.classes_] = head.predict_proba(counted(asked))
    return proba
