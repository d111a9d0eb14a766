"""The settings of a training: one place for defaults, limits and help."""

import json
from dataclasses import asdict, fields
from typing import get_type_hints

import numpy as np
import pytest
from paths import ROOT

from trax_triplet.training.settings import TrainOptions, TrainSettings, identity

NAN, INF = float("nan"), float("inf")


def test_editors_complete_the_settings_that_exist():
    assert get_type_hints(TrainOptions) == get_type_hints(TrainSettings)


def test_each_setting_says_what_it_is():
    for setting in fields(TrainSettings):
        assert f"{setting.name}: {setting.metadata['help']}" in TrainSettings.__doc__


def test_names_and_order_are_those_of_saved_runs():
    # The fingerprint of a run is computed from them, in this order.
    text = (ROOT / "tests/data/written_by_0.1/run/model/model.json").read_text()
    saved = json.loads(text)["settings"]["training"]
    settings = identity(TrainSettings(labelled_negatives=False, spelling=0))
    assert list(settings) == list(saved)[: len(settings)]


def test_a_new_setting_tells_runs_apart_where_it_changes_something():
    assert identity(TrainSettings())["labelled_negatives"] is True
    assert identity(TrainSettings(labelled_weight=1))["labelled_weight"] == 1.0


@pytest.mark.parametrize(
    "name, least, too_small",
    [
        ("steps", 1, 0),
        ("batch_size", 2, 1),
        ("d_model", 1, 0),
        ("margin", 0.0, -1e-9),
        ("labelled_weight", 0.0, -1e-9),
        ("learning_rate", 1e-9, 0.0),
        ("warmup_steps", 0, -1),
        ("word_dropout", 0.0, -1e-9),
        ("embedding_stddev", 0.0, -1e-9),
        ("hard_from", 0, -1),
        ("neighbours", 1, 0),
        ("max_words", 1, 0),
        ("min_count", 1, 0),
        ("buckets", 0, -1),
        ("spelling", 0, -1),
        ("duplicate_share", 1e-9, 0.0),
        ("duplicate_share", 0.999, 1.0),
        ("evaluate_every", 1, 0),
        ("seed", 0, -1),
    ],
)
def test_limits(name, least, too_small):
    assert getattr(TrainSettings(**{name: least}), name) == least
    for value in (too_small, NAN, INF) if isinstance(least, float) else (too_small,):
        with pytest.raises(ValueError, match=f"^{name} must be"):
            TrainSettings(**{name: value})
    for value in ("1", True, [1], 1.5 if isinstance(least, int) else 1j):
        with pytest.raises(TypeError, match=f"^{name} must be"):
            TrainSettings(**{name: value})


@pytest.mark.parametrize(
    "name, value, error",
    [
        ("learning_rate", 10.0, ValueError),
        ("word_dropout", 1.0, ValueError),
        ("pooling", "max", ValueError),
        ("pooling", None, TypeError),
        ("closest", "near", ValueError),
        ("anchor", "third", ValueError),
        ("tokenizer", "letters", ValueError),
        ("implied", 1, TypeError),
        ("steps", None, TypeError),
        ("seed", None, TypeError),
    ],
)
def test_wrong_values(name, value, error):
    with pytest.raises(error, match=f"^{name} must be"):
        TrainSettings(**{name: value})


def test_none_and_numbers_of_numpy():
    settings = TrainSettings(
        hard_from=None, embedding_stddev=None, steps=np.int32(5), margin=np.float32(0.5), seed=7
    )
    assert settings.hard_from is None and settings.embedding_stddev is None
    assert type(settings.steps) is int and type(settings.margin) is float
    json.dumps(asdict(settings))


def test_an_unknown_setting_is_refused():
    with pytest.raises(TypeError, match="'step'"):
        TrainSettings(step=5)
