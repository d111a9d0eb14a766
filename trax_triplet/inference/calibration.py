"""From similarities to probabilities: Platt scaling, fitted on labelled validation pairs."""

from __future__ import annotations

from typing import Any

import numpy as np

from trax_triplet import _validation as check

__all__ = [
    "check_calibration",
    "expected_share",
    "fit_calibration",
    "probabilities",
    "similarity_of_half",
]

# What the logistic function is of: the similarity, in models trained before 'of' was written.
ANGLE, SIMILARITY = "angle", "similarity"


def fit_calibration(
    scores: np.ndarray, labels: np.ndarray, *, share: float | None = None
) -> dict[str, Any]:
    """Fits the probability of a duplicate as a logistic function of the angle between its vectors.

    This is Platt scaling (Platt, "Probabilistic outputs for support vector machines", 1999): the
    logistic regression of the label on the score, where a label of 1 counts as (P + 1) / (P + 2)
    and one of 0 as 1 / (N + 2), of P duplicates and N others. So the probabilities stay away from
    0 and 1 even where a threshold tells all pairs apart. The angle counts and not its cosine, the
    similarity, which hardly changes near 1, where most duplicates are: so the fit also holds for
    another share of duplicates.

    Args:
        scores: float (n,), similarities.
        labels: (n,), 1 for a duplicate, 0 for another pair; both must be there.
        share: of duplicates among the pairs to be answered, in (0, 1); None: nobody knows, so
            `expected_share` of these labels. By Bayes' rule another share than that of these
            labels moves all log-odds by the same amount.

    Returns:
        dict: 'slope' and 'intercept', floats, of 1 - 2 angle / pi, which goes from -1 to 1; 'of',
        which says so; and 'source', a sentence on how they came about.

    Example:
        >>> found = fit_calibration(np.array([0.9, 0.6, 0.7, 0.1]), np.array([1, 1, 0, 0]))
        >>> probabilities(np.array([0.1, 0.9]), found).round(2)
        array([0.27, 0.69], dtype=float32)
    """
    from scipy import optimize, special

    x, labels = _closeness(scores), np.asarray(labels) == 1
    n_duplicates, n = int(labels.sum()), len(labels)
    target = np.where(labels, (n_duplicates + 1) / (n_duplicates + 2), 1 / (n - n_duplicates + 2))
    center, spread = x.mean(), x.std() or 1.0  # of standardised scores the search is quick
    design = np.stack([(x - center) / spread, np.ones(n)], axis=1)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        logits = design @ weights
        gradient = design.T @ (special.expit(logits) - target) / n
        return float(np.mean(np.logaddexp(0, logits) - target * logits)), gradient

    def hessian(weights: np.ndarray) -> np.ndarray:
        chance = special.expit(design @ weights)
        return design.T @ ((chance * (1 - chance))[:, None] * design) / n

    options = {"gtol": 1e-10}
    found = optimize.minimize(
        loss, np.zeros(2), jac=True, hess=hessian, method="trust-exact", options=options
    )
    slope, own = float(found.x[0] / spread), n_duplicates / n
    to_come = expected_share(labels) if share is None else share
    moved = special.logit(to_come) - special.logit(own)
    why = ", a guess between that and one half" if share is None else ""
    return {
        "of": ANGLE,
        "slope": slope,
        "intercept": float(found.x[1] - slope * center + moved),
        "source": f"Platt scaling on {n} labelled validation pairs, {100 * own:.1f} % of them "
        f"duplicates, for pairs of which {100 * to_come:.1f} % are{why}; where duplicates are "
        "rarer or more frequent, the probabilities are too high or too low",
    }


def expected_share(labels: np.ndarray) -> float:
    """The share of duplicates to expect among pairs to come, where nobody knows it.

    The share among labelled pairs depends on how somebody chose what to label, so it is evidence,
    but weak. The guess is half way between it and no evidence at all, which is one half, in
    log-odds: the odds are the square root of those of the labels.

    Args:
        labels: (n,), 1 for a duplicate, 0 for another pair; both must be there.

    Returns:
        A number between the share of the labels and one half.

    Example:
        Of 10 pairs 2 are duplicates, odds of 1 to 4; so odds of 1 to 2.

        >>> round(expected_share(np.array([1, 1, 0, 0, 0, 0, 0, 0, 0, 0])), 6)
        0.333333
    """
    labels = np.asarray(labels) == 1
    roots = np.sqrt([labels.sum(), (~labels).sum()])
    return float(roots[0] / roots.sum())


def probabilities(scores: np.ndarray, calibration: dict[str, Any]) -> np.ndarray:
    """The probabilities that pairs of these similarities are duplicates.

    Args:
        scores: float (n,).
        calibration: as `fit_calibration` gives it.

    Returns:
        float32 (n,), in [0, 1].

    Example:
        The vectors stand at 60 and 0 degrees: 1 - 2 angle / pi is 1/3 and 1.

        >>> calibration = {"of": "angle", "slope": 6.0, "intercept": -2.0}
        >>> probabilities(np.array([0.5, 1.0]), calibration).round(2)
        array([0.5 , 0.98], dtype=float32)
    """
    x = _closeness(scores) if _of(calibration) == ANGLE else np.asarray(scores, np.float64)
    logits = calibration["slope"] * x + calibration["intercept"]
    # By the tangent, which never overflows.
    return (0.5 * (1 + np.tanh(0.5 * logits))).astype(np.float32)


def similarity_of_half(calibration: dict[str, Any]) -> float | None:
    """The similarity above which a pair is more likely a duplicate than not.

    Args:
        calibration: as `fit_calibration` gives it.

    Returns:
        A number in [-1, 1]; None if duplicates are the less similar ones.

    Example:
        >>> round(similarity_of_half({"of": "angle", "slope": 6.0, "intercept": -2.0}), 6)
        0.5
    """
    if not calibration["slope"] > 0:
        return None
    half = float(np.clip(-calibration["intercept"] / calibration["slope"], -1, 1))
    return half if _of(calibration) == SIMILARITY else float(np.sin(0.5 * np.pi * half))


def _of(calibration: dict[str, Any]) -> str:
    return calibration.get("of", SIMILARITY)


def _closeness(scores: np.ndarray) -> np.ndarray:
    """1 - 2 angle / pi of the angle whose cosine is the similarity."""
    return np.arcsin(np.clip(np.asarray(scores, np.float64), -1, 1)) * (2 / np.pi)


def check_calibration(calibration: Any) -> None:
    """Raises if it is neither None nor what `fit_calibration` gives.

    Raises:
        TypeError: not a dict, or of other things than numbers.
        ValueError: numbers that are not finite, or missing, or of something unknown.
    """
    if calibration is None:
        return
    name = "settings['calibration']"
    check.instance(name, calibration, dict, "a dict with 'slope' and 'intercept'")
    for key in ("slope", "intercept"):
        if key not in calibration:
            raise check.wrong_value(name, "a dict with 'slope' and 'intercept'", calibration)
        check.number(f"{name}[{key!r}]", calibration[key])
    check.one_of(f"{name}['of']", _of(calibration), (ANGLE, SIMILARITY))
