"""Which predictions are probably wrong: a calibrated probability for every sample, label or not, with its reason.

Where no confound is known to pull, a logistic regression on what `audit.features` says of pictures, fitted on the
labelled samples of a run and read out of fold: no sample's risk knows its own label. How much anything beside the
model's own confidence may say is chosen by what it adds on samples that the fit has not seen, so that a run with few
errors stays with confidence. Where confounds pull, see `audit.risk_pulled`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
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
    MOST_LOG_ODDS,
    Evidence,
    Pull,
    frequent_classes,
    inputs_of,
    log_odds,
    usual_maps,
)
from audit.risk_pulled import N_FOLDS, Known, counted_risks, distinct, guessed_risks, other_risks
from audit.risk_words import reasons_of
from audit.tables import RISKS, frame
from audit.types import Interval

FEWEST_ERRORS = 20
"""Wrong predictions, and right ones, that a regression is fitted to; with fewer, confidence is all there is."""
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
        pulls: known pulls of confounds, each cue once.
        known: the labelled samples, which pulls are weighed by in every folder anew.
        usual: mean coarse map (N_CELLS * N_CELLS,) by predicted class.
        things, classes: what has inputs of its own.
        high: the nine-tenth quantile of each input in the run, for words.
        regression: from inputs to the probability of an error; None where confounds pull, or errors were too few.
        note: why risk is no more than 1 - confidence; empty where it is.
        n: samples of the run.
        variance: mean of risk * (1 - risk) over them, or of the squared error of risk where that is more, for the
            interval of expected accuracy.
        excess: share of wrong predictions over them, minus their mean risk; 0 where confounds pull.
    """

    pulls: tuple[Pull, ...]
    known: Known
    usual: Mapping[str, np.ndarray]
    things: tuple[str, ...]
    classes: tuple[str, ...]
    high: Mapping[str, float]
    regression: Calibrated | None
    note: str
    n: int
    variance: float
    excess: float

    def inputs(self, evidence: Evidence) -> pd.DataFrame:
        """The regression's inputs of some pictures, by `inputs_of`."""
        return inputs_of(evidence, self.pulls, (), self.usual, self.things, self.classes)


def fit_risks(
    evidence: Evidence, labels: Sequence[str], pulls: Sequence[Pull]
) -> tuple[RiskModel, pd.DataFrame]:
    """The estimate of risk of a labelled run, and the risks of its own samples out of fold.

    Args:
        evidence: of N samples.
        labels: class names (N,), in the order of `evidence.features`.
        pulls: what confounds are known to do, by `pulls_of`.

    Returns:
        The model, fitted on all samples, for `predict_risks`; and the table RISKS, in which each sample's risk comes
        from a fit on other samples. Where nothing pulls, and fewer than FEWEST_ERRORS predictions are wrong, or right,
        risk is 1 - confidence. Where confounds pull, but confidence alone foretells errors of the run as well, which
        it does where they are bound as the model learned it, the samples' risk is by confidence alone.

    Source: Platt 1999, Probabilistic outputs for support vector machines, for the calibration.
    """
    features, names = evidence.features, np.asarray(labels, dtype=object)
    is_wrong = names != features["predicted"].to_numpy(dtype=object)
    pulls = distinct(evidence, pulls)
    pulled = {pull.thing for pull in pulls}
    model = RiskModel(
        pulls=pulls,
        known=Known(evidence, names),
        usual=usual_maps(features),
        things=tuple(sorted(set(map(str, evidence.things["thing"].unique())) - pulled)),
        classes=frequent_classes(features),
        high={},
        regression=None,
        note="" if pulls else _too_few(is_wrong),
        n=len(features),
        variance=math.nan,
        excess=0.0,
    )
    inputs = model.inputs(evidence)
    model = replace(model, high={str(name): float(value) for name, value in inputs.quantile(0.9).items()})
    if pulls:
        risks = _better(is_wrong, _plain(features, is_wrong), counted_risks(model.known, pulls))
    elif model.note:
        risks = _plain(features, is_wrong)
    else:
        x = inputs.to_numpy()
        says = _scale_of_the_rest(x, is_wrong)
        model = replace(model, regression=_fitted(x, is_wrong, says))
        risks = _plain(features, is_wrong)
        if says > 0:
            ids = features["sample_id"].to_numpy(dtype=object)
            risks = _out_of_fold(
                x, is_wrong, ids, lambda known, wrong, asked: _fitted(known, wrong, says).probabilities(asked)
            )
    if len(risks):
        variance = max(float(np.mean(risks * (1 - risks))), float(np.mean((is_wrong - risks) ** 2)))
        # Where confounds pull, a folder's risks come another way than these.
        excess = 0.0 if pulls else float(np.mean(is_wrong - risks))
        model = replace(model, variance=variance, excess=excess)
    return model, _table(model, evidence, inputs, risks)


