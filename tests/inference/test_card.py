"""The model card says what the settings hold, and no more."""

import re

import numpy as np
import pytest

from trax_triplet import TrainedModel, Vocabulary, evaluation, load_model
from trax_triplet.inference.card import auc_interval, model_card


def trained_with(**settings):
    vocabulary = Vocabulary(["how", "old"], buckets=3)
    weights = {name: np.zeros(n) for name, n in (("lstm/kernel", (4, 8)), ("lstm/bias", 8))}
    weights["embedding"] = np.zeros((len(vocabulary), 2))
    return TrainedModel(weights, vocabulary, {"pooling": "last", **settings})


HISTORY = [
    {"step": n, "loss": 1 / n, "validation_loss": 0.5, "validation_auc": 0.8} for n in range(1, 102)
]
FULL = {
    "threshold": 0.61803,
    "threshold_source": "best accuracy on 9 pairs",
    "training": {"batch_size": 256, "tokenizer": "words", **HISTORY[-1]},
    "data": {"training_duplicates": 50_000, "validation_duplicates": 100, "validation_others": 300},
    "history": HISTORY,
}


def test_a_card_has_all_that_a_training_leaves():
    card = model_card(trained_with(**FULL))
    low, high = auc_interval(0.8, 100, 300)
    for phrase in (
        "- vocabulary: 2 words, 3 ids for unknown ones, tokenizer `words`",
        # 7 ids x 2, a kernel of 4 x 8, a bias of 8
        f"- trained numbers: {7 * 2 + 4 * 8 + 8}",
        "- licence: (fill in",
        "above a similarity of 0.6180 (best accuracy on 9 pairs)",
        "- training duplicates: 50,000",
        f"ROC AUC 0.8000 (95 % interval {low:.4f} to {high:.4f}), at step 101",
        "- `batch_size`: `256`",
        "| step | loss | validation loss | validation AUC |",
        "| 101 | 0.0099 | 0.5000 | 0.8000 |",
    ):
        assert phrase in card
    # 101 evaluations: every third of them, and the last.
    steps = re.findall(r"^\| (\d+) \|", card, re.MULTILINE)
    assert steps == [str(n) for n in [*range(1, 101, 3), 101]]
    assert "`loss`" not in card  # which is no setting


def test_what_is_not_known_is_left_out():
    card = model_card(trained_with())
    assert "None was chosen" in card and "licence" in card
    for heading in ("Data", "Validation", "Curve", "Settings"):
        assert f"## {heading}" not in card
    card = model_card(trained_with(training={"validation_auc": 0.7}))
    assert "ROC AUC 0.7000." in card and "interval" not in card and "## Settings" not in card


def test_the_folder_has_a_card_that_may_be_edited(tmp_path):
    trained_with(**FULL).save(tmp_path / "model")
    card = tmp_path / "model" / "README.md"
    assert card.read_text() == model_card(trained_with(**FULL))
    card.write_text(card.read_text() + "licence: CC0")
    assert load_model(tmp_path / "model").threshold == FULL["threshold"]
    card.unlink()
    assert load_model(tmp_path / "model").threshold == FULL["threshold"]


def test_a_training_writes_its_counts_and_its_curve(small_run):
    card = (small_run.folder / "model" / "README.md").read_text()
    counts = [int(n) for n in re.findall(r"^- (?:training|validation) \w+: (\d+)$", card, re.M)]
    assert len(counts) == 4 and all(counts)
    best = small_run.trained.settings["training"]
    assert f"ROC AUC {best['validation_auc']:.4f} (95 % interval" in card
    assert f"| {best['step']} | {best['loss']:.4f} |" in card


@pytest.mark.parametrize("seed", [0, 1])
def test_the_interval_is_about_the_bootstraps(seed):
    random = np.random.default_rng(seed)
    labels = np.repeat([1, 0], [400, 600])
    scores = random.normal(size=1000) + labels
    found = evaluation.report(scores, labels, 0.5, seed=seed)
    expected = found["roc_auc_interval"]
    assert auc_interval(found["roc_auc"], 400, 600) == pytest.approx(expected, abs=0.01)
    assert auc_interval(1.0, 5, 5) == (1.0, 1.0)
