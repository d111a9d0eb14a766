"""checks: right functions of every make pass, and each mistake gets its own sentence, up to the first semicolon."""

import functools
import math
import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trax_triplet
from trax_triplet import checks, course
from trax_triplet.checks_lecture import LECTURE_SIM
from trax_triplet.checks_step import same
from trax_triplet.compat import fastmath, lr_schedules, optimizers, tl, training


def clause(sentence):
    return sentence.split(";")[0]


# --- a student's parts, in plain NumPy ---------------------------------------------------------------------


def norm(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def off_diagonal(sim):
    return sim * (1 - np.eye(len(sim)))


def mean_of(sim):
    return off_diagonal(sim).sum(1, keepdims=True) / (len(sim) - 1)


def closest_of(sim):
    mask = (np.identity(len(sim)) == 1) | (sim > np.diag(sim).reshape(len(sim), 1))
    masked = np.copy(sim)
    masked[mask] = -2
    return np.max(masked, axis=1, keepdims=True)


def both_of(sim, alpha, mean=mean_of, closest=closest_of):
    positive = np.diag(sim).reshape(len(sim), 1)
    return tuple(np.maximum(part(sim) - positive + alpha, 0) for part in (mean, closest))


def cost_of(sim, alpha, **parts):
    return np.sum(np.add(*both_of(sim, alpha, **parts)))


def loops(sim, margin):
    """Both hinges in Python numbers, as lists."""
    l1, l2 = [], []
    for i, row in enumerate(sim.tolist()):
        negatives = [s for j, s in enumerate(row) if j != i]
        closest = max([s for s in negatives if s <= row[i]], default=-2.0)
        l1.append(max(sum(negatives) / len(negatives) - row[i] + margin, 0.0))
        l2.append(max(closest - row[i] + margin, 0.0))
    return l1, l2


def trax_loss(v1, v2, margin=0.25, eye=2.0, axis=1, of=jnp, reduce="mean", mean=None, hinge=None):
    """The assignment's loss as students write it."""
    scores = of.dot(v1, v2.T)
    batch = len(scores)
    positive = of.diagonal(scores)
    closest = (scores - eye * of.eye(batch)).max(axis=axis)
    off = scores * (1.0 - of.eye(batch))
    mean_negative = off.sum(axis=axis) / (batch - 1) if mean is None else mean(scores, off)
    loss = sum(of.maximum(0.0, margin - positive + part) for part in (closest, mean_negative))
    return getattr(of, reduce)(loss)


def semi_hard_trax_loss(v1, v2, margin=0.25):
    scores = jnp.dot(v1, v2.T)
    batch, positive = len(scores), jnp.diagonal(scores)
    off = scores * (1 - jnp.eye(batch))
    closest = jnp.where((jnp.eye(batch) == 1) | (scores > positive[:, None]), -2.0, scores).max(axis=1)
    return jnp.mean(sum(jnp.maximum(0, part - positive + margin) for part in (off.sum(1) / (batch - 1), closest)))


def batches(Q1, Q2, batch_size, pad=1, shuffle=True, *, drop=False, end=False, reset=True, shuffles=True, apart=False,
            length=None, mutate=False, front=False, dtype=int, swap=False, partial=False, flat=False):
    """The assignment's generator as students write it: one pair after the other, two growing lists."""
    places = list(range(len(Q1)))
    if mutate:
        Q1[0] += [pad]
    if shuffle and shuffles or shuffles == "always":
        random.shuffle(places)
    other = random.sample(places, len(places)) if shuffle and apart else places
    input1, input2, i = [], [], 0
    while True:
        if i == len(Q1):
            if end:
                return
            i = 0
            if partial and input1:
                yield _padded(input1, input2, pad, length, front, dtype)
                input1, input2 = [], []
            if drop:
                input1, input2 = [], []
        input1.append(Q1[places[i]])
        input2.append(Q2[other[i]])
        i += 1
        if len(input1) == batch_size or (reset == "grows" and len(input1) > batch_size):
            batch = _padded(input1, input2, pad, length, front, dtype)
            yield [list(map(list, side)) for side in batch] if flat else batch[::-1] if swap else batch
            if reset is True:
                input1, input2 = [], []


def _padded(input1, input2, pad, length, front, dtype):
    longest = max(len(q) for q in input1 + input2)
    sides = []
    for side in (input1, input2):
        width = 2 ** math.ceil(math.log2(longest)) if length is None else length(longest, side)
        pads = [[pad] * (width - len(q)) for q in side]
        rows = [(p + list(q)) if front else (list(q) + p) for p, q in zip(pads, side)]
        sides.append(np.array(rows, dtype) if len({*map(len, rows)}) == 1 else rows)
    return tuple(sides)


def accuracy_of(test_Q1, test_Q2, y, threshold, model, vocab, data_generator=None, batch_size=64, *, above=np.greater,
                shuffle=False, count=None, full=False, past=False, shares=False):
    right, means = 0, []
    for i in range(0, len(y), batch_size):
        labels = y[i:i + batch_size]
        if full and len(labels) < batch_size:
            break
        q1, q2 = next(data_generator(test_Q1[i:i + batch_size], test_Q2[i:i + batch_size], batch_size,
                                     vocab["<PAD>"], shuffle=shuffle))
        v1, v2 = model((q1, q2))
        hits = 0
        for j in range(batch_size if past else len(labels)):
            hits += int(labels[j] == above(np.dot(v1[j], v2[j]), threshold))
        right += hits
        means.append(hits / len(labels))
    return np.mean(means) if shares else right / (count(len(y), batch_size) if count else len(y))


def answer_of(question1, question2, threshold, model, vocab, data_generator=None, verbose=False, *, above=np.greater,
              read=lambda vocab, word: vocab.get(word, 0), words=str.split, loud=None):
    first, second = ([read(vocab, word) for word in words(q)] for q in (question1, question2))
    ids = [[i for i in side if i is not None] for side in (first, second)]
    b1, b2 = next(data_generator([ids[0]], [ids[1]], 1, vocab["<PAD>"], shuffle=False))
    v1, v2 = model((b1, b2))
    d = jnp.dot(v1[0], v2[0])
    if verbose if loud is None else loud:
        print("d = ", d)
    return above(d, threshold)


def model_of(vocab_size=41699, d_model=128, mode="train", *, order=("e", "l", "m", "n"), shared=True, axis=1,
             normalize=None, side_by_side=tl.Parallel, vocab=None, width=None):
    normalize = normalize or (lambda x: x / fastmath.numpy.sqrt(fastmath.numpy.sum(x * x, axis=-1, keepdims=True)))

    def tower():
        layers = {"e": tl.Embedding(vocab or vocab_size, d_model), "l": tl.LSTM(width or d_model),
                  "m": tl.Mean(axis=axis), "n": tl.Fn("Normalize", normalize)}
        return tl.Serial([layers[name] for name in order])
    one = tower()
    return side_by_side(one, one if shared else tower())


def loop_of(Siamese, TripletLoss, train_generator, val_generator, output_dir="model/", *, optimizer=None,
            schedule=lr_schedules.warmup_and_rsqrt_decay(400, 0.01), loss=None, metrics=None, evaluations=1, run=0,
            exchanged=False, folder=None, task_only=False):
    train, validate = (val_generator, train_generator) if exchanged else (train_generator, val_generator)
    if exchanged == "validation":
        train = train_generator
    task = training.TrainTask(train, loss or TripletLoss(), optimizer or optimizers.Adam(0.01), lr_schedule=schedule)
    if task_only:
        return task
    evaluation = training.EvalTask(validate, metrics or [TripletLoss()])
    loop = training.Loop(Siamese(), task, eval_tasks=[evaluation] * evaluations, output_dir=folder or output_dir)
    if run:
        loop.run(run)
    return loop


def with_(function, **fixed):
    """The function with one of its switches set: one mistake."""
    return functools.partial(function, **fixed)


# --- right functions ---------------------------------------------------------------------------------------


def in_float32(function):
    return lambda *given: np.asarray(function(*(np.asarray(x, np.float32) for x in given)), np.float32)


def separate_layers(vocab_size=41699, d_model=128, mode="train"):
    layers = [tl.Embedding(vocab_size, d_model), tl.LSTM(d_model, mode=mode), tl.Mean(axis=1),
              tl.Fn("Normalize", trax_triplet.l2_normalize)]
    return tl.Parallel(tl.Serial(*layers), tl.Serial(*layers))


def at_once(test_Q1, test_Q2, y, threshold, model, vocab, data_generator=None, batch_size=64):
    """Vectorised, all pairs in one batch, whatever batch_size says."""
    v1, v2 = model(next(data_generator(test_Q1, test_Q2, len(y), vocab["<PAD>"], False)))
    return jnp.mean(jnp.asarray((np.asarray(v1) * v2).sum(1) > threshold) == jnp.asarray(y))


LECTURE_LOSS = with_(trax_triplet.triplet_loss, reduction="sum")
RIGHT = [
    ("cosine_similarity", trax_triplet.cosine_similarity),
    ("cosine_similarity", lambda a, b: np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b))),
    ("cosine_similarity", lambda a, b: sum(x * y for x, y in zip(a, b)) / math.hypot(*a) / math.hypot(*b)),
    ("cosine_similarity", in_float32(lambda a, b: [[a @ b / np.sqrt(a @ a) / np.sqrt(b @ b)]])),
    ("l2_normalize", trax_triplet.l2_normalize),
    ("l2_normalize", norm),
    ("l2_normalize", in_float32(norm)),
    ("l2_normalize", lambda x: [[a / math.hypot(*row) for a in row] for row in x.tolist()]),
    ("similarity_matrix", trax_triplet.similarity_matrix),
    ("similarity_matrix", lambda a, b: norm(a) @ norm(b).T),
    ("similarity_matrix", lambda a, b: [[trax_triplet.cosine_similarity(x, y) for y in b] for x in a]),
    ("similarity_matrix", jax.jit(trax_triplet.similarity_matrix)),
    ("positives", trax_triplet.positives),
    ("positives", lambda sim: [row[i] for i, row in enumerate(sim)]),
    ("positives", lambda sim: np.diag(sim).reshape(-1, 1)),
    ("negatives", off_diagonal),
    ("negatives", lambda sim: sim - np.diag(np.diag(sim))),
    ("negatives", lambda sim: jnp.asarray(sim).at[jnp.diag_indices(len(sim))].set(0)),
    ("mean_negative", trax_triplet.mean_negative),
    ("mean_negative", mean_of),
    ("mean_negative", lambda sim: [(sum(row) - row[i]) / (len(row) - 1) for i, row in enumerate(sim)]),
    ("closest_negative", trax_triplet.closest_negative),
    ("closest_negative", closest_of),
    ("closest_negative", lambda sim: [max([s for j, s in enumerate(row) if j != i and s <= row[i]], default=-2)
                                      for i, row in enumerate(sim)]),
    ("closest_negative", in_float32(closest_of)),
    ("hinges", trax_triplet.hinges),
    ("hinges", both_of),
    ("hinges", loops),
    ("hinges", lambda sim, margin: np.float32([x[:, 0] for x in both_of(sim, margin)])),
    ("losses", lambda sim, margin: np.add(*both_of(sim, margin))),
    ("losses", lambda sim, margin: [a + b for a, b in zip(*loops(sim, margin))]),
    ("losses", lambda scores, *, margin: sum(trax_triplet.hinges(scores, margin=margin))),
    ("cost", cost_of),
    ("cost", lambda sim, margin: sum(map(sum, loops(sim, margin)))),
    ("cost", lambda sim, margin: jnp.sum(jnp.asarray(both_of(sim, margin)))),
    ("triplet_loss", LECTURE_LOSS),
    ("triplet_loss", lambda v1, v2, alpha: cost_of(norm(v1) @ norm(v2).T, alpha)),
    ("triplet_loss", lambda v1, v2, margin=0.25: sum(map(sum, loops(norm(v1) @ norm(v2).T, margin)))),
    ("TripletLossFn", course.TripletLossFn),
    ("TripletLossFn", trax_loss),
    ("TripletLossFn", with_(trax_loss, of=fastmath.numpy)),
    ("TripletLossFn", jax.jit(trax_loss, static_argnames=("reduce",))),
    ("TripletLoss", course.TripletLoss),
    ("TripletLoss", lambda margin=0.25: tl.Fn("TripletLoss", lambda v1, v2: trax_loss(v1, v2, margin))),
    ("TripletLoss",
     lambda margin=0.25: tl.Fn("TripletLoss", lambda v1, v2: course.TripletLossFn(v1, v2, margin=margin))),
    ("data_generator", course.data_generator),
    ("data_generator", batches),
    ("data_generator", with_(batches, partial=True)),
    ("data_generator", with_(batches, flat=True)),
    ("Siamese", course.Siamese),
    ("Siamese", model_of),
    ("Siamese", separate_layers),
    ("train_model", course.train_model),
    ("train_model", loop_of),
    ("classify", course.classify),
    ("classify", accuracy_of),
    ("classify", at_once),
    ("predict", answer_of),
    ("predict", with_(answer_of, read=lambda vocab, word: vocab[word] if word in vocab else 0)),
    ("predict", with_(answer_of, above=lambda d, threshold: bool(d > threshold))),
]


