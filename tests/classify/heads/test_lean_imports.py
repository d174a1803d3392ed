"""A command trains linear heads without scipy.stats and pandas; both work when they are used."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from affekt.classify.heads import LogisticHead
from affekt.classify.heads.lean_imports import lean
from scipy import stats
from sklearn.preprocessing import QuantileTransformer

PROGRAM = """
import json, sys
from affekt.classify.heads.lean_imports import in_own_process, lean
in_own_process()
import affekt.classify.experiments.run
import affekt.classify.evaluation.compare
from affekt.classify.heads import LogisticHead
import numpy as np
X = np.random.default_rng(0).standard_normal((40, 3))
head = LogisticHead().fit(X, np.where(X[:, 0] > 0, "yes", "no"))
before = [name for name in ("scipy.stats", "pandas", "torch") if name in sys.modules]
from sklearn._loss.link import gmean
from sklearn.preprocessing import QuantileTransformer
normal = QuantileTransformer(n_quantiles=9, output_distribution="normal").fit_transform(X)
import pandas, scipy.stats
from scipy.stats import norm
print(json.dumps({
    "before": before, "coef": head.coef_.tolist(), "normal": normal.tolist(),
    "gmean": gmean([1.0, 4.0]), "cdf": norm.cdf(0.0), "frame": len(pandas.DataFrame({"a": [1]})),
    "same": scipy.stats.norm is norm,
}))
"""


@pytest.fixture(scope="module")
def found():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout)


def test_neither_is_imported(found):
    assert found["before"] == []


def test_same_numbers(found):
    X = np.random.default_rng(0).standard_normal((40, 3))
    head = LogisticHead().fit(X, np.where(X[:, 0] > 0, "yes", "no"))
    np.testing.assert_array_equal(found["coef"], head.coef_)
    to_normal = QuantileTransformer(n_quantiles=9, output_distribution="normal")
    np.testing.assert_array_equal(found["normal"], to_normal.fit_transform(X))


def test_both_are_there_on_request(found):
    assert found["gmean"] == stats.gmean([1.0, 4.0])
    assert found["cdf"] == 0.5
    assert found["frame"] == 1
    assert found["same"]


def test_a_program_that_imports_affekt_is_left_alone(monkeypatch):
    monkeypatch.delitem(sys.modules, "pandas", raising=False)
    with lean():
        assert sys.modules.get("pandas", ...) is ...


def test_ctrl_c_waits_until_the_library_is_whole():
    def interrupted():
        with lean():
            signal.raise_signal(signal.SIGINT)
            steps.append("imported")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    steps: list[str] = []
    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert steps == ["imported"]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_import_as_well():
    def work():
        with lean():
            done.append(1)

    done: list[int] = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [1]
