"""Which predictions are probably wrong: a calibrated probability for every sample, label or not, with its reason.

A logistic regression on what `audit.features` says of pictures, fitted on the labelled samples of a run and read out of
fold: no sample's risk knows its own label. How much anything beside the model's own confidence may say is chosen by
what it adds on samples that the fit has not seen, so that a run with few errors stays with confidence.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from audit.risk_inputs import (
    CONFIDENCE,
    Evidence,
    Likelihood,
    Pull,
    frequent_classes,
    guessed_likelihoods,
    inputs_of,
    likelihoods_of,
    usual_maps,
)
from audit.risk_words import reasons_of
from audit.tables import RISKS, frame
from audit.types import Interval

FEWEST_ERRORS = 20
"""Wrong predictions, and right ones, that a regression is fitted to; with fewer, confidence is all there is."""
N_FOLDS = 10
_SOLVER, _UNHELD = "newton-cholesky", 1e6
"""Quick where there are more samples than inputs; a penalty that holds nothing back."""
_SAYS = (0.0, 0.1, 0.3, 1.0)
"""Scales tried for all inputs beside confidence: at 0 confidence stands alone, small ones cost more to use."""


@dataclass(frozen=True)
class Calibrated:
    """A regression and what its scores (log odds) turned out to mean on samples that it had not seen."""

    regression: Pipeline
    calibration: LogisticRegression

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """float64 (N,), that the prediction is wrong, of inputs (N, D)."""
        scores = self.regression.decision_function(x)
        return np.asarray(self.calibration.predict_proba(scores[:, None])[:, 1])


@dataclass(frozen=True)
class RiskModel:
    """A fitted estimate of risk.

    Attributes:
        pulls: known pulls of confounds.
        likelihoods: what they mean in the run.
        usual: mean coarse map (N_CELLS * N_CELLS,) by predicted class.
        things, classes: what has inputs of its own.
        high: the nine-tenth quantile of each input in the run, for words.
        regression: from inputs to the probability of an error; None where there were too few errors.
        note: why there is no regression; empty where there is one.
        n: samples of the run.
        variance: mean of risk * (1 - risk) over them, for the interval of expected accuracy.
    """

    pulls: tuple[Pull, ...]
    likelihoods: tuple[Likelihood, ...]
    usual: Mapping[str, np.ndarray]
    things: tuple[str, ...]
    classes: tuple[str, ...]
    high: Mapping[str, float]
    regression: Calibrated | None
    note: str
    n: int
    variance: float

    def inputs(self, evidence: Evidence, likelihoods: Sequence[Likelihood]) -> pd.DataFrame:
        """The regression's inputs of some pictures, by `inputs_of`."""
        return inputs_of(evidence, self.pulls, likelihoods, self.usual, self.things, self.classes)


def fit_risks(
    evidence: Evidence, labels: Sequence[str], pulls: Sequence[Pull]
) -> tuple[RiskModel, pd.DataFrame]:
    """The estimate of risk of a labelled run, and the risks of its own samples out of fold.

    Where confounds are known to pull, what goes with them (which class is named, what is seen) stays out of the
    regression: it tells errors only in data that bind them alike. What they mean in these data is counted instead.

    Args:
        evidence: of N samples.
        labels: class names (N,), in the order of `evidence.features`.
        pulls: what confounds are known to do, by `pulls_of`.

    Returns:
        The model, fitted on all samples, for `predict_risks`; and the table RISKS, in which each sample's risk comes
        from a fit on other samples. With fewer than FEWEST_ERRORS wrong or right predictions risk is 1 - confidence,
        without the pulls where there are any.

    Source: Platt 1999, Probabilistic outputs for support vector machines, for the calibration.
    """
    features, names = evidence.features, np.asarray(labels, dtype=object)
    is_wrong = names != features["predicted"].to_numpy(dtype=object)
    pulled = {pull.thing for pull in pulls}
    model = RiskModel(
        pulls=tuple(pulls),
        likelihoods=likelihoods_of(evidence, pulls, names),
        usual=usual_maps(features),
        things=tuple(sorted(set(map(str, evidence.things["thing"].unique())) - pulled)),
        classes=() if pulls else frequent_classes(features),
        high={},
        regression=None,
        note=_too_few(is_wrong),
        n=len(features),
        variance=math.nan,
    )
    inputs = model.inputs(evidence, model.likelihoods)
    model = replace(model, high={str(name): float(value) for name, value in inputs.quantile(0.9).items()})
    if model.note:
        risks = _unfitted(model, evidence)
    else:
        x = inputs.to_numpy()
        says = _scale_of_the_rest(x, is_wrong)
        regression = _fitted(x, is_wrong, says)
        model = replace(model, regression=regression)
        # Confidence alone needs two numbers, which one label in N hardly moves; folds would but shuffle its ranks.
        is_folded = says > 0 or bool(pulls)
        risks = (
            _out_of_fold(model, evidence, names, is_wrong, says) if is_folded else regression.probabilities(x)
        )
    if len(risks):
        model = replace(model, variance=float(np.mean(risks * (1 - risks))))
    return model, _table(model, evidence, inputs, risks)


def _out_of_fold(
    model: RiskModel, evidence: Evidence, labels: np.ndarray, is_wrong: np.ndarray, says: float
) -> np.ndarray:
    """float64 (N,): each sample's risk by likelihoods and a regression of others.

    Folds are dealt by sample id, so that risks do not depend on the order of the dataset.
    """
    order = np.argsort(evidence.features["sample_id"].to_numpy(dtype=object), kind="stable")
    risks = np.empty(len(order))
    for rest, held_out in _folds(0).split(order, is_wrong[order]):
        known, asked = order[rest], order[held_out]
        x = model.inputs(
            evidence, likelihoods_of(_rows(evidence, known), model.pulls, labels[known])
        ).to_numpy()
        risks[asked] = _fitted(x[known], is_wrong[known], says).probabilities(x[asked])
    return risks