def _plain(features: pd.DataFrame, is_wrong: np.ndarray) -> np.ndarray:
    """float64 (N,): risks by confidence alone, out of fold where there are enough errors to calibrate it.

    The calibrations of ten folds differ a little, which would shuffle neighbours. So their values are dealt out in the
    order of confidence, which knows no label.
    """
    if _too_few(is_wrong):
        return np.asarray(1 - features["confidence"].to_numpy())
    confidence, ids = features["confidence"].to_numpy(), features["sample_id"].to_numpy(dtype=object)
    found = _out_of_fold(log_odds(confidence)[:, None], is_wrong, ids, _probabilities)
    risks = np.empty(len(ids))
    risks[np.lexsort((ids.astype(str), -confidence))] = np.sort(found)
    return risks


def _probabilities(known: np.ndarray, wrong: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Risks of asked by a regression on known, whose two numbers need no calibration."""
    found = LogisticRegression(C=_UNHELD, solver=_SOLVER).fit(known, wrong)
    return np.asarray(found.predict_proba(asked)[:, 1])


def _better(is_wrong: np.ndarray, plain: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The other risks where their loss -log p of what happened is less by more than one standard error."""
    happened = [np.where(is_wrong, risks, 1 - risks) for risks in (plain, other)]
    least = math.exp(-MOST_LOG_ODDS)
    ours, theirs = (-np.log(np.maximum(chance, least)) for chance in happened)
    gains = ours - theirs
    return other if gains.mean() > gains.std() / math.sqrt(len(gains)) else plain


def _out_of_fold(
    x: np.ndarray,
    is_wrong: np.ndarray,
    ids: np.ndarray,
    fit: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """float64 (N,): each sample's risk by a fit on others: (their inputs, whether wrong, inputs asked) -> risks.

    Folds are dealt by sample id, so that risks do not depend on the order of the dataset.
    """
    order = np.argsort(ids, kind="stable")
    risks = np.empty(len(order))
    for rest, held_out in _folds(0).split(order, is_wrong[order]):
        known, asked = order[rest], order[held_out]
        risks[asked] = fit(x[known], is_wrong[known], x[asked])
    return risks


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
    inputs = model.inputs(evidence)
    if not len(inputs):
        risks = np.empty(0)
    elif model.pulls:
        risks = guessed_risks(model.known, model.pulls, evidence)
    elif model.regression is None:
        risks = np.asarray(1 - evidence.features["confidence"].to_numpy())
    else:
        risks = model.regression.probabilities(inputs.to_numpy())
    return _table(model, evidence, inputs, risks)


def expected_accuracy(model: RiskModel, evidence: Evidence, risks: np.ndarray, level: float) -> Interval:
    """Share of the predictions that are probably right, with its interval; NaN throughout for no picture.

    The interval holds the chance of these pictures and that of the run's samples, which the calibration rests on, and
    what would be right if risk erred here as it does on them: few errors calibrate nothing. Where
    confounds pull it also reaches to what would be right, were they to mean nothing here, unless the pictures speak
    clearly against that: what they mean is guessed.
    It cannot hold what neither confidence nor maps show: pictures of a kind that the run has not.

    Args:
        model: of `fit_risks`.
        evidence: of N pictures.
        risks: float (N,), of `predict_risks`.
        level: confidence, such as 0.95.
    """
    if len(risks) == 0:
        return Interval(math.nan, math.nan, math.nan)
    means = [float(1 - np.mean(risks)), float(1 - np.mean(risks) - model.excess)]
    if model.pulls:
        means += [float(1 - np.mean(one)) for one in other_risks(model.known, model.pulls, evidence)]
    own = float(np.mean(risks * (1 - risks)))
    if model.note:  # not calibrated: what confidence says of its own errors may be nothing
        own = max(own, model.variance)
    variance = own / len(risks) + model.variance / model.n
    margin = float(stats.norm.ppf((1 + level) / 2)) * math.sqrt(variance)
    return Interval(means[0], max(0.0, min(means) - margin), min(1.0, max(means) + margin))


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
