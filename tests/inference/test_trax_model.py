"""Models out of Trax's weight files: what is read is what was written, or why it does not fit."""

import itertools
import pickle

import numpy as np
import pytest

from trax_triplet import load_trax_model
from trax_triplet.compat import lr_schedules, optimizers, shapes, training
from trax_triplet.compat.trax_files import read_pickle, read_trax_weights
from trax_triplet.loss.triplet import TripletLoss
from trax_triplet.model.siamese import Siamese, pooling_of
from trax_triplet.model.weights import get_weights, init_model, set_weights

VOCAB, WIDTH = 11, 4
SHAPES = [(11, 4), (8, 16), (16,)]  # embedding, kernel, bias


@pytest.fixture(scope="module")
def model():
    return init_model(Siamese(VOCAB, WIDTH, "eval"), seed=1)


def written(path, content):
    path.write_bytes(pickle.dumps(content))
    return path


def same(first, second):
    return len(first) == len(second) and all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        for a, b in zip(first, second)
    )


def test_a_model_that_trax_saved_comes_back(model, tmp_path):
    signature = (
        shapes.ShapeDtype((1, 8), np.int32),
        shapes.ShapeDtype([1, None], np.dtype("int32")),
    )
    model.save_to_file(str(tmp_path / "model.pkl.gz"), input_signature=signature)
    content = read_pickle(tmp_path / "model.pkl.gz")
    assert content["input_signature"] == (
        ((1, 8), np.dtype("int32")),
        ((1, None), np.dtype("int32")),
    )
    assert content["flat_state"] == []
    again = load_trax_model(tmp_path / "model.pkl.gz", vocab_size=VOCAB, d_model=WIDTH)
    assert same([*get_weights(again).values()], [*get_weights(model).values()])
    assert pooling_of(again) == "course"
    options = {"vocab_size": VOCAB, "d_model": WIDTH, "mode": "train", "pooling": "last"}
    again = load_trax_model(tmp_path / "model.pkl.gz", **options)
    assert same([*get_weights(again).values()], [*get_weights(model).values()])
    assert pooling_of(again) == "last"
    with pytest.raises(ValueError, match="is larger than 10 bytes"):
        load_trax_model(tmp_path / "model.pkl.gz", **options, max_bytes=10)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A Loop's folder after two steps, and the weights of its model."""
    folder = tmp_path_factory.mktemp("loop")
    batch = (np.full((4, 3), 2, np.int32), np.full((4, 3), 3, np.int32))
    task = training.TrainTask(
        itertools.repeat(batch),
        TripletLoss(),
        optimizers.Adam(0.01),
        lr_schedule=lr_schedules.constant(0.01),
        n_steps_per_checkpoint=2,
    )
    evaluation = training.EvalTask(itertools.repeat(batch), [TripletLoss()])
    loop = training.Loop(
        Siamese(VOCAB, WIDTH), task, eval_tasks=[evaluation], output_dir=str(folder)
    )
    loop.run(2)
    return folder, [*get_weights(loop.model).values()]


@pytest.mark.slow
def test_a_checkpoint_of_a_loop_comes_back(checkpoint):
    folder, weights = checkpoint
    content = read_pickle(folder / "model.pkl.gz")
    assert content["step"] == 2 and isinstance(content["flat_weights"], int)
    assert same(read_trax_weights(str(folder / "model.pkl.gz")), weights)
    assert same(read_trax_weights(folder / "model.weights.npy.gz"), weights)
    again = load_trax_model(folder / "model.pkl.gz", vocab_size=VOCAB, d_model=WIDTH, mode="train")
    assert same([*get_weights(again).values()], weights)
    ids = np.array([[2, 3, 1], [4, 10, 5]])
    original = set_weights(Siamese(VOCAB, WIDTH), get_weights(again))
    np.testing.assert_array_equal(again((ids, ids[::-1])), original((ids, ids[::-1])))


@pytest.mark.slow
def test_slots_are_distinguished_from_weights(checkpoint):
    with pytest.raises(
        ValueError,
        match="6 tensors of .* lstm/kernel: expected .8, 16., found .11, 4.; .* 2 arrays of "
        "each shape: that looks like an optimiser's slots .*; load the model.pkl.gz",
    ):
        load_trax_model(checkpoint[0] / "model.opt_slots0.npy.gz", vocab_size=VOCAB, d_model=WIDTH)


MISFITS = {
    "another vocabulary": (
        [(9, 4), (8, 16), (16,)],
        "embedding: expected .11, 4., found .9, 4.. The file's vocabulary has 9 .* vocab_size=9",
    ),
    "another width": (
        [(11, 6), (12, 24), (24,)],
        "bias: expected .16,., found .24,.. It is a model of width 6; .* vocab_size=11, d_model=6",
    ),
    "both": (
        [(9, 6), (12, 24), (24,)],
        "width 6 and a vocabulary of 9 words; load it with vocab_size=9, d_model=6",
    ),
    "slots, by sort": (SHAPES * 3, "3 arrays of each shape"),
    "slots of a wider model": (
        [(9, 6)] * 2 + [(12, 24)] * 2 + [(24,)] * 2,
        "2 arrays of each shape",
    ),
    "a layer more": (
        [*SHAPES, (4, 2)],
        "4 tensors .* the first three fit, but there are more. It has more",
    ),
    "a layer less": (
        SHAPES[:2],
        "2 tensors .* lstm/bias: expected .16,., found nothing. It has fewer",
    ),
    "nothing": ([], "0 tensors .* embedding: expected .11, 4., found nothing; .* It has fewer"),
    "a GRU": (
        [(11, 4), (8, 8), (8,)],
        "lstm/kernel: expected .8, 16., found .8, 8.; lstm/bias.* another architecture",
    ),
}


@pytest.mark.parametrize("found, message", MISFITS.values(), ids=MISFITS)
def test_one_error_says_what_does_not_fit_and_why(tmp_path, found, message):
    path = written(
        tmp_path / "model.pkl", {"flat_weights": [np.zeros(shape, np.float32) for shape in found]}
    )
    with pytest.raises(ValueError, match=message):
        load_trax_model(path, vocab_size=VOCAB, d_model=WIDTH)


def test_integers_are_not_weights(tmp_path):
    path = written(
        tmp_path / "model.pkl", {"flat_weights": [np.zeros(shape, np.int32) for shape in SHAPES]}
    )
    with pytest.raises(
        ValueError, match="embedding in .* has dtype int32; expected floating-point"
    ):
        load_trax_model(path, vocab_size=VOCAB, d_model=WIDTH)
