"""Seeds of a member whose networks train at once, as on a GPU: the results of each alone."""

from __future__ import annotations

import json
from collections import defaultdict

import numpy as np
from affekt.classify import Predictions, run
from affekt.classify.experiments.demo.corpus import write_corpus
from affekt.classify.experiments.members import trainer
from affekt.classify.heads.training.stacked import at_once, stacked_training

RECIPE = """\
manifest: clips.csv
task: valence
cache: my.cache
encoders: {{speech: spectral}}
split: {{scheme: group-kfold, n_splits: 3, dev_size: 0.2}}
members:
  one: {{head: mlp, on: speech, seeds: 3, max_epochs: 4, early_stopping: true, patience: 1}}
  choice: {{head: mlp, on: speech, seeds: 3, max_epochs: 3, hidden: [[8], [16]], refit: true}}
ensembles: []
compare: {{n_resamples: 200, learning_curve: false}}
report: {report}
"""


def test_seeds_of_a_member_train_at_once_and_as_alone(tmp_path, monkeypatch):
    stacks, epochs = [], defaultdict(list)

    class Counted(stacked_training.StackedTraining):
        def __init__(self, networks, *given):
            stacks.append(len(networks))
            super().__init__(networks, *given)

    def on_member(name, state, score=None, left=None):
        if left is not None:
            epochs[name].append(left)

    monkeypatch.setattr(at_once, "_makes_kernels", lambda device: True)
    monkeypatch.setattr(stacked_training, "StackedTraining", Counted)
    write_corpus(tmp_path, voices=6, clips_per_voice=6)
    for report in ("together", "alone"):
        recipe = tmp_path / f"{report}.yaml"
        recipe.write_text(RECIPE.format(report=report), encoding="utf-8")
        run(recipe, n_jobs=1, on_member=on_member)
        if report == "together":
            # in each fold: all seeds of the first member; of the second each value to choose from,
            # then the other seeds of the chosen one. Last, all clips.
            assert stacks == [3] * 3 + [1, 1, 2] * 3 + [1]
            assert epochs["one"][-1] >= 0
            stacks.clear()
            monkeypatch.setattr(trainer, "train_at_once", lambda models: False)
    assert stacks == [1] * 22
    for member in ("one", "choice"):
        together, alone = (tmp_path / one / "members" / member for one in ("together", "alone"))
        names = [path.relative_to(alone) for path in sorted(alone.rglob("*.csv"))]
        assert len(names) == 5
        for name in names:
            found, expected = Predictions.read(together / name), Predictions.read(alone / name)
            assert found.ids == expected.ids
            np.testing.assert_allclose(found.proba, expected.proba, rtol=0, atol=1e-5)
        records = [json.loads((one / "member.json").read_text()) for one in (together, alone)]
        assert records[0]["parts"] == records[1]["parts"]