@pytest.mark.parametrize("step, function", RIGHT)
def test_right_functions_pass_without_a_hint(step, function, capsys):
    result = checks.check(step, function)
    assert result.passed and result.hint is None, repr(result)
    assert capsys.readouterr().out == f"{step}: right ({len(result.cases)} case{'s' * (len(result.cases) > 1)})\n"
    assert all(case.passed for case in result.cases)


def test_every_step_has_right_functions():
    assert {step for step, _ in RIGHT} == {*checks.STEPS}


@pytest.mark.real_data
def test_the_package_s_predict_passes(real_data, monkeypatch):
    nltk_data = pytest.importorskip("nltk").data
    monkeypatch.setattr(nltk_data, "path", [str(real_data / "nltk_data")])
    assert checks.check("predict", course.predict)


# --- functions with one mistake each -----------------------------------------------------------------------


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
    """The hinges of a student whose hinge of (positive, mean or closest negative, margin) is another."""
    return lambda sim, margin: tuple(hinge(np.diag(sim), part(sim)[:, 0], margin) for part in (mean_of, closest_of))


def layer_of(loss, name="TripletLoss"):
    return lambda margin=0.25: tl.Fn(name, lambda v1, v2: loss(v1, v2, margin))


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
        one, two = ([[word for word in row if word is not None] for row in side] for side in (one, two))
        width = 2 ** math.ceil(math.log2(max(map(len, one))))
        one, two = ([row + [pad] * (width - len(row)) for row in side] for side in (one, two))
        even = [len({*map(len, side)}) == 1 for side in (one, two)]
        yield np.array(one) if even[0] else one, np.array(two) if even[1] else two


