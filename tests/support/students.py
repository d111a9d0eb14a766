"""Steps of the lecture and of the assignment as students write them; a switch set makes one
mistake."""

import functools
import math
import random

import jax.numpy as jnp
import numpy as np

from trax_triplet.compat import fastmath, lr_schedules, optimizers, tl, training

# --- the lecture, in plain NumPy ---


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


# --- the assignment ---


def trax_loss(v1, v2, margin=0.25, eye=2.0, axis=1, of=jnp, reduce="mean", mean=None):
    """The assignment's loss as students write it."""
    scores = of.dot(v1, v2.T)
    batch = len(scores)
    positive = of.diagonal(scores)
    closest = (scores - eye * of.eye(batch)).max(axis=axis)
    off = scores * (1.0 - of.eye(batch))
    mean_negative = off.sum(axis=axis) / (batch - 1) if mean is None else mean(scores, off)
    loss = sum(of.maximum(0.0, margin - positive + part) for part in (closest, mean_negative))
    return getattr(of, reduce)(loss)


def loss_2023(
    v1, v2, margin=0.25, closest="shifted", axis=1, by=1, diagonal=2.0, hinges=sum, reduce="sum"
):
    """The loss of the edition of 2023: entries above the positive are lowered by 2."""
    scores = jnp.matmul(v1, v2.T)
    batch, positive = len(scores), jnp.diagonal(scores)
    zeroed = scores - jnp.diag(positive)
    eye = jnp.eye(batch) == 1
    lowered = 2.0 * (zeroed > jnp.expand_dims(positive, by)) * (closest == "shifted")
    closest_negative = jnp.max(zeroed - jnp.where(eye, diagonal, lowered), axis=axis)
    mean_negative = jnp.sum(zeroed, axis=axis) / (batch - 1)
    both = [
        jnp.maximum(0.0, margin - positive + part) for part in (mean_negative, closest_negative)
    ]
    return getattr(jnp, reduce)(hinges(both))


def semi_hard_trax_loss(v1, v2, margin=0.25):
    scores = jnp.dot(v1, v2.T)
    batch, positive = len(scores), jnp.diagonal(scores)
    off = scores * (1 - jnp.eye(batch))
    closest = jnp.where((jnp.eye(batch) == 1) | (scores > positive[:, None]), -2.0, scores).max(
        axis=1
    )
    return jnp.mean(
        sum(
            jnp.maximum(0, part - positive + margin) for part in (off.sum(1) / (batch - 1), closest)
        )
    )


def batches(
    Q1,
    Q2,
    batch_size,
    pad=1,
    shuffle=True,
    *,
    drop=False,
    end=False,
    reset=True,
    shuffles=True,
    apart=False,
    length=None,
    mutate=False,
    front=False,
    dtype=int,
    swap=False,
    partial=False,
    flat=False,
):
    """The assignment's generator as students write it: one pair after the other, two growing
    lists."""
    places = list(range(len(Q1)))
    if mutate:
        Q1[0] += [pad]
    if (shuffle and shuffles) or shuffles == "always":
        random.shuffle(places)
    other = random.sample(places, len(places)) if shuffle and apart else places
    input1, input2, i = [], [], 0
    while True:
        if i == len(Q1):
            if end == "lost":
                i = len(Q1)
                Q1[places[i]]
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
            yield (
                [list(map(list, side)) for side in batch]
                if flat
                else batch[::-1]
                if swap
                else batch
            )
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


def accuracy_of(
    test_Q1,
    test_Q2,
    y,
    threshold,
    model,
    vocab,
    data_generator=None,
    batch_size=64,
    *,
    above=np.greater,
    shuffle=False,
    count=None,
    full=False,
    past=False,
    shares=False,
):
    right, means = 0, []
    for i in range(0, len(y), batch_size):
        labels = y[i : i + batch_size]
        if full and len(labels) < batch_size:
            break
        q1, q2 = next(
            data_generator(
                test_Q1[i : i + batch_size],
                test_Q2[i : i + batch_size],
                batch_size,
                vocab["<PAD>"],
                shuffle=shuffle,
            )
        )
        v1, v2 = model((q1, q2))
        hits = 0
        for j in range(batch_size if past else len(labels)):
            hits += int(labels[j] == above(np.dot(v1[j], v2[j]), threshold))
        right += hits
        means.append(hits / len(labels))
    return np.mean(means) if shares else right / (count(len(y), batch_size) if count else len(y))


def answer_of(
    question1,
    question2,
    threshold,
    model,
    vocab,
    data_generator=None,
    verbose=False,
    *,
    above=np.greater,
    read=lambda vocab, word: vocab.get(word, 0),
    words=str.split,
    loud=None,
    keep=False,
    dot=lambda v1, v2: jnp.dot(v1[0], v2[0]),
):
    first, second = ([read(vocab, word) for word in words(q)] for q in (question1, question2))
    ids = [[i for i in side if keep or i is not None] for side in (first, second)]
    b1, b2 = next(data_generator([ids[0]], [ids[1]], 1, vocab["<PAD>"], shuffle=False))
    v1, v2 = model((b1, b2))
    d = dot(v1, v2)
    if verbose if loud is None else loud:
        print("d = ", d)
    return above(d, threshold)


def model_of(
    vocab_size=41699,
    d_model=128,
    mode="train",
    *,
    order=("e", "l", "m", "n"),
    shared=True,
    axis=1,
    normalize=None,
    side_by_side=tl.Parallel,
    vocab=None,
    width=None,
):
    normalize = normalize or (
        lambda x: x / fastmath.numpy.sqrt(fastmath.numpy.sum(x * x, axis=-1, keepdims=True))
    )

    def tower():
        layers = {
            "e": tl.Embedding(vocab or vocab_size, d_model),
            "l": tl.LSTM(width or d_model),
            "m": tl.Mean(axis=axis),
            "n": tl.Fn("Normalize", normalize),
        }
        return tl.Serial([layers[name] for name in order])

    one = tower()
    return side_by_side(one, one if shared else tower())


SCHEDULE = lr_schedules.warmup_and_rsqrt_decay(400, 0.01)


def loop_of(
    Siamese,
    TripletLoss,
    train_generator,
    val_generator,
    output_dir="model/",
    *,
    call=True,
    optimizer=None,
    schedule=SCHEDULE,
    loss=None,
    metrics=None,
    evaluations=1,
    run=0,
    exchanged=False,
    folder=None,
    task_only=False,
):
    train, validate = (
        (val_generator, train_generator) if exchanged else (train_generator, val_generator)
    )
    if exchanged == "validation":
        train = train_generator
    task = training.TrainTask(
        train, loss or TripletLoss(), optimizer or optimizers.Adam(0.01), lr_schedule=schedule
    )
    if task_only:
        return task
    model = Siamese() if call else Siamese
    evaluation = training.EvalTask(validate, metrics or [TripletLoss()])
    loop = training.Loop(
        model, task, eval_tasks=[evaluation] * evaluations, output_dir=folder or output_dir
    )
    if run:
        loop.run(run)
    return loop


def loop_of_2020(
    Siamese, TripletLoss, lr_schedule, train_generator=None, val_generator=None, output_dir="model/"
):
    return loop_of(
        Siamese, TripletLoss, train_generator, val_generator, output_dir, schedule=lr_schedule
    )


def with_(function, **fixed):
    """The function with one of its switches set: one mistake."""
    return functools.partial(function, **fixed)


def layer_of(loss, name="TripletLoss"):
    return lambda margin=0.25: tl.Fn(name, lambda v1, v2: loss(v1, v2, margin))
