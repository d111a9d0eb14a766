"""The editions of 2020 and 2023: the same seven names, other signatures and numbers."""

import contextlib
import importlib
import inspect
import io

import jax
import numpy as np
import oracles
import pytest
from vectors import KERAS_LARGE, UNIT1, UNIT2

from trax_triplet import course, triplet_loss
from trax_triplet.compat import lr_schedules
from trax_triplet.course import edition_2020, edition_2023

NAMES = [
    "Siamese",
    "TripletLoss",
    "TripletLossFn",
    "classify",
    "data_generator",
    "predict",
    "train_model",
]


@pytest.mark.parametrize("edition", ["edition_2020", "edition_2023"])
def test_every_edition_gives_the_seven_names(edition):
    names = {}
    exec(f"from trax_triplet.course.{edition} import *", names)
    assert sorted(set(names) - {"__builtins__"}) == NAMES
    module = importlib.import_module(f"trax_triplet.course.{edition}")
    assert all(names[name] is getattr(module, name) for name in NAMES)


def test_editions_share_what_they_have_in_common():
    for name in NAMES:
        same_in_2020 = getattr(edition_2020, name) is getattr(course, name)
        same_in_2023 = getattr(edition_2023, name) is getattr(course, name)
        assert same_in_2020 == (name != "train_model")
        assert same_in_2023 == (name not in ("TripletLoss", "TripletLossFn"))


LARGE1, LARGE2 = np.hsplit(np.array(KERAS_LARGE), 2)


@pytest.mark.parametrize(
    "v1, v2, margin, value",
    [
        (UNIT1, UNIT2, {}, 0.703507661819458),
        (LARGE1, LARGE2, {}, 0.30219173431396484),
        (LARGE1, LARGE2, {"margin": 0.8}, 2.4262490272521973),
    ],
)
def test_the_loss_of_2023_has_its_numbers(v1, v2, margin, value):
    v1, v2 = np.array(v1), np.array(v2)
    rule = {"closest": "shifted", "anchor": "first", "reduction": "sum", "normalize": False}
    expected = oracles.triplet_loss(v1, v2, margin.get("margin", 0.25), **rule)
    assert expected == pytest.approx(value, abs=1e-6)
    found = edition_2023.TripletLossFn(v1, v2, **margin)
    assert isinstance(found, jax.Array) and found.shape == ()
    assert float(found) == pytest.approx(value, abs=1e-6)
    layer = edition_2023.TripletLoss(**margin)
    assert str(layer) == "TripletLoss_in2" and float(layer((v1, v2))) == pytest.approx(value)
    assert float(triplet_loss(v1, v2, **margin, **rule)) == pytest.approx(value)


def small_loop(folder, schedule, *batches):
    with contextlib.redirect_stdout(io.StringIO()):  # the lines that a Loop prints
        return edition_2020.train_model(
            lambda: course.Siamese(10, 3), course.TripletLoss, schedule, *batches, str(folder)
        )


def test_the_loop_of_2020_follows_the_schedule_it_is_given(tmp_path):
    parameters = inspect.signature(edition_2020.train_model).parameters
    assert [*parameters] == [
        "Siamese",
        "TripletLoss",
        "lr_schedule",
        "train_generator",
        "val_generator",
        "output_dir",
    ]
    assert parameters["output_dir"].default == "model/"
    pairs = [[2, 3], [4]]
    train, validate = (course.data_generator(pairs, pairs, 2) for _ in range(2))
    schedule = lr_schedules.warmup_and_rsqrt_decay(100, 0.02)
    loop = small_loop(tmp_path, schedule, train, validate)
    assert loop.step == 0 and loop.tasks[0].labeled_data is train
    assert loop.eval_tasks[0].labeled_data is validate
    for step in (1, 100, 1000):
        assert loop.tasks[0].learning_rate(step) == schedule(step)
