"""Each mistake gets its own sentence, here up to the first semicolon."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from students import (
    accuracy_of,
    answer_of,
    batches,
    both_of,
    closest_of,
    cost_of,
    layer_of,
    loop_of,
    loops,
    loss_2023,
    mean_of,
    model_of,
    norm,
    off_diagonal,
    semi_hard_trax_loss,
    trax_loss,
    with_,
)

import trax_triplet
from trax_triplet import checks
from trax_triplet.checks import runner
from trax_triplet.checks.step import same
from trax_triplet.compat import lr_schedules, optimizers, tl

pytestmark = pytest.mark.integration  # hundreds of solutions

LECTURE_LOSS = with_(trax_triplet.triplet_loss, reduction="sum")


def clause(sentence):
    return sentence.split(";")[0]


def in_place(change):
    """A function that changes its first argument and gives the right answer otherwise."""

    def function(x, *more):
        answer = change(x)
        x[0, 0] += 1
        return answer

    return function


def of_sim(part, **more):
    """The parts of a cost with one of them replaced."""
    return lambda sim, margin: cost_of(sim, margin, **{part: more["by"]})


def mean_of_whole_rows(sim):
    return sim.mean(axis=1, keepdims=True)


def hardest_of(sim):
    return (sim - 2 * np.eye(len(sim))).max(axis=1, keepdims=True)


def hinges_of(hinge):
    """The hinges of a student whose hinge of (positive, mean or closest negative, margin) is
    another."""
    return lambda sim, margin: tuple(
        hinge(np.diag(sim), part(sim)[:, 0], margin) for part in (mean_of, closest_of)
    )


def lecture_of(scores):
    return lambda v1, v2, margin: cost_of(scores(v1, v2), margin)


def length_of(rule):
    return with_(batches, length=rule)


def rounded(v1, v2, margin=0.25):
    return trax_loss(jax.lax.stop_gradient(v1), v2, margin)


def branching(v1, v2, margin=0.25):
    loss = trax_loss(v1, v2, margin)
    return loss if loss > 0 else 0 * loss


def grown(Q1, Q2, batch_size, pad=1, shuffle=True):
    """Forgets to empty its padded lists, not the lists of questions."""
    b1, b2 = [], []
    for one, two in batches(Q1, Q2, batch_size, pad, shuffle):
        b1, b2 = b1 + [*map(list, one)], b2 + [*map(list, two)]
        yield np.array(b1), np.array(b2)


def one_sided(Q1, Q2, batch_size, pad=1, shuffle=True):
    """Pads both sides as the first one needs it."""
    for one, two in batches(Q1, Q2, batch_size, None, shuffle, flat=True, dtype=object):
        one, two = (
            [[word for word in row if word is not None] for row in side] for side in (one, two)
        )
        width = 2 ** math.ceil(math.log2(max(map(len, one))))
        one, two = ([row + [pad] * (width - len(row)) for row in side] for side in (one, two))
        even = [len({*map(len, side)}) == 1 for side in (one, two)]
        yield np.array(one) if even[0] else one, np.array(two) if even[1] else two


def unpadded(Q1, Q2, batch_size, pad=1, shuffle=True):
    for sides in batches(Q1, Q2, batch_size, None, shuffle, flat=True, dtype=object):
        yield [
            np.array([[word for word in row if word is not None] for row in side]) for side in sides
        ]


def without_punkt(question1, *more, **by_name):
    raise LookupError("Resource punkt_tab not found.")


MISTAKES = [
    # the lecture, step by step
    ("cosine_similarity", "this is the dot product", np.dot),
    (
        "cosine_similarity",
        "the dot product is divided only by the length of v1",
        lambda a, b: a @ b / np.linalg.norm(a),
    ),
    (
        "cosine_similarity",
        "the dot product is divided only by the length of v2",
        lambda a, b: a @ b / np.linalg.norm(b),
    ),
    (
        "cosine_similarity",
        "the square root is missing",
        lambda a, b: a @ b / (np.sum(a * a) * np.sum(b * b)),
    ),
    (
        "cosine_similarity",
        "this is the cosine distance",
        lambda a, b: 1 - trax_triplet.cosine_similarity(a, b),
    ),
    (
        "cosine_similarity",
        "the sign is lost",
        lambda a, b: jnp.abs(trax_triplet.cosine_similarity(a, b)),
    ),
    (
        "l2_normalize",
        "the whole batch is normalised as one vector",
        lambda x: x / np.linalg.norm(x),
    ),
    (
        "l2_normalize",
        "the columns are normalised instead of the rows",
        lambda x: x / np.linalg.norm(x, axis=0),
    ),
    (
        "l2_normalize",
        "the lengths lost their axis, so rows are divided by the lengths of others",
        lambda x: jnp.asarray(x) / jnp.sqrt(jnp.sum(x * x, axis=-1)),
    ),
    (
        "l2_normalize",
        "the square root is missing",
        lambda x: x / np.sum(x**2, axis=-1, keepdims=True),
    ),
    (
        "l2_normalize",
        "the rows are divided by the sum of absolute values",
        lambda x: [[a / sum(map(abs, row)) for a in row] for row in x],
    ),
    ("l2_normalize", "nothing is normalised", lambda x: x),
    ("l2_normalize", "the function changes its argument x in place", in_place(norm)),
    (
        "similarity_matrix",
        "rows and columns of the scores are swapped (transposed)",
        lambda a, b: norm(b) @ norm(a).T,
    ),
    ("similarity_matrix", "the second argument is not transposed", lambda a, b: norm(a) @ norm(b)),
    ("similarity_matrix", "the vectors are not normalised", lambda a, b: np.matmul(a, b.T)),
    ("similarity_matrix", "only v1 is normalised", lambda a, b: norm(a) @ b.T),
    ("similarity_matrix", "only v2 is normalised", lambda a, b: a @ norm(b).T),
    (
        "similarity_matrix",
        "the whole batch is normalised as one vector",
        lambda a, b: a @ b.T / np.linalg.norm(a) / np.linalg.norm(b),
    ),
    (
        "similarity_matrix",
        "the columns are normalised instead of the rows",
        lambda a, b: (a / np.linalg.norm(a, axis=0)) @ (b / np.linalg.norm(b, axis=0)).T,
    ),
    ("similarity_matrix", "v1 is compared with itself", lambda a, b: norm(a) @ norm(a).T),
    (
        "similarity_matrix",
        "the function changes its argument v1 in place",
        lambda a, b: norm(np.divide(a, 2, out=a)) @ norm(b).T,
    ),
    ("positives", "this is the largest of each row", lambda sim: jnp.max(sim, axis=1)),
    ("positives", "this is the other diagonal", lambda sim: np.diag(np.fliplr(sim))),
    (
        "positives",
        "this is a matrix with the positives on its diagonal",
        lambda sim: sim * np.eye(len(sim)),
    ),
    ("negatives", "the diagonal is not excluded", lambda sim: sim.copy()),
    ("negatives", "the mask is the wrong way round", lambda sim: np.diag(np.diag(sim))),
    (
        "negatives",
        "1 is subtracted on the diagonal, which leaves the positives minus 1",
        lambda sim: sim - np.eye(len(sim)),
    ),
    (
        "negatives",
        "the diagonal is lowered by 2, which is for the closest negative",
        lambda sim: sim - 2 * np.eye(len(sim)),
    ),
    (
        "negatives",
        "the diagonal is -2, which is for the closest negative",
        lambda sim: np.where(np.eye(len(sim), dtype=bool), -2, sim),
    ),
    ("negatives", "rows and columns are swapped (transposed)", lambda sim: off_diagonal(sim).T),
    ("negatives", "the lower triangle is lost", lambda sim: np.triu(off_diagonal(sim))),
    ("negatives", "the upper triangle is lost", lambda sim: np.tril(off_diagonal(sim))),
    (
        "negatives",
        "the function changes its argument sim in place",
        lambda sim: np.fill_diagonal(sim, 0) or sim,
    ),
    ("mean_negative", "the mean divides by b", lambda sim: np.mean(off_diagonal(sim), axis=1)),
    ("mean_negative", "the diagonal is not excluded from the mean", mean_of_whole_rows),
    (
        "mean_negative",
        "the diagonal is not excluded from the mean",
        lambda sim: sim.sum(1) / (len(sim) - 1),
    ),
    (
        "mean_negative",
        "the mean is taken along the columns",
        lambda sim: off_diagonal(sim).sum(axis=0) / (len(sim) - 1),
    ),
    (
        "mean_negative",
        "the negatives are added up but not divided",
        lambda sim: off_diagonal(sim).sum(axis=1),
    ),
    (
        "mean_negative",
        "the diagonal enters the mean as -2",
        lambda sim: (off_diagonal(sim) - 2 * np.eye(len(sim))).sum(axis=1) / (len(sim) - 1),
    ),
    (
        "mean_negative",
        "one mean is taken over the whole matrix",
        lambda sim: off_diagonal(sim).sum() / (len(sim) ** 2 - len(sim)),
    ),
    ("mean_negative", "the function returns None", lambda sim: None),
    (
        "closest_negative",
        "the hardest negative is taken where the lecture asks for the semi-hard one",
        hardest_of,
    ),
    ("closest_negative", "the maximum is taken along the columns", lambda sim: closest_of(sim.T)),
    (
        "closest_negative",
        "the maximum is taken along the columns",
        lambda sim: np.where((sim > np.diag(sim)[:, None]) | (np.eye(len(sim)) == 1), -2, sim).max(
            axis=0
        ),
    ),
    (
        "closest_negative",
        "the diagonal is not excluded from the maximum",
        lambda sim: np.where(sim > np.diag(sim)[:, None], -2, sim).max(axis=1),
    ),
    (
        "closest_negative",
        "the diagonal is not excluded from the maximum",
        lambda sim: sim.max(axis=1),
    ),
    (
        "closest_negative",
        "masked entries are 0, which may be the largest of a row",
        lambda sim: (off_diagonal(sim) * (sim <= np.diag(sim)[:, None])).max(axis=1),
    ),
    (
        "closest_negative",
        "masked entries are 0, which may be the largest of a row",
        lambda sim: np.where(off_diagonal(sim) > np.diag(sim)[:, None], -2, off_diagonal(sim)).max(
            axis=1
        ),
    ),
    (
        "closest_negative",
        "each column is compared with its own positive",
        lambda sim: np.where((sim > np.diag(sim)) | (np.eye(len(sim)) == 1), -2, sim).max(axis=1),
    ),
    (
        "closest_negative",
        "a negative as large as the positive is left out",
        lambda sim: np.where(sim >= np.diag(sim)[:, None], -2, sim).max(axis=1),
    ),
    (
        "closest_negative",
        "a masked entry x becomes x - 2, as in the Keras assignment",
        with_(trax_triplet.closest_negative, closest="shifted"),
    ),
    (
        "closest_negative",
        "this is the most distant negative",
        lambda sim: (sim + 4 * np.eye(len(sim))).min(axis=1),
    ),
    (
        "closest_negative",
        "this is the index of the closest negative, not its similarity",
        lambda sim: np.where(
            (sim > np.diag(sim)[:, None]) | (np.eye(len(sim)) == 1), -2, sim
        ).argmax(axis=1),
    ),
    ("hinges", "the margin is ignored", hinges_of(lambda p, n, margin: np.maximum(n - p, 0))),
    (
        "hinges",
        "the margin is hard-coded, 0.25 whatever is passed",
        lambda sim, margin: both_of(sim, 0.25),
    ),
    (
        "hinges",
        "the margin is subtracted",
        hinges_of(lambda p, n, margin: np.maximum(n - p - margin, 0)),
    ),
    (
        "hinges",
        "the margin is added after the maximum",
        hinges_of(lambda p, n, margin: np.maximum(n - p, 0) + margin),
    ),
    (
        "hinges",
        "positive and negative are swapped",
        hinges_of(lambda p, n, margin: np.maximum(p - n + margin, 0)),
    ),
    ("hinges", "the losses are not cut off at 0", hinges_of(lambda p, n, margin: n - p + margin)),
    (
        "hinges",
        "a column (b, 1) and a row (b,) are combined, which makes a matrix (b, b)",
        hinges_of(lambda p, n, margin: np.maximum(n[:, None] - p + margin, 0)),
    ),
    ("hinges", "the two hinges are swapped", lambda sim, margin: both_of(sim, margin)[::-1]),
    (
        "hinges",
        "mean and closest negative are both taken along the columns",
        lambda sim, margin: loops(sim.T, margin),
    ),
    (
        "hinges",
        "mean and closest negative both count the diagonal",
        lambda sim, margin: both_of(
            sim,
            margin,
            mean=lambda s: s.sum(1, keepdims=True) / (len(s) - 1),
            closest=lambda s: s.max(1, keepdims=True),
        ),
    ),
    (
        "losses",
        "only the hinge of the mean negative is used",
        lambda sim, margin: both_of(sim, margin)[0],
    ),
    (
        "losses",
        "only the hinge of the closest negative is used",
        lambda sim, margin: both_of(sim, margin)[1],
    ),
    (
        "losses",
        "the two hinges are averaged",
        lambda sim, margin: np.mean(both_of(sim, margin), axis=0),
    ),
    (
        "losses",
        "the larger of the two hinges is taken",
        lambda sim, margin: np.max(both_of(sim, margin), axis=0),
    ),
    (
        "cost",
        "the mean over the batch is taken",
        lambda sim, margin: np.mean(np.add(*both_of(sim, margin))),
    ),
    ("cost", "this is one loss per anchor", lambda sim, margin: np.add(*both_of(sim, margin))),
    (
        "cost",
        "the margin is hard-coded, 0.25 whatever is passed",
        lambda sim, margin: cost_of(sim, 0.25),
    ),
    (
        "cost",
        "the mean divides by b",
        of_sim("mean", by=lambda sim: off_diagonal(sim).mean(1, keepdims=True)),
    ),
    (
        "cost",
        "the hardest negative is taken where the lecture asks for the semi-hard one",
        of_sim("closest", by=hardest_of),
    ),
    (
        "cost",
        "the maximum is taken along the columns",
        of_sim("closest", by=lambda sim: closest_of(sim.T)),
    ),
    (
        "cost",
        "a column (b, 1) and a row (b,) are combined, which makes a matrix (b, b)",
        lambda sim, margin: sum(
            np.sum(np.maximum(part(sim) - np.diag(sim) + margin, 0))
            for part in (mean_of, closest_of)
        ),
    ),
    ("triplet_loss", "the mean over the batch is taken", trax_triplet.triplet_loss),
    (
        "triplet_loss",
        "the hardest negative is taken where the lecture asks for the semi-hard one",
        with_(LECTURE_LOSS, closest="hardest"),
    ),
    ("triplet_loss", "the vectors are not normalised", with_(LECTURE_LOSS, normalize=False)),
    (
        "triplet_loss",
        "rows and columns of the scores are swapped (transposed)",
        with_(LECTURE_LOSS, anchor="second"),
    ),
    (
        "triplet_loss",
        "the second argument is not transposed",
        lecture_of(lambda a, b: norm(a) @ norm(b)),
    ),
    (
        "triplet_loss",
        "the whole batch is normalised as one vector",
        lecture_of(lambda a, b: a @ b.T / np.linalg.norm(a) / np.linalg.norm(b)),
    ),
    # the assignment's loss
    (
        "TripletLossFn",
        "2 x eye is left out, so the positive may be the largest of its row",
        with_(trax_loss, eye=0),
    ),
    (
        "TripletLossFn",
        "only eye is subtracted, so the positive may still be the largest of its row",
        with_(trax_loss, eye=1),
    ),
    (
        "TripletLossFn",
        "masked entries are 0, which may be the largest of a row",
        lambda v1, v2, margin=0.25: (
            lambda s: (
                cost_of(s, margin, closest=lambda s: off_diagonal(s).max(1, keepdims=True)) / len(s)
            )
        )(v1 @ v2.T),
    ),
    (
        "TripletLossFn",
        "the semi-hard negative is taken where the assignment asks for the hardest",
        semi_hard_trax_loss,
    ),
    (
        "TripletLossFn",
        "rows and columns of the scores are swapped (transposed)",
        with_(trax_loss, axis=0),
    ),
    (
        "TripletLossFn",
        "rows and columns of the scores are swapped (transposed)",
        lambda v1, v2, margin=0.25: trax_loss(v2, v1, margin),
    ),
    (
        "TripletLossFn",
        "the second argument is not transposed",
        lambda v1, v2, margin=0.25: trax_loss(v1, v2.T, margin),
    ),
    ("TripletLossFn", "the losses are added up", with_(trax_loss, reduce="sum")),
    ("TripletLossFn", "this is one loss per anchor", with_(trax_loss, reduce="asarray")),
    (
        "TripletLossFn",
        "the mean divides by b",
        with_(trax_loss, mean=lambda scores, off: off.mean(axis=1)),
    ),
    (
        "TripletLossFn",
        "the diagonal is not excluded from the mean",
        with_(trax_loss, mean=lambda scores, off: scores.sum(axis=1) / (len(scores) - 1)),
    ),
    (
        "TripletLossFn",
        "the mean is taken along the columns",
        with_(trax_loss, mean=lambda scores, off: off.sum(axis=0) / (len(off) - 1)),
    ),
    (
        "TripletLossFn",
        "the maximum is taken along the columns",
        lambda v1, v2, margin=0.25: (
            lambda s: (
                cost_of(s, margin, closest=lambda s: (s - 2 * np.eye(len(s))).max(0)[:, None])
                / len(s)
            )
        )(v1 @ v2.T),
    ),
    (
        "TripletLossFn",
        "one maximum is taken over the whole matrix",
        lambda v1, v2, margin=0.25: (
            lambda s: cost_of(s, margin, closest=lambda s: (s - 2 * np.eye(len(s))).max()) / len(s)
        )(v1 @ v2.T),
    ),
    ("TripletLossFn", "the margin is ignored", lambda v1, v2, margin=0.25: trax_loss(v1, v2, 0)),
    (
        "TripletLossFn",
        "the margin is hard-coded, 0.25 whatever is passed",
        lambda v1, v2, margin=0.25: trax_loss(v1, v2, 0.25),
    ),
    (
        "TripletLossFn",
        "the vectors are normalised again",
        lambda v1, v2, margin=0.25: trax_loss(norm(v1), norm(v2), margin),
    ),
    (
        "TripletLossFn",
        "NumPy is used inside, so the gradient cannot be taken",
        with_(trax_loss, of=np),
    ),
    (
        "TripletLossFn",
        "a value is turned into a Python number or tested by an if, so the "
        "gradient cannot be taken",
        lambda *case: float(trax_loss(*case)),
    ),
    (
        "TripletLossFn",
        "a value is turned into a Python number or tested by an if, so the "
        "gradient cannot be taken",
        branching,
    ),
    ("TripletLossFn", "the loss is right but its gradient is not", rounded),
    (
        "TripletLoss",
        "the layer does not print as TripletLoss_in2",
        layer_of(trax_loss, name="Loss"),
    ),
    (
        "TripletLoss",
        "the margin is hard-coded, 0.25 whatever is passed",
        lambda margin=0.25: tl.Fn("TripletLoss", lambda v1, v2: trax_loss(v1, v2)),
    ),
    (
        "TripletLoss",
        "NumPy is used inside, so the gradient cannot be taken",
        layer_of(with_(trax_loss, of=np)),
    ),
    (
        "TripletLoss",
        "a value is turned into a Python number or tested by an if, so the "
        "gradient cannot be taken",
        layer_of(branching),
    ),
    (
        "TripletLoss",
        "the semi-hard negative is taken where the assignment asks for the hardest",
        layer_of(semi_hard_trax_loss),
    ),
    ("TripletLoss", "the losses are added up", layer_of(with_(trax_loss, reduce="sum"))),
    # batches
    (
        "data_generator",
        "the pairs after the last full batch are dropped in every round",
        with_(batches, drop=True),
    ),
    ("data_generator", "the generator ends after one round", with_(batches, end=True)),
    ("data_generator", "the generator ends after one round", with_(batches, end=True, drop=True)),
    (
        "data_generator",
        "the lists are not emptied after a batch, so the second batch still holds the first",
        with_(batches, reset=False),
    ),
    (
        "data_generator",
        "the lists are not emptied after a batch, so the second batch still holds the first",
        with_(batches, reset="grows"),
    ),
    (
        "data_generator",
        "the lists are not emptied after a batch, so the second batch still holds the first",
        grown,
    ),
    (
        "data_generator",
        "the batch is padded to its longest question",
        length_of(lambda longest, side: longest),
    ),
    (
        "data_generator",
        "a length that is already a power of two is doubled",
        length_of(lambda longest, side: 2 ** (int(math.log2(longest)) + 1)),
    ),
    (
        "data_generator",
        "each side is padded to a length of its own",
        length_of(lambda longest, side: 2 ** math.ceil(math.log2(max(map(len, side))))),
    ),
    (
        "data_generator",
        "the padded length depends on one side only",
        lambda Q1, Q2, size, pad=1, shuffle=True: one_sided(Q1, Q2, size, pad, shuffle),
    ),
    (
        "data_generator",
        "the padded length depends on all questions",
        length_of(lambda longest, side: 8),
    ),
    (
        "data_generator",
        "the questions of a batch differ in length",
        length_of(lambda longest, side: 0),
    ),
    ("data_generator", "the questions of a batch differ in length", unpadded),
    (
        "data_generator",
        "the pad id is hard-coded as 1",
        lambda Q1, Q2, size, pad=1, shuffle=True: batches(Q1, Q2, size, 1, shuffle),
    ),
    (
        "data_generator",
        "the pad id is hard-coded as 0",
        lambda Q1, Q2, size, pad=1, shuffle=True: batches(Q1, Q2, size, 0, shuffle),
    ),
    ("data_generator", "the padding comes before the words", with_(batches, front=True)),
    (
        "data_generator",
        "shuffle is ignored, the pairs come in the given order",
        with_(batches, shuffles=False),
    ),
    (
        "data_generator",
        "the pairs are shuffled although shuffle is False",
        with_(batches, shuffles="always"),
    ),
    (
        "data_generator",
        "the two sides are shuffled separately, so pairs are torn apart",
        with_(batches, apart=True),
    ),
    ("data_generator", "the two sides are swapped", with_(batches, swap=True)),
    ("data_generator", "the word ids are floating point numbers", with_(batches, dtype=float)),
    (
        "data_generator",
        "the function changes its argument Q1 in place",
        with_(batches, mutate=True),
    ),
    (
        "data_generator",
        "the index is not set back to 0 after a round, so it runs past the end of the questions",
        with_(batches, end="lost"),
    ),
    (
        "data_generator",
        "the length is rounded down to a power of two, which is too short for the longest question",
        length_of(lambda longest, side: 2 ** int(math.log2(longest))),
    ),
    # model
    (
        "Siamese",
        "the two towers are not side by side",
        with_(model_of, side_by_side=lambda a, b: tl.Serial(a, b)),
    ),
    ("Siamese", "the towers lack the layer Normalize", with_(model_of, order="elm")),
    ("Siamese", "the towers lack the layer Mean", with_(model_of, order="eln")),
    ("Siamese", "the towers lack the layer LSTM", with_(model_of, order="emn")),
    ("Siamese", "the towers lack the layer Embedding", with_(model_of, order="lmn")),
    ("Siamese", "the layers of the towers are in the wrong order", with_(model_of, order="elnm")),
    ("Siamese", "the layers of the towers are in the wrong order", with_(model_of, order="emln")),
    (
        "Siamese",
        "embedding or LSTM do not have the requested sizes",
        lambda vocab_size=41699, d_model=128, mode="train": model_of(vocab_size, 128),
    ),
    ("Siamese", "embedding or LSTM do not have the requested sizes", with_(model_of, vocab=41699)),
    ("Siamese", "embedding or LSTM do not have the requested sizes", with_(model_of, width=128)),
    ("Siamese", "the mean is not taken over the words of a question", with_(model_of, axis=2)),
    ("Siamese", "the towers do not share their weights", with_(model_of, shared=False)),
    (
        "Siamese",
        "the whole batch is normalised as one vector",
        with_(model_of, normalize=lambda x: x / jnp.sqrt(jnp.sum(x * x))),
    ),
    (
        "Siamese",
        "the columns are normalised instead of the rows",
        with_(model_of, normalize=lambda x: x / jnp.sqrt(jnp.sum(x * x, axis=0))),
    ),
    (
        "Siamese",
        "the layer Normalize does not give vectors of length 1",
        with_(model_of, normalize=lambda x: x / jnp.sum(x * x, axis=-1, keepdims=True)),
    ),
    (
        "Siamese",
        "NumPy is used inside, so the gradient cannot be taken",
        with_(model_of, normalize=lambda x: norm(np.asarray(x))),
    ),
    (
        "Siamese",
        "the vectors are not those of the course's model with the same weights",
        with_(model_of, normalize=lambda x: -trax_triplet.l2_normalize(x)),
    ),
    # training
    ("train_model", "the function does not return a Loop", with_(loop_of, task_only=True)),
    (
        "train_model",
        "the arguments are used as a model or a layer, but they are functions",
        with_(loop_of, call=False),
    ),
    ("train_model", "the function returns None", lambda *given: None),
    ("train_model", "the loop has already run", with_(loop_of, run=1)),
    ("train_model", "the optimizer is not Adam", with_(loop_of, optimizer=optimizers.SGD(0.01))),
    (
        "train_model",
        "Adam's settings are not the assignment's",
        with_(loop_of, optimizer=optimizers.Adam()),
    ),
    (
        "train_model",
        "the learning rate does not follow warmup_and_rsqrt_decay(400, 0.01)",
        with_(loop_of, schedule=None),
    ),
    (
        "train_model",
        "the learning rate does not follow warmup_and_rsqrt_decay(400, 0.01)",
        with_(loop_of, schedule=lr_schedules.warmup_and_rsqrt_decay(100, 0.01)),
    ),
    (
        "train_model",
        "the loss layer of the training is not TripletLoss",
        with_(loop_of, loss=layer_of(trax_loss, "Other")()),
    ),
    (
        "train_model",
        "the evaluation does not have the loss as its only metric",
        with_(loop_of, metrics=[layer_of(trax_loss, "Other")()]),
    ),
    ("train_model", "there is not exactly one evaluation task", with_(loop_of, evaluations=0)),
    (
        "train_model",
        "the training does not read train_generator",
        lambda Siamese, TripletLoss, train, validate, folder: loop_of(
            Siamese, TripletLoss, validate, validate, folder
        ),
    ),
    (
        "train_model",
        "the evaluation does not read val_generator",
        lambda Siamese, TripletLoss, train, validate, folder: loop_of(
            Siamese, TripletLoss, train, train, folder
        ),
    ),
    ("train_model", "the Loop does not write to output_dir", with_(loop_of, folder="model/")),
    # accuracy
    ("classify", "the comparison is the wrong way round", with_(accuracy_of, above=np.less)),
    (
        "classify",
        "a similarity equal to the threshold counts as above it",
        with_(accuracy_of, above=np.greater_equal),
    ),
    (
        "classify",
        "this is the number of correct answers",
        with_(accuracy_of, count=lambda n, size: 1),
    ),
    (
        "classify",
        "the correct answers are divided by the wrong count",
        with_(accuracy_of, count=lambda n, size: size),
    ),
    (
        "classify",
        "the correct answers are divided by the wrong count",
        with_(accuracy_of, count=lambda n, size: -(-n // size)),
    ),
    ("classify", "this is a percentage", with_(accuracy_of, count=lambda n, size: n / 100)),
    (
        "classify",
        "the batches are requested shuffled, so they no longer match y",
        with_(accuracy_of, shuffle=True),
    ),
    # answers
    ("predict", "the comparison is the wrong way round", with_(answer_of, above=np.less)),
    (
        "predict",
        "a similarity equal to the threshold counts as above it",
        with_(answer_of, above=np.greater_equal),
    ),
    (
        "predict",
        "this is the similarity, not the answer",
        with_(answer_of, above=lambda d, threshold: d),
    ),
    (
        "predict",
        "a question is compared with itself",
        lambda question1, question2, *more, **by_name: answer_of(
            question1, question1, *more, **by_name
        ),
    ),
    (
        "predict",
        "words that vocab lacks are left out",
        with_(answer_of, read=lambda vocab, word: vocab.get(word)),
    ),
    (
        "predict",
        "the words are converted to lower case",
        with_(answer_of, words=lambda question: question.lower().split()),
    ),
    (
        "predict",
        "a word that vocab lacks gets None as its id",
        with_(answer_of, read=lambda vocab, word: vocab.get(word), keep=True),
    ),
    (
        "predict",
        "more than the answer is returned",
        with_(answer_of, above=lambda d, t: (d, d > t)),
    ),
    ("predict", "a vector is compared with itself", with_(answer_of, dot=lambda a, b: a[0] @ a[0])),
    (
        "predict",
        "verbose has no default, but it may be left out",
        lambda question1, question2, threshold, model, vocab, data_generator, verbose: answer_of(
            question1, question2, threshold, model, vocab, data_generator, verbose
        ),
    ),
    ("predict", "NLTK's rules for sentences are not installed", without_punkt),
    ("predict", "it prints although verbose is False", with_(answer_of, loud=True)),
    ("predict", "it prints nothing although verbose is True", with_(answer_of, loud=False)),
]

# The course accepts these.
FLAWS = [
    ("classify", "the last, partial batch is left out", with_(accuracy_of, full=True)),
    (
        "classify",
        "the last, partial batch is left out",
        with_(accuracy_of, full=True, count=lambda n, size: max(n // size * size, 1)),
    ),
    (
        "classify",
        "the last, partial batch is read as if it were full, past the end of y",
        with_(accuracy_of, past=True),
    ),
    (
        "classify",
        "the correct answers are divided by the wrong count",
        with_(accuracy_of, count=lambda n, size: -(-n // size) * size),
    ),
    (
        "classify",
        "this is the mean of the batches' accuracies, in which a small last batch counts too much",
        with_(accuracy_of, shares=True),
    ),
    (
        "predict",
        "the function makes vocab grow by reading it, as a defaultdict does",
        with_(answer_of, read=lambda vocab, word: vocab[word]),
    ),
]

# Under the rule of the edition of 2023.
OF_2023 = [
    ("TripletLossFn", expected, with_(loss_2023, **mistake))
    for expected, mistake in (
        (
            "the hardest negative is taken where the assignment of 2023 asks for one not above the "
            "positive",
            {"closest": "hardest"},
        ),
        ("the mean over the batch is taken", {"reduce": "mean"}),
        ("this is one loss per anchor", {"reduce": "asarray"}),
        ("mean and closest negative are both taken along the columns", {"axis": 0}),
        ("each column is compared with its own positive", {"by": 0}),
        ("masked entries are 0, which may be the largest of a row", {"diagonal": 0.0}),
        ("the larger of the two hinges is taken", {"hinges": lambda both: jnp.maximum(*both)}),
    )
]
HARDEST_SUM = (
    "two editions are mixed: the closest negative is the hardest, the rule of 2020-22, but the "
    "losses are added up, as in 2023"
)
NOT_ABOVE_MEAN = (
    "two editions are mixed: only negatives not above the positive may be the closest, the rule of "
    "2023, but the losses are averaged, as in 2020-22"
)
MIXED = [
    (HARDEST_SUM, with_(trax_loss, reduce="sum")),
    (HARDEST_SUM, with_(loss_2023, closest="hardest")),
    (NOT_ABOVE_MEAN, semi_hard_trax_loss),
    (NOT_ABOVE_MEAN, with_(loss_2023, reduce="mean")),
]
# Two at once.
PAIRS = [
    (
        "TripletLossFn",
        {"the negatives are added up but not divided", "the vectors are normalised again"},
        lambda v1, v2, margin=0.25: trax_loss(
            norm(v1), norm(v2), margin, mean=lambda scores, off: off.sum(axis=1)
        ),
    ),
    (
        "data_generator",
        {
            "the length is rounded down to a power of two, which is too short for the longest "
            "question",
            "the padding comes before the words",
        },
        with_(batches, front=True, length=lambda longest, side: 2 ** int(math.log2(longest))),
    ),
    (
        "classify",
        {"the comparison is the wrong way round", "this is the number of correct answers"},
        with_(accuracy_of, above=np.less, count=lambda n, size: 1, past=True),
    ),
    (
        "predict",
        {"the comparison is the wrong way round", "it prints although verbose is False"},
        with_(answer_of, above=np.less, loud=True, read=lambda vocab, word: vocab[word]),
    ),
    (
        "train_model",
        {"the optimizer is not Adam", "the Loop does not write to output_dir"},
        with_(loop_of, optimizer=optimizers.SGD(0.01), folder="model/"),
    ),
    (
        "train_model",
        {
            "the training does not read train_generator",
            "the evaluation does not read val_generator",
        },
        with_(loop_of, exchanged=True),
    ),
]


# A training step takes seconds to compile.
COMPILED = {"the loop has already run"}


@pytest.mark.parametrize(
    "step, expected, function",
    [
        pytest.param(*mistake, marks=[pytest.mark.slow] * (mistake[1] in COMPILED))
        for mistake in MISTAKES
    ],
)
def test_a_mistake_gets_its_sentence(step, expected, function, capsys):
    edition = "2021" if step.startswith("TripletLoss") else None
    result = checks.check(step, function, edition)
    assert not result
    assert result.hint is not None and clause(result.hint) == expected, repr(result)
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"{step}: {result.hint}")


@pytest.mark.parametrize("step, expected, function", OF_2023)
def test_a_mistake_under_the_rule_of_2023_gets_its_sentence(step, expected, function):
    result = checks.check(step, function, "2023")
    assert not result and clause(result.hint) == expected, repr(result)


@pytest.mark.parametrize("expected, function", MIXED)
def test_a_mixture_of_two_editions_is_told(expected, function):
    result = checks.check("TripletLossFn", function)
    assert not result and clause(result.hint) == expected, repr(result)


@pytest.mark.parametrize("step, expected, function", FLAWS)
def test_what_the_course_accepts_passes_with_its_flaw(step, expected, function, capsys):
    result = checks.check(step, function)
    assert result and result.mistakes == ()
    assert [clause(flaw) for flaw in result.flaws] == [expected], repr(result)
    assert f"{step}: right, but {result.hint}" in capsys.readouterr().out


@pytest.mark.parametrize("step, expected, function", PAIRS)
def test_two_mistakes_are_both_told(step, expected, function):
    result = checks.check(step, function)
    assert not result and {*map(clause, result.mistakes)} == expected, repr(result)
    assert result.hint.startswith("(1) ") and "; (2) " in result.hint


def test_every_sentence_has_a_function_that_earns_it():
    known = {
        clause(mistake.sentence)
        for step in runner._STEPS.values()
        for mistake in (*step.mistakes, *step.flaws)
    }
    known |= {clause(sentence) for step in runner._STEPS.values() for sentence, _ in step.signs}
    assert known <= {expected for _, expected, _ in (*MISTAKES, *FLAWS, *OF_2023)}


@pytest.mark.parametrize("step", checks.STEPS)
def test_the_cases_of_a_step_tell_its_mistakes_apart(step):
    table, answers = runner._STEPS[step], []
    for place, base in enumerate(table.bases):
        numbers = [(), *runner._combinations(table.mistakes, base, 1)]
        for which in numbers:
            seen = {case: runner._answer(step, case, place, which, False) for case in table.cases}
            assert not all(isinstance(answer, Exception) for answer in seen.values()), which
            sentence = runner._sentence(table.mistakes[which[0]], None) if which else ""
            for other, answer in answers:
                assert sentence == other or not all(same(seen[c], answer[c]) for c in seen), (
                    sentence,
                    other,
                )
            answers.append((sentence, seen))