def _unfitted(model: RiskModel, evidence: Evidence) -> np.ndarray:
    """Risks without a regression: 1 - confidence, and where confounds pull, 1 - confidence without the pull."""
    if not model.pulls:
        return np.asarray(1 - evidence.features["confidence"].to_numpy())
    inputs = model.inputs(evidence, guessed_likelihoods(evidence, model.pulls))
    return np.asarray(1 / (1 + np.exp(inputs[CONFIDENCE].to_numpy())))


def _rows(evidence: Evidence, chosen: np.ndarray) -> Evidence:
    """Some pictures, for `likelihoods_of`; the other tables are left as they are."""
    return replace(evidence, features=evidence.features.iloc[chosen])


def _too_few(is_wrong: np.ndarray) -> str:
    """Why no regression can be fitted; empty where one can."""
    n_wrong = int(is_wrong.sum())
    n, kind = min((n_wrong, "wrong"), (len(is_wrong) - n_wrong, "right"))
    if n >= FEWEST_ERRORS:
        return ""
    return f"only {n} of {len(is_wrong)} predictions are {kind}, too few to learn more from than confidence"


def predict_risks(model: RiskModel, evidence: Evidence) -> pd.DataFrame:
    """The table RISKS of pictures without labels, that the estimate was not fitted on.

    What a confound means among them is guessed from all of them together, so a folder is best given whole.

    Args:
        model: of `fit_risks`.
        evidence: of the pictures, by `features.score_features` of the same classifier.
    """
    inputs = model.inputs(evidence, guessed_likelihoods(evidence, model.pulls))
    if model.regression is None:
        risks = _unfitted(model, evidence)
    elif len(inputs):
        risks = model.regression.probabilities(inputs.to_numpy())
    else:
        risks = np.empty(0)
    return _table(model, evidence, inputs, risks)


def expected_accuracy(model: RiskModel, risks: np.ndarray, level: float) -> Interval:
    """Share of the predictions that are probably right, with its interval; NaN throughout for no picture.

    The interval holds the chance of these pictures and that of the run's samples, which the calibration rests on.
    It cannot hold what neither confidence nor maps show: pictures of a kind that the run has not.

    Args:
        model: of `fit_risks`.
        risks: float (N,), of `predict_risks`.
        level: confidence, such as 0.95.
    """
    if len(risks) == 0:
        return Interval(math.nan, math.nan, math.nan)
    mean = float(1 - np.mean(risks))
    variance = float(np.mean(risks * (1 - risks))) / len(risks) + model.variance / model.n
    margin = float(stats.norm.ppf((1 + level) / 2)) * math.sqrt(variance)
    return Interval(mean, max(0.0, mean - margin), min(1.0, mean + margin))


def _folds(seed: int) -> StratifiedKFold:
    return StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed)


def _scale_of_the_rest(x: np.ndarray, wrong: np.ndarray) -> float:
    """How much what is beside confidence may say: what serves predictions that the regression was not fitted on best.

    Nothing at all where the gain is within one standard error: a few errors always have something in common.
    """
    losses = {says: _calibrated_scores(x, wrong, says)[1] for says in _SAYS}
    best = min(losses, key=lambda says: losses[says].mean())
    gains = losses[0.0] - losses[best]
    return best if gains.mean() > gains.std() / math.sqrt(len(gains)) else 0.0


def _fitted(x: np.ndarray, wrong: np.ndarray, says: float) -> Calibrated:
    """The regression on inputs (N, D), calibrated on predictions that it was not fitted on."""
    return Calibrated(_regression(says).fit(x, wrong), _calibrated_scores(x, wrong, says)[0])


def _calibrated_scores(
    x: np.ndarray, wrong: np.ndarray, says: float
) -> tuple[LogisticRegression, np.ndarray]:
    """The calibration of out-of-fold scores, and the loss -log p of what happened by it, (N,)."""
    scores = cross_val_predict(_regression(says), x, wrong, cv=_folds(1), method="decision_function")
    calibration = LogisticRegression(C=_UNHELD, solver=_SOLVER).fit(scores[:, None], wrong)
    logs = calibration.predict_log_proba(scores[:, None])
    return calibration, -np.where(wrong, logs[:, 1], logs[:, 0])


def _regression(says: float) -> Pipeline:
    return make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True),
        StandardScaler(),
        FunctionTransformer(_held_back, kw_args={"says": says}),
        LogisticRegression(solver=_SOLVER),
    )


def _held_back(x: np.ndarray, says: float) -> np.ndarray:
    """Inputs with all but the first scaled down: the penalty then keeps their weights small."""
    return np.concatenate([x[:, :1], says * x[:, 1:]], axis=1)


def _table(model: RiskModel, evidence: Evidence, inputs: pd.DataFrame, risks: np.ndarray) -> pd.DataFrame:
    """RISKS in the order of the features; of equal risks the first id ranks first."""
    ids = evidence.features["sample_id"].to_numpy(dtype=object)
    order = np.lexsort((ids.astype(str), -risks))
    ranks = np.empty(len(ids), dtype=np.int64)
    ranks[order] = np.arange(1, len(ids) + 1)
    reasons = reasons_of(evidence, inputs, model.pulls, model.high, model.note)
    rows = zip(ids, risks, ranks, reasons, strict=True)
    return frame(RISKS, [dict(zip(RISKS.column_names, row, strict=True)) for row in rows])