def unpadded(Q1, Q2, batch_size, pad=1, shuffle=True):
    for sides in batches(Q1, Q2, batch_size, None, shuffle, flat=True, dtype=object):
        yield [np.array([[word for word in row if word is not None] for row in side]) for side in sides]


MISTAKES = [
    # the lecture, step by step
    ("cosine_similarity", "this is the dot product", np.dot),
    ("cosine_similarity", "the dot product is divided by the length of v1 alone",
     lambda a, b: a @ b / np.linalg.norm(a)),
    ("cosine_similarity", "the dot product is divided by the length of v2 alone",
     lambda a, b: a @ b / np.linalg.norm(b)),
    ("cosine_similarity", "the square root is missing", lambda a, b: a @ b / (np.sum(a * a) * np.sum(b * b))),
    ("cosine_similarity", "this is the cosine distance", lambda a, b: 1 - trax_triplet.cosine_similarity(a, b)),
    ("cosine_similarity", "the sign is lost", lambda a, b: jnp.abs(trax_triplet.cosine_similarity(a, b))),
    ("l2_normalize", "the whole batch is normalised as one vector", lambda x: x / np.linalg.norm(x)),
    ("l2_normalize", "the columns are normalised instead of the rows", lambda x: x / np.linalg.norm(x, axis=0)),
    ("l2_normalize", "the lengths lost their axis, so rows are divided by the lengths of others",
     lambda x: jnp.asarray(x) / jnp.sqrt(jnp.sum(x * x, axis=-1))),
    ("l2_normalize", "the square root is missing", lambda x: x / np.sum(x ** 2, axis=-1, keepdims=True)),
    ("l2_normalize", "the rows are divided by the sum of absolute values",
     lambda x: [[a / sum(map(abs, row)) for a in row] for row in x]),
    ("l2_normalize", "nothing is normalised", lambda x: x),
    ("l2_normalize", "the function changes its argument x in place", in_place(norm)),
    ("similarity_matrix", "rows and columns of the scores are exchanged (transposed)",
     lambda a, b: norm(b) @ norm(a).T),
    ("similarity_matrix", "the second argument is not transposed", lambda a, b: norm(a) @ norm(b)),
    ("similarity_matrix", "the vectors are not normalised", lambda a, b: np.matmul(a, b.T)),
    ("similarity_matrix", "only v1 is normalised", lambda a, b: norm(a) @ b.T),
    ("similarity_matrix", "only v2 is normalised", lambda a, b: a @ norm(b).T),
    ("similarity_matrix", "the whole batch is normalised as one vector",
     lambda a, b: a @ b.T / np.linalg.norm(a) / np.linalg.norm(b)),
    ("similarity_matrix", "the columns are normalised instead of the rows",
     lambda a, b: (a / np.linalg.norm(a, axis=0)) @ (b / np.linalg.norm(b, axis=0)).T),
    ("similarity_matrix", "v1 is compared with itself", lambda a, b: norm(a) @ norm(a).T),
    ("similarity_matrix", "the function changes its argument v1 in place",
     lambda a, b: norm(np.divide(a, 2, out=a)) @ norm(b).T),
    ("positives", "this is the largest of each row", lambda sim: jnp.max(sim, axis=1)),
    ("positives", "this is the other diagonal", lambda sim: np.diag(np.fliplr(sim))),
    ("positives", "this is a matrix with the positives on its diagonal", lambda sim: sim * np.eye(len(sim))),
    ("negatives", "the diagonal is not excluded", lambda sim: sim.copy()),
    ("negatives", "the mask is the wrong way round", lambda sim: np.diag(np.diag(sim))),
    ("negatives", "1 is subtracted on the diagonal, which leaves the positives minus 1",
     lambda sim: sim - np.eye(len(sim))),
    ("negatives", "the diagonal is lowered by 2, which is for the closest negative",
     lambda sim: sim - 2 * np.eye(len(sim))),
    ("negatives", "the diagonal is -2, which is for the closest negative",
     lambda sim: np.where(np.eye(len(sim), dtype=bool), -2, sim)),
    ("negatives", "rows and columns are exchanged (transposed)", lambda sim: off_diagonal(sim).T),
    ("negatives", "the lower half is lost", lambda sim: np.triu(off_diagonal(sim))),
    ("negatives", "the upper half is lost", lambda sim: np.tril(off_diagonal(sim))),
    ("negatives", "the function changes its argument sim in place", lambda sim: np.fill_diagonal(sim, 0) or sim),
    ("mean_negative", "the mean divides by b", lambda sim: np.mean(off_diagonal(sim), axis=1)),
    ("mean_negative", "the diagonal is not excluded from the mean", mean_of_whole_rows),
    ("mean_negative", "the diagonal is not excluded from the mean", lambda sim: sim.sum(1) / (len(sim) - 1)),
    ("mean_negative", "the mean is taken along the columns",
     lambda sim: off_diagonal(sim).sum(axis=0) / (len(sim) - 1)),
    ("mean_negative", "the negatives are added up but not divided", lambda sim: off_diagonal(sim).sum(axis=1)),
    ("mean_negative", "the diagonal enters the mean as -2",
     lambda sim: (off_diagonal(sim) - 2 * np.eye(len(sim))).sum(axis=1) / (len(sim) - 1)),
    ("mean_negative", "one mean is taken over the whole matrix",
     lambda sim: off_diagonal(sim).sum() / (len(sim) ** 2 - len(sim))),
    ("mean_negative", "the function returns None", lambda sim: None),
    ("closest_negative", "the hardest negative is taken where the lecture asks for the semi-hard one", hardest_of),
    ("closest_negative", "the maximum is taken along the columns", lambda sim: closest_of(sim.T)),
    ("closest_negative", "the maximum is taken along the columns",
     lambda sim: np.where((sim > np.diag(sim)[:, None]) | (np.eye(len(sim)) == 1), -2, sim).max(axis=0)),
    ("closest_negative", "the diagonal is not excluded from the maximum",
     lambda sim: np.where(sim > np.diag(sim)[:, None], -2, sim).max(axis=1)),
    ("closest_negative", "the diagonal is not excluded from the maximum", lambda sim: sim.max(axis=1)),
    ("closest_negative", "masked entries are 0, which may be the largest of a row",
     lambda sim: (off_diagonal(sim) * (sim <= np.diag(sim)[:, None])).max(axis=1)),
    ("closest_negative", "masked entries are 0, which may be the largest of a row",
     lambda sim: np.where(off_diagonal(sim) > np.diag(sim)[:, None], -2, off_diagonal(sim)).max(axis=1)),
    ("closest_negative", "each column is compared with its own positive",
     lambda sim: np.where((sim > np.diag(sim)) | (np.eye(len(sim)) == 1), -2, sim).max(axis=1)),
    ("closest_negative", "a negative as large as the positive is left out",
     lambda sim: np.where(sim >= np.diag(sim)[:, None], -2, sim).max(axis=1)),
    ("closest_negative", "a masked entry x becomes x - 2, as in the Keras assignment",
     with_(trax_triplet.closest_negative, closest="shifted")),
    ("closest_negative", "this is the most distant negative", lambda sim: (sim + 4 * np.eye(len(sim))).min(axis=1)),
    ("closest_negative", "this is the place of the closest negative, not its similarity",
     lambda sim: np.where((sim > np.diag(sim)[:, None]) | (np.eye(len(sim)) == 1), -2, sim).argmax(axis=1)),
    ("hinges", "the margin is ignored", hinges_of(lambda p, n, margin: np.maximum(n - p, 0))),
    ("hinges", "the margin is hard-coded, 0.25 whatever is passed", lambda sim, margin: both_of(sim, 0.25)),
    ("hinges", "the margin is subtracted", hinges_of(lambda p, n, margin: np.maximum(n - p - margin, 0))),
    ("hinges", "the margin is added behind the maximum", hinges_of(lambda p, n, margin: np.maximum(n - p, 0) + margin)),
    ("hinges", "positive and negative are exchanged", hinges_of(lambda p, n, margin: np.maximum(p - n + margin, 0))),
    ("hinges", "the losses are not cut off at 0", hinges_of(lambda p, n, margin: n - p + margin)),
    ("hinges", "a column (b, 1) and a row (b,) are combined, which makes a matrix (b, b)",
     hinges_of(lambda p, n, margin: np.maximum(n[:, None] - p + margin, 0))),
    ("hinges", "the two hinges are exchanged", lambda sim, margin: both_of(sim, margin)[::-1]),
    ("hinges", "mean and closest negative are both taken along the columns", lambda sim, margin: loops(sim.T, margin)),
    ("hinges", "mean and closest negative both count the diagonal", lambda sim, margin: both_of(
        sim, margin, mean=lambda s: s.sum(1, keepdims=True) / (len(s) - 1), closest=lambda s: s.max(1, keepdims=True))),
    ("losses", "only the hinge of the mean negative is there", lambda sim, margin: both_of(sim, margin)[0]),
    ("losses", "only the hinge of the closest negative is there", lambda sim, margin: both_of(sim, margin)[1]),
    ("losses", "the two hinges are averaged", lambda sim, margin: np.mean(both_of(sim, margin), axis=0)),
    ("losses", "the larger of the two hinges is taken", lambda sim, margin: np.max(both_of(sim, margin), axis=0)),
    ("cost", "the mean over the batch is taken", lambda sim, margin: np.mean(np.add(*both_of(sim, margin)))),
    ("cost", "this is one loss an anchor", lambda sim, margin: np.add(*both_of(sim, margin))),
    ("cost", "the margin is hard-coded, 0.25 whatever is passed", lambda sim, margin: cost_of(sim, 0.25)),
    ("cost", "the mean divides by b", of_sim("mean", by=lambda sim: off_diagonal(sim).mean(1, keepdims=True))),
    ("cost", "the hardest negative is taken where the lecture asks for the semi-hard one",
     of_sim("closest", by=hardest_of)),
    ("cost", "the maximum is taken along the columns", of_sim("closest", by=lambda sim: closest_of(sim.T))),
    ("cost", "a column (b, 1) and a row (b,) are combined, which makes a matrix (b, b)",
     lambda sim, margin: sum(np.sum(np.maximum(part(sim) - np.diag(sim) + margin, 0))
                             for part in (mean_of, closest_of))),
    ("triplet_loss", "the mean over the batch is taken", trax_triplet.triplet_loss),
    ("triplet_loss", "the hardest negative is taken where the lecture asks for the semi-hard one",
     with_(LECTURE_LOSS, closest="hardest")),
    ("triplet_loss", "the vectors are not normalised", with_(LECTURE_LOSS, normalize=False)),
    ("triplet_loss", "rows and columns of the scores are exchanged (transposed)", with_(LECTURE_LOSS, anchor="second")),
    ("triplet_loss", "the second argument is not transposed", lecture_of(lambda a, b: norm(a) @ norm(b))),
    ("triplet_loss", "the whole batch is normalised as one vector",
     lecture_of(lambda a, b: a @ b.T / np.linalg.norm(a) / np.linalg.norm(b))),
    # the assignment's loss
    ("TripletLossFn", "2 x eye is left out, so the positive may be the largest of its row", with_(trax_loss, eye=0)),
    ("TripletLossFn", "only eye is subtracted, so the positive may still be the largest of its row",
     with_(trax_loss, eye=1)),
    ("TripletLossFn", "masked entries are 0, which may be the largest of a row",
     lambda v1, v2, margin=0.25: (lambda s: cost_of(s, margin, closest=lambda s: off_diagonal(s).max(1, keepdims=True))
                                  / len(s))(v1 @ v2.T)),
    ("TripletLossFn", "the semi-hard negative is taken where the assignment asks for the hardest", semi_hard_trax_loss),
    ("TripletLossFn", "rows and columns of the scores are exchanged (transposed)", with_(trax_loss, axis=0)),
    ("TripletLossFn", "rows and columns of the scores are exchanged (transposed)",
     lambda v1, v2, margin=0.25: trax_loss(v2, v1, margin)),
    ("TripletLossFn", "the second argument is not transposed", lambda v1, v2, margin=0.25: trax_loss(v1, v2.T, margin)),
    ("TripletLossFn", "the losses are added up", with_(trax_loss, reduce="sum")),
    ("TripletLossFn", "this is one loss an anchor", with_(trax_loss, reduce="asarray")),
    ("TripletLossFn", "the mean divides by b", with_(trax_loss, mean=lambda scores, off: off.mean(axis=1))),
    ("TripletLossFn", "the diagonal is not excluded from the mean",
     with_(trax_loss, mean=lambda scores, off: scores.sum(axis=1) / (len(scores) - 1))),
    ("TripletLossFn", "the mean is taken along the columns",
     with_(trax_loss, mean=lambda scores, off: off.sum(axis=0) / (len(off) - 1))),
    ("TripletLossFn", "the maximum is taken along the columns", lambda v1, v2, margin=0.25: (lambda s: cost_of(
        s, margin, closest=lambda s: (s - 2 * np.eye(len(s))).max(0)[:, None]) / len(s))(v1 @ v2.T)),
    ("TripletLossFn", "one maximum is taken over the whole matrix", lambda v1, v2, margin=0.25: (lambda s: cost_of(
        s, margin, closest=lambda s: (s - 2 * np.eye(len(s))).max()) / len(s))(v1 @ v2.T)),
    ("TripletLossFn", "the margin is ignored", lambda v1, v2, margin=0.25: trax_loss(v1, v2, 0)),
    ("TripletLossFn", "the margin is hard-coded, 0.25 whatever is passed",
     lambda v1, v2, margin=0.25: trax_loss(v1, v2, 0.25)),
    ("TripletLossFn", "the vectors are normalised again",
     lambda v1, v2, margin=0.25: trax_loss(norm(v1), norm(v2), margin)),
    ("TripletLossFn", "NumPy is used inside, so the gradient cannot be taken", with_(trax_loss, of=np)),
    ("TripletLossFn", "a value is turned into a Python number or asked by an if, so the gradient cannot be taken",
     lambda *case: float(trax_loss(*case))),
    ("TripletLossFn", "a value is turned into a Python number or asked by an if, so the gradient cannot be taken",
     branching),
    ("TripletLossFn", "the loss is right but its gradient is not", rounded),
    ("TripletLoss", "the layer does not print as TripletLoss_in2", layer_of(trax_loss, name="Loss")),
    ("TripletLoss", "the margin is hard-coded, 0.25 whatever is passed",
     lambda margin=0.25: tl.Fn("TripletLoss", lambda v1, v2: trax_loss(v1, v2))),
    ("TripletLoss", "NumPy is used inside, so the gradient cannot be taken", layer_of(with_(trax_loss, of=np))),
    ("TripletLoss", "a value is turned into a Python number or asked by an if, so the gradient cannot be taken",
     layer_of(branching)),
    ("TripletLoss", "the semi-hard negative is taken where the assignment asks for the hardest",
     layer_of(semi_hard_trax_loss)),
    ("TripletLoss", "the losses are added up", layer_of(with_(trax_loss, reduce="sum"))),
    # batches
    ("data_generator", "the pairs behind the last full batch are dropped in every round", with_(batches, drop=True)),
    ("data_generator", "the generator ends after one round", with_(batches, end=True)),
    ("data_generator", "the generator ends after one round", with_(batches, end=True, drop=True)),
    ("data_generator", "the lists are not emptied after a batch, so the second batch still holds the first",
     with_(batches, reset=False)),
    ("data_generator", "the lists are not emptied after a batch, so the second batch still holds the first",
     with_(batches, reset="grows")),
    ("data_generator", "the lists are not emptied after a batch, so the second batch still holds the first", grown),
    ("data_generator", "the batch is padded to its longest question", length_of(lambda longest, side: longest)),
    ("data_generator", "a length that is a power of two already is doubled",
     length_of(lambda longest, side: 2 ** (int(math.log2(longest)) + 1))),
    ("data_generator", "each side is padded to a length of its own",
     length_of(lambda longest, side: 2 ** math.ceil(math.log2(max(map(len, side)))))),
    ("data_generator", "the padded length looks at one side only",
     lambda Q1, Q2, size, pad=1, shuffle=True: one_sided(Q1, Q2, size, pad, shuffle)),
    ("data_generator", "the padded length looks at all questions", length_of(lambda longest, side: 8)),
    ("data_generator", "the questions of a batch differ in length", length_of(lambda longest, side: 0)),
    ("data_generator", "the questions of a batch differ in length", unpadded),
    ("data_generator", "the pad id is hard-coded as 1",
     lambda Q1, Q2, size, pad=1, shuffle=True: batches(Q1, Q2, size, 1, shuffle)),
    ("data_generator", "the pad id is hard-coded as 0",
     lambda Q1, Q2, size, pad=1, shuffle=True: batches(Q1, Q2, size, 0, shuffle)),
    ("data_generator", "the padding stands before the words", with_(batches, front=True)),
    ("data_generator", "shuffle is ignored, the pairs come in the given order", with_(batches, shuffles=False)),
    ("data_generator", "the pairs are shuffled though shuffle is False", with_(batches, shuffles="always")),
    ("data_generator", "the two sides are shuffled apart, so pairs are torn", with_(batches, apart=True)),
    ("data_generator", "the two sides are exchanged", with_(batches, swap=True)),
    ("data_generator", "the word ids come as floating point numbers", with_(batches, dtype=float)),
    ("data_generator", "the function changes its argument Q1 in place", with_(batches, mutate=True)),
    # model
    ("Siamese", "the two towers do not stand side by side", with_(model_of, side_by_side=lambda a, b: tl.Serial(a, b))),
    ("Siamese", "the towers lack the layer Normalize", with_(model_of, order="elm")),
    ("Siamese", "the towers lack the layer Mean", with_(model_of, order="eln")),
    ("Siamese", "the towers lack the layer LSTM", with_(model_of, order="emn")),
    ("Siamese", "the towers lack the layer Embedding", with_(model_of, order="lmn")),
    ("Siamese", "the layers of the towers stand in the wrong order", with_(model_of, order="elnm")),
    ("Siamese", "the layers of the towers stand in the wrong order", with_(model_of, order="emln")),
    ("Siamese", "embedding or LSTM do not have the sizes asked for",
     lambda vocab_size=41699, d_model=128, mode="train": model_of(vocab_size, 128)),
    ("Siamese", "embedding or LSTM do not have the sizes asked for", with_(model_of, vocab=41699)),
    ("Siamese", "embedding or LSTM do not have the sizes asked for", with_(model_of, width=128)),
    ("Siamese", "the mean is not taken over the words of a question", with_(model_of, axis=2)),
    ("Siamese", "the towers do not share their weights", with_(model_of, shared=False)),
    ("Siamese", "the whole batch is normalised as one vector",
     with_(model_of, normalize=lambda x: x / jnp.sqrt(jnp.sum(x * x)))),
    ("Siamese", "the columns are normalised instead of the rows",
     with_(model_of, normalize=lambda x: x / jnp.sqrt(jnp.sum(x * x, axis=0)))),
    ("Siamese", "the layer Normalize does not give vectors of length 1",
     with_(model_of, normalize=lambda x: x / jnp.sum(x * x, axis=-1, keepdims=True))),
    ("Siamese", "NumPy is used inside, so the gradient cannot be taken",
     with_(model_of, normalize=lambda x: norm(np.asarray(x)))),
    ("Siamese", "the vectors are not those of the course's model with the same weights",
     with_(model_of, normalize=lambda x: -trax_triplet.l2_normalize(x))),
    # training
    ("train_model", "the function does not return a Loop", with_(loop_of, task_only=True)),
    ("train_model", "the function returns None", lambda *given: None),
    ("train_model", "the loop has already run", with_(loop_of, run=1)),
    ("train_model", "the optimizer is another one", with_(loop_of, optimizer=optimizers.SGD(0.01))),
    ("train_model", "Adam has other settings than the assignment's", with_(loop_of, optimizer=optimizers.Adam())),
    ("train_model", "the learning rate does not follow warmup_and_rsqrt_decay(400, 0.01)",
     with_(loop_of, schedule=None)),
    ("train_model", "the learning rate does not follow warmup_and_rsqrt_decay(400, 0.01)",
     with_(loop_of, schedule=lr_schedules.warmup_and_rsqrt_decay(100, 0.01))),
    ("train_model", "the loss layer of the training is not TripletLoss",
     with_(loop_of, loss=layer_of(trax_loss, "Other")())),
    ("train_model", "the evaluation does not have the loss as its one metric",
     with_(loop_of, metrics=[layer_of(trax_loss, "Other")()])),
    ("train_model", "there is not one evaluation task", with_(loop_of, evaluations=0)),
    ("train_model", "the training does not read train_generator", with_(loop_of, exchanged=True)),
    ("train_model", "the evaluation does not read val_generator",
     lambda Siamese, TripletLoss, train, validate, folder: loop_of(Siamese, TripletLoss, train, train, folder)),
    ("train_model", "output_dir is not where the Loop writes", with_(loop_of, folder="model/")),
    # accuracy
    ("classify", "the comparison is the wrong way round", with_(accuracy_of, above=np.less)),
    ("classify", "a similarity equal to the threshold counts as above it", with_(accuracy_of, above=np.greater_equal)),
    ("classify", "the last, partial batch is left out", with_(accuracy_of, full=True)),
    ("classify", "the last, partial batch is left out",
     with_(accuracy_of, full=True, count=lambda n, size: max(n // size * size, 1))),
    ("classify", "the last, partial batch is read as a full one, past the end of y", with_(accuracy_of, past=True)),
    ("classify", "this is the number of right answers", with_(accuracy_of, count=lambda n, size: 1)),
    ("classify", "the right answers are divided by the wrong count", with_(accuracy_of, count=lambda n, size: size)),
    ("classify", "the right answers are divided by the wrong count",
     with_(accuracy_of, count=lambda n, size: -(-n // size))),
    ("classify", "the right answers are divided by the wrong count",
     with_(accuracy_of, count=lambda n, size: -(-n // size) * size)),
    ("classify", "this is the mean of the batches' accuracies, in which a small last batch counts too much",
     with_(accuracy_of, shares=True)),
    ("classify", "this is a percentage", with_(accuracy_of, count=lambda n, size: n / 100)),
    ("classify", "the batches are asked for shuffled, so they no longer fit y", with_(accuracy_of, shuffle=True)),
    # answers
    ("predict", "the comparison is the wrong way round", with_(answer_of, above=np.less)),
    ("predict", "a similarity equal to the threshold counts as above it", with_(answer_of, above=np.greater_equal)),
    ("predict", "this is the similarity, not the answer", with_(answer_of, above=lambda d, threshold: d)),
    ("predict", "a question is compared with itself",
     lambda question1, question2, *more, **by_name: answer_of(question1, question1, *more, **by_name)),
    ("predict", "words that vocab lacks are left out", with_(answer_of, read=lambda vocab, word: vocab.get(word))),
    ("predict", "the words are put into lower case", with_(answer_of, words=lambda question: question.lower().split())),
    ("predict", "it prints though verbose is False", with_(answer_of, loud=True)),
    ("predict", "it prints nothing where verbose is True", with_(answer_of, loud=False)),
    ("predict", "the function makes vocab grow by reading it, as a defaultdict does",
     with_(answer_of, read=lambda vocab, word: vocab[word])),
]


@pytest.mark.parametrize("step, expected, function", MISTAKES)
def test_a_mistake_gets_its_sentence(step, expected, function, capsys):
    result = checks.check(step, function)
    assert not result
    assert result.hint is not None and clause(result.hint) == expected, repr(result)
    assert capsys.readouterr().out.startswith(f"{step}: {result.hint}")


def test_every_sentence_has_a_function_that_earns_it():
    known = {clause(sentence) for step in checks._STEPS.values()
             for table in (step.mistakes, step.signs) for sentence, _ in table}
    assert known <= {expected for _, expected, _ in MISTAKES}


@pytest.mark.parametrize("step", checks.STEPS)
def test_the_cases_of_a_step_tell_its_mistakes_apart(step):
    answers = [("", seen) for seen in checks._answers(step, "right")]
    answers += [(sentence, seen) for (sentence, _), seen in zip(checks._STEPS[step].mistakes,
                                                               checks._answers(step, "wrong"))]
    for place, (sentence, seen) in enumerate(answers):
        assert not all(isinstance(answer, Exception) for answer in seen.values()), sentence
        for other, answer in answers[:place]:
            assert sentence == other or not all(same(seen[case], answer[case]) for case in seen), (sentence, other)


# --- the course's numbers ----------------------------------------------------------------------------------


def expected_of(step, case):
    return checks._answers(step, "right")[0][case]


def test_expected_values_are_the_lecture_s():
    case = "the lecture's matrix"
    assert expected_of("mean_negative", case) == pytest.approx([-1 / 3, -.4 / 3, -.4 / 3, -1.4 / 3])
    assert expected_of("closest_negative", case) == pytest.approx([.3, .1, -.8, -.2])
    assert expected_of("losses", f"{case}, margin 0.25") == pytest.approx([0, 0, .516667, 0], abs=1e-6)
    assert expected_of("cost", f"{case}, margin 0.25") == pytest.approx(0.517, abs=5e-4)
    assert expected_of("similarity_matrix", "the lecture's two batches") == pytest.approx(np.array([
        [0.92318164, 0.82121858, -0.58311118, -0.03325245], [0.65914413, 0.9928074, -0.23792202, 0.00197919],
        [-0.83132527, -0.83786699, 0.64725552, 0.46059109], [-0.35023115, -0.35060605, 0.55463501, 0.93643015]]))
    assert expected_of("triplet_loss", "collapsed: all vectors equal") == pytest.approx(2 * 0.5 * 3)


def test_expected_values_are_the_assignment_s():
    assert expected_of("TripletLossFn", "the course's 2 rows of 3") == pytest.approx(0.5, abs=1e-6)
    assert expected_of("TripletLossFn", "the course's 3 rows of 4") == pytest.approx(1.4382333)
    assert expected_of("TripletLossFn", "the course's 3 rows of 4, margin 0.8") == pytest.approx(2.1715667)
    scores = LECTURE_SIM  # the assignment's rule on the lecture's matrix, summed: 1.467
    assert 4 * checks._STEPS["TripletLossFn"].right[0](scores, np.eye(4)) == pytest.approx(1.467, abs=5e-4)


# --- what a result says ------------------------------------------------------------------------------------


def test_a_miss_without_a_known_mistake_tells_case_and_values(capsys):
    result = checks.check("positives", lambda sim: np.zeros(len(sim)))
    assert result.hint is None
    assert result.message == ("wrong in the case 'the lecture's matrix': expected [0.9, 0.5, -0.4, 0.5], "
                              "got [0, 0, 0, 0]")
    assert capsys.readouterr().out == f"positives: {result.message}\n"


def test_shapes_come_before_values():
    result = checks.check("mean_negative", lambda sim: np.ones(2))
    assert result.message == "wrong in the case 'the lecture's matrix': expected shape (4,), got shape (2,)"


def test_an_exception_is_told_with_its_case():
    result = checks.check("closest_negative", lambda sim: sim[4])
    assert result.hint is None
    assert result.message.startswith("in the case 'the lecture's matrix' it raises IndexError: index 4 is out of")
    result = checks.check("train_model", lambda *given: undefined)  # noqa: F821
    assert result.message == ("in the case 'a loop on a small model' it raises "
                              "NameError: name 'undefined' is not defined")


def test_an_exception_in_a_layer_is_told_in_one_line():
    result = checks.check("TripletLoss", lambda margin=0.25: tl.Fn("TripletLoss", lambda v1, v2: [].pop()))
    assert "\n" not in result.message
    assert result.message.endswith("IndexError: pop from empty list")


def test_an_exception_does_not_hide_behind_a_hint():
    result = checks.check("classify", with_(accuracy_of, past=True))
    assert result.message == (f"{result.hint} (in the case '7 pairs in batches of 3' it raises IndexError: "
                              "index 1 is out of bounds for axis 0 with size 1)")


def test_a_result_is_true_or_raises():
    right, wrong = checks.check("positives", np.diag), checks.check("positives", np.triu)
    assert right and not wrong
    assert right.raise_if_failed() is None
    with pytest.raises(AssertionError, match="positives: wrong in the case"):
        wrong.raise_if_failed()


def test_a_result_shows_its_cases_as_text_and_in_a_notebook():
    result = checks.check("positives", lambda sim: np.max(sim, axis=1) if len(sim) == 5 else np.diag(sim))
    first, *rows = repr(result).splitlines()
    assert first == str(result)
    assert [row.split()[0] for row in rows] == ["right", "right", "right", "wrong", "right"]
    assert result._repr_html_().count("<tr>") == 1 + 5 and "<b>wrong</b>" in result._repr_html_()


def test_warnings_on_the_way_to_an_answer_do_not_get_in_the_way():
    assert checks.check("positives", lambda sim: np.where(True, np.diag(sim), np.ones(len(sim)) / np.zeros(len(sim))))


def test_unknown_steps_and_things_that_are_no_function():
    with pytest.raises(ValueError, match="no step is called 'mean'; choose one of cosine_similarity, l2_normalize"):
        checks.check("mean", np.mean)
    with pytest.raises(TypeError, match=r"the function itself, such as check\('positives', my_function\), but got nd"):
        checks.check("positives", np.zeros(3))


def test_checking_leaves_the_reader_s_folder_and_random_numbers_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random.seed(1)
    np.random.seed(1)
    states = random.getstate(), np.random.get_state()[1].tolist()
    checks._answers.cache_clear()
    checks.check("train_model", lambda *given: None)
    checks.check("cost", lambda sim, margin: 0.0)
    checks.check("data_generator", with_(batches, shuffles=False))
    assert list(tmp_path.iterdir()) == []
    assert states == (random.getstate(), np.random.get_state()[1].tolist())
