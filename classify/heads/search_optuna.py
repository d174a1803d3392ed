"""The optuna strategy of `search`; optuna is an extra."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import clone as _clone
from sklearn.model_selection import cross_val_score as _cross_val_score
from sklearn.pipeline import Pipeline

from ...cache.errors import InputError

clone: Any = _clone  # scikit-learn has no types
cross_val_score: Any = _cross_val_score


class OptunaSearch:
    """Propose settings by optuna's tree-structured Parzen estimator, seeded.

    Folds of one proposal run in parallel; proposals follow one another, so that the result does
    not depend on the number of processes. Made by `search(strategy="optuna")`.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        settings: Mapping[str, Any],
        n_iter: int,
        folds: Sequence[tuple[np.ndarray, np.ndarray]],
        scorer: Callable[[Any, Any, Any], float],
        random_state: int,
        n_jobs: int | None,
    ) -> None:
        try:
            import optuna  # type: ignore[reportMissingImports]
        except ImportError:
            raise InputError(
                "`strategy='optuna'` needs optuna, which is not installed: "
                "pip install 'affekt[search]'"
            ) from None
        self._optuna = optuna
        self.pipeline, self.settings, self.n_iter = pipeline, settings, n_iter
        self.folds, self.scorer = folds, scorer
        self.random_state, self.n_jobs = random_state, n_jobs

    def fit(self, X: Any, y: Any) -> Self:
        """Search, then fit the best settings to all rows."""
        optuna = self._optuna
        X, y = np.asarray(X), np.asarray(y)
        sampler = optuna.samplers.TPESampler(seed=self.random_state)
        level = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            study = optuna.create_study(direction="maximize", sampler=sampler)
            study.optimize(lambda trial: self._score(trial, X, y), n_trials=self.n_iter)
        finally:
            optuna.logging.set_verbosity(level)
        self.best_params_ = self._values(study.best_trial.params)
        self.best_score_ = float(study.best_value)
        trials = [self._values(trial.params) for trial in study.trials]
        scores = np.array([trial.value for trial in study.trials])
        self.cv_results_ = {"params": trials, "mean_test_score": scores}
        self.best_estimator_ = self._with(self.best_params_).fit(X, y)
        self.classes_ = self.best_estimator_.classes_
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the labels that the best settings predict."""
        return self.best_estimator_.predict(X)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probabilities that the best settings predict."""
        return self.best_estimator_.predict_proba(X)

    def _score(self, trial: Any, X: np.ndarray, y: np.ndarray) -> float:
        for name, values in self.settings.items():
            if hasattr(values, "rvs"):
                low, high = values.support()
                trial.suggest_float(name, float(low), float(high), log=bool(low > 0))
            else:
                trial.suggest_categorical(name, list(range(len(values))))
        scores = cross_val_score(
            self._with(self._values(trial.params)),
            *(X, y),
            scoring=self.scorer,
            cv=self.folds,
            n_jobs=self.n_jobs,
            error_score="raise",
        )
        return float(scores.mean())

    def _values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return settings; those with listed values were proposed by position."""
        return {
            name: value if hasattr(self.settings[name], "rvs") else self.settings[name][value]
            for name, value in params.items()
        }

    def _with(self, params: Mapping[str, Any]) -> Any:
        return clone(self.pipeline).set_params(**{f"head__{k}": v for k, v in params.items()})
