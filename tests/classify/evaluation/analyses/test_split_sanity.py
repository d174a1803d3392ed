"""Audits where little is there to see: one test speaker, a shift, exchanged labels."""

from __future__ import annotations

import numpy as np
from affekt.classify.evaluation.analyses.shortcuts import dealt
from affekt.classify.evaluation.analyses.split_sanity import check_relation

LABELS = ["a", "b", "c"]


def test_the_audit_has_a_p_for_one_test_speaker():
    truth = np.tile([0, 1, 2], 20)
    assert dealt(truth, truth, 3) == 0.001
    flips = np.random.default_rng(0).integers(0, 3, 60)
    assert 0.01 < dealt(truth, flips, 3) < 1


def test_a_shift_from_the_middle_and_exchanged_labels_are_seen():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 400)
    guess = np.where(rng.random(400) < 0.75, truth, rng.integers(0, 3, 400))
    dev = truth[:200], guess[:200]
    assert check_relation("lr", *dev, truth, guess, LABELS) == []
    late = truth.copy()
    late[250:] = np.roll(truth, 1)[250:]
    [text] = [t for t in check_relation("lr", *dev, late, guess, LABELS) if "shifted" in t]
    row = int(text.split("from row ")[1].split()[0])
    assert 235 <= row <= 270
    assert "by -1 rows" in text
    crossed = np.array([1, 0, 2])[truth]
    found = check_relation("lr", *dev, crossed, guess, LABELS)
    assert any("a and b look swapped" in text for text in found)


def test_speakers_who_differ_are_no_reason_to_doubt_the_labels():
    """All clips of a speaker are right or wrong; clips taken as independent raise an alarm."""
    truth = np.random.default_rng(0).integers(0, 2, 100)
    speakers = np.repeat(range(5), 20)
    good, bad = np.isin(speakers, [0, 1, 2, 3]), np.isin(speakers, [0])
    dev, test = (np.where(right, truth, 1 - truth) for right in (good, bad))

    def doubts(*answers, **groups):
        found = " ".join(
            check_relation("lr", truth, answers[0], truth, answers[1], LABELS[:2], **groups)
        )
        return "does not follow" in found, "look swapped" in found

    known = {"dev_groups": speakers, "groups": speakers}
    assert doubts(dev, test) == (True, True)
    assert doubts(dev, test, **known) == (False, False)
    assert doubts(truth, 1 - truth, **known) == (True, True)
    one = {**known, "groups": np.zeros(100, int)}
    assert doubts(truth, 1 - truth, **one) == (False, False)
