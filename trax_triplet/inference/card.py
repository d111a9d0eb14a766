"""The model card: what a model folder says about itself to a person, as `README.md`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trax_triplet.inference.trained_model import TrainedModel

__all__ = ["auc_interval", "model_card"]

# What an evaluation adds to the settings of a training, and how a column of the curve is headed.
_CURVE = {
    "step": "step",
    "loss": "loss",
    "validation_loss": "validation loss",
    "validation_auc": "validation AUC",
}
_EVALUATION = {*_CURVE, "epoch", "spread", "pairs_per_second"}
_MOST_ROWS = 40  # of the curve


def model_card(trained: TrainedModel) -> str:
    """The text of `README.md`, in Markdown; the licence is left to be filled in.

    What the model's settings do not say is left out: `training` (settings and best evaluation),
    `data` (counts of pairs), `history` (the evaluations).
    """
    settings, d_model = trained.settings, trained.weights["embedding"].shape[1]
    vocabulary = trained.vocabulary
    training: dict[str, Any] = settings.get("training") or {}
    parts = [
        "# A Siamese LSTM that compares questions",
        "It turns a question into a vector of length 1; the dot product of two is their "
        "similarity.",
        _bullets(
            {
                "vector": f"{d_model} numbers",
                "vocabulary": f"{len(vocabulary.words):,} words, {vocabulary.buckets} ids for "
                f"unknown ones, tokenizer `{vocabulary.tokenizer}`",
                "state that is taken": trained.pooling,
                "trained numbers": f"{sum(array.size for array in trained.weights.values()):,}",
                "licence": "(fill in: of the model, and of the questions that it learned from)",
            }
        ),
        "## Threshold\n\n" + _threshold(trained),
        "## How to load it\n\n" + _LOADING,
    ]
    if data := settings.get("data"):
        counts = {name.replace("_", " "): f"{count:,}" for name, count in data.items()}
        parts.append("## Data\n\n" + _bullets(counts))
    if "validation_auc" in training:
        parts.append("## Validation\n\n" + _validation(training, data or {}))
    if history := settings.get("history"):
        parts.append("## Curve\n\n" + _curve(history))
    if used := {name: value for name, value in training.items() if name not in _EVALUATION}:
        parts.append("## Settings of the training\n\n" + _bullets(used, code=True))
    return "\n\n".join(parts) + "\n"


_LOADING = """```python
from trax_triplet import load_model

trained = load_model("this folder")
trained.similarity(["How do I learn French?"], ["How can I learn French?"])
```

Or `trax-triplet predict --model FOLDER "How ...?" "How ...?"`. NumPy and safetensors are enough;
`weights.safetensors` and `vocabulary.txt` hold nothing that could run."""


def _bullets(values: dict[str, Any], *, code: bool = False) -> str:
    if code:
        return "\n".join(f"- `{name}`: `{value!r}`" for name, value in values.items())
    return "\n".join(f"- {name}: {value}" for name, value in values.items())


def _threshold(trained: TrainedModel) -> str:
    if trained.threshold is None:
        return "None was chosen. Choose one on labelled pairs before you call pairs duplicates."
    source = trained.settings.get("threshold_source") or "its origin is not known"
    calibration = trained.settings.get("calibration") or {}
    given = f"\n\n`probability` is by {calibration['source']}." if "source" in calibration else ""
    return (
        f"Two questions are duplicates above a similarity of {trained.threshold:.4f} ({source}). "
        "Questions of another kind may need another one: `trax-triplet evaluate` shows how it does."
        + given
    )


def _validation(training: dict[str, Any], data: dict[str, int]) -> str:
    auc = float(training["validation_auc"])
    text = f"ROC AUC {auc:.4f}"
    positives, negatives = data.get("validation_duplicates"), data.get("validation_others")
    if positives and negatives:
        low, high = auc_interval(auc, positives, negatives)
        text += f" (95 % interval {low:.4f} to {high:.4f})"
    if "step" in training:
        text += f", at step {training['step']}, the best one of the curve"
    return text + ". The model was chosen by this number, so on other pairs expect a little less."


def auc_interval(auc: float, positives: int, negatives: int) -> tuple[float, float]:
    """The 95 % interval of a ROC AUC by Hanley and McNeil (1982), from no more than its value.

    Args:
        auc: the area, in [0, 1].
        positives, negatives: pairs of either class, at least 1.

    Example:
        >>> [round(bound, 3) for bound in auc_interval(0.75, 100, 100)]
        [0.683, 0.817]
    """
    two_positives, two_negatives = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = (
        auc * (1 - auc)
        + (positives - 1) * (two_positives - auc**2)
        + (negatives - 1) * (two_negatives - auc**2)
    ) / (positives * negatives)
    half = 1.96 * math.sqrt(max(variance, 0))
    return max(0.0, auc - half), min(1.0, auc + half)


def _curve(history: list[dict[str, Any]]) -> str:
    rows = history[:: max(1, math.ceil(len(history) / _MOST_ROWS))]
    if rows[-1] is not history[-1]:
        rows = [*rows, history[-1]]
    columns = {name: head for name, head in _CURVE.items() if name in history[0]}
    lines = [" | ".join(columns.values()), " | ".join("---:" for _ in columns)]
    for row in rows:
        values = [row.get(name, "") for name in columns]
        lines.append(" | ".join(f"{v:.4f}" if isinstance(v, float) else str(v) for v in values))
    return "\n".join(f"| {line} |" for line in lines)
