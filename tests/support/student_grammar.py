"""Students by the hundred: right solutions of every style, times the mistakes made in them.

Nothing here is taken from `checks`: a solution is put together from ways of writing each of its
parts, right ones and wrong ones, and a wrong way stands beside the clause that is to name it.
"""

import itertools
import random
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np


class Student(NamedTuple):
    """A function, and the clauses that are to be said of it; none: it is right.

    `flaw` is a clause that may be told of a function that passes.
    """

    step: str
    function: object
    clauses: frozenset = frozenset()
    flaw: str = ""
    edition: str = ""


def students_of(step, build, right, wrong, seed, singles=2, pairs=20, rights=4, **more):
    """Right students, and those with one mistake and with two, the other parts chosen at random.

    `right`: part -> ways of writing it; `wrong`: part -> {clause: ways}.
    """
    draw = random.Random(seed)

    def function(**mistakes):
        return build(
            **{part: mistakes.get(part) or draw.choice(ways) for part, ways in right.items()}
        )

    for _ in range(rights):
        yield Student(step, function(), **more)
    every = [
        (part, clause, way) for part, c in wrong.items() for clause, w in c.items() for way in w
    ]
    for part, clause, way in every * singles:
        yield Student(step, function(**{part: way}), frozenset([clause]), **more)
    both = [
        (a, b)
        for a, b in itertools.combinations(every, 2)
        # Together they are one mistake: the scores are transposed.
        if a[0] != b[0] and not ("columns" in a[1] and "columns" in b[1])
    ]
    for (one, clause, way), (other, clause2, way2) in draw.sample(both, min(pairs, len(both))):
        yield Student(
            step, function(**{one: way, other: way2}), frozenset([clause, clause2]), **more
        )


# --- the losses; np or jnp stands in front of every operation, as students have it


def diagonal(s):
    return s.diagonal()


def off(s):
    return s * (1 - np.eye(len(s)))


def rows(s):
    return [[s[i, j] for j in range(len(s))] for i in range(len(s))]


def stacked(values, like):
    return (jnp if isinstance(like, jnp.ndarray) else np).stack(values)


def of(s):
    return jnp if isinstance(s, jnp.ndarray) else np


MEANS = [
    lambda s: off(s).sum(axis=1) / (len(s) - 1),
    lambda s: (s.sum(axis=1) - diagonal(s)) / (len(s) - 1),
    lambda s: of(s).where(np.eye(len(s)) == 1, 0.0, s).sum(1) / (len(s) - 1),
    lambda s: stacked(
        [sum(x for j, x in enumerate(r) if j != i) / (len(r) - 1) for i, r in enumerate(rows(s))], s
    ),
]
WRONG_MEANS = {
    "the mean divides by b": [lambda s: off(s).mean(axis=1), lambda s: off(s).sum(axis=1) / len(s)],
    "the diagonal is not excluded from the mean": [
        lambda s: s.sum(axis=1) / (len(s) - 1),
        lambda s: s.mean(axis=1),
    ],
    "the mean is taken along the columns": [
        lambda s: off(s).sum(axis=0) / (len(s) - 1),
        lambda s: (s.sum(axis=0) - diagonal(s)) / (len(s) - 1),
    ],
    "the negatives are added up but not divided": [lambda s: off(s).sum(axis=1)],
    "the diagonal enters the mean as -2": [
        lambda s: of(s).where(np.eye(len(s)) == 1, -2.0, s).sum(axis=1) / (len(s) - 1)
    ],
}
HARDEST = [
    lambda s: (s - 2 * np.eye(len(s))).max(axis=1),
    lambda s: of(s).where(np.eye(len(s)) == 1, -2.0, s).max(axis=1),
    lambda s: stacked([max(r[:i] + r[i + 1 :], key=float) for i, r in enumerate(rows(s))], s),
]
# The last one's `max` needs numbers, which a gradient does not have: for wrong students only.
WRONG_HARDEST = {
    "2 x eye is left out, so the positive may be the largest of its row": [lambda s: s.max(axis=1)],
    "only eye is subtracted, so the positive may still be the largest of its row": [
        lambda s: (s - np.eye(len(s))).max(axis=1)
    ],
    "masked entries are 0, which may be the largest of a row": [lambda s: off(s).max(axis=1)],
    "one maximum is taken over the whole matrix": [lambda s: (s - 2 * np.eye(len(s))).max()],
    "the maximum is taken along the columns": [lambda s: (s - 2 * np.eye(len(s))).max(axis=0)],
}


def above(s):
    return s > diagonal(s).reshape(len(s), 1)


SEMI_HARD = [
    lambda s: of(s).where((np.eye(len(s)) == 1) | above(s), -2.0, s).max(axis=1),
    lambda s: stacked(
        [
            max([x for j, x in enumerate(r) if j != i and x <= r[i]] or [np.float64(-2)], key=float)
            for i, r in enumerate(rows(s))
        ],
        s,
    ),
]
SHIFTED = [
    lambda s: (off(s) - 2.0 * ((np.eye(len(s)) == 1) | (off(s) > diagonal(s)[:, None]))).max(
        axis=1
    ),
    lambda s: (s - 2.0 * above(s) - (2.0 + diagonal(s)) * np.eye(len(s))).max(axis=1),
    SEMI_HARD[0],
]
WRONG_SEMI_HARD = {
    "the maximum is taken along the columns": [
        lambda s: of(s).where((np.eye(len(s)) == 1) | above(s), -2.0, s).max(axis=0)
    ],
    "the diagonal is not excluded from the maximum": [
        lambda s: of(s).where(above(s), -2.0, s).max(axis=1)
    ],
    "masked entries are 0, which may be the largest of a row": [
        lambda s: (off(s) * (1.0 - above(s))).max(axis=1)
    ],
    "each column is compared with its own positive": [
        lambda s: of(s).where((np.eye(len(s)) == 1) | (s > diagonal(s)), -2.0, s).max(axis=1)
    ],
    "this is the most distant negative": [lambda s: (s + 4 * np.eye(len(s))).min(axis=1)],
}
HINGES = [
    lambda p, n, margin: of(p).maximum(n - p + margin, 0.0),
    lambda p, n, margin: of(p).where(margin - p + n > 0, margin - p + n, 0.0),
    lambda p, n, margin: (n - p + margin).clip(0),
]
WRONG_HINGES = {
    "the margin is ignored": [lambda p, n, margin: of(p).maximum(n - p, 0.0)],
    "the margin is hard-coded, 0.25 whatever is passed": [
        lambda p, n, margin: of(p).maximum(n - p + 0.25, 0.0)
    ],
    "the margin is subtracted": [lambda p, n, margin: of(p).maximum(n - p - margin, 0.0)],
    "positive and negative are swapped": [lambda p, n, margin: of(p).maximum(p - n + margin, 0.0)],
    "the losses are not cut off at 0": [lambda p, n, margin: n - p + margin],
    "the margin is added after the maximum": [
        lambda p, n, margin: of(p).maximum(n - p, 0) + margin
    ],
}
ADDS = [lambda a, b: a + b, lambda a, b: b + a, lambda a, b: sum([a, b])]
WRONG_ADDS = {
    "only the hinge of the mean negative is used": [lambda a, b: a],
    "only the hinge of the closest negative is used": [lambda a, b: b],
    "the two hinges are averaged": [lambda a, b: (a + b) / 2],
}
PRODUCTS = [
    lambda v1, v2: v1 @ v2.T,
    lambda v1, v2: of(v1).dot(v1, v2.T),
    lambda v1, v2: of(v1).einsum("id,jd->ij", v1, v2),
    lambda v1, v2: stacked([stacked([(a * b).sum() for b in v2], v1) for a in v1], v1),
]
WRONG_PRODUCTS = {
    "rows and columns of the scores are swapped (transposed)": [lambda v1, v2: v2 @ v1.T],
    "v1 is compared with itself": [lambda v1, v2: v1 @ v1.T],
}
SUMS = [lambda x: x.sum(), lambda x: of(x).sum(x), lambda x: sum(x)]
AVERAGES = [lambda x: x.mean(), lambda x: of(x).mean(x), lambda x: x.sum() / len(x)]


def unit(v):
    return v / np.sqrt((v * v).sum(axis=1, keepdims=True))


def loss_of(product, mean, closest, hinge, add, reduce, norm=lambda v: v):
    def TripletLossFn(v1, v2, margin=0.25):
        s = product(norm(v1), norm(v2))
        p = diagonal(s)
        return reduce(add(hinge(p, mean(s), margin), hinge(p, closest(s), margin)))

    return TripletLossFn


def in_jax(loss):
    """The same student with jnp in front, so that the gradient can be taken."""
    return lambda v1, v2, margin=0.25: loss(jnp.asarray(v1), jnp.asarray(v2), margin)


def losses():
    shared = {"mean": MEANS, "hinge": HINGES, "add": ADDS, "product": PRODUCTS}
    wrong = {
        "mean": WRONG_MEANS,
        "hinge": WRONG_HINGES,
        "add": WRONG_ADDS,
        "product": WRONG_PRODUCTS,
        "norm": {"the vectors are normalised again": [unit]},
    }
    norm = {"norm": [lambda v: v]}
    for edition, closest, reduce, wrong_closest in (
        ("2021", HARDEST, AVERAGES, WRONG_HARDEST),
        ("2023", SHIFTED, SUMS, WRONG_SEMI_HARD),
    ):
        right = {**shared, "closest": closest, "reduce": reduce, **norm}
        mistakes = {**wrong, "closest": wrong_closest}
        yield from students_of(
            "TripletLossFn", loss_of, right, mistakes, edition, rights=0, pairs=40, edition=edition
        )
        # No loops over tensors, which take JAX seconds to compile; nor Python's `max` of them.
        quick = {**right, "closest": closest[:2], "mean": MEANS[:3], "product": PRODUCTS[:3]}
        for s in students_of("TripletLossFn", loss_of, quick, {}, 7, rights=2, edition=edition):
            yield s._replace(function=in_jax(s.function))
    mixtures = (("takes the hardest", HARDEST, SUMS), ("takes the mean", SHIFTED, AVERAGES))
    for seed, (_, closest, reduce) in enumerate(mixtures):
        for s in students_of(
            "TripletLossFn", loss_of, {**shared, "closest": closest, "reduce": reduce}, {}, seed
        ):
            yield s._replace(clauses=frozenset(["two editions are mixed"]))


def lecture():
    """The lecture's steps, in NumPy."""
    parts = {"mean": MEANS, "closest": SEMI_HARD, "hinge": HINGES, "add": ADDS}
    wrong = {
        "mean": WRONG_MEANS,
        "closest": WRONG_SEMI_HARD,
        "hinge": WRONG_HINGES,
        "add": WRONG_ADDS,
    }

    def of_sim(reduce=None, **p):
        whole = loss_of(lambda sim, _: sim, reduce=reduce or (lambda x: x), **p)
        return lambda sim, margin: whole(sim, sim, margin)

    def of_vectors(**p):
        return loss_of(norm=unit, **p)

    yield from students_of("losses", of_sim, parts, wrong, 1, singles=1)
    with_reduce = {**parts, "reduce": SUMS}
    wrong_reduce = {
        **wrong,
        "reduce": {
            "the mean over the batch is taken": AVERAGES[:2],
            "this is one loss per anchor": [lambda x: x],
        },
    }
    yield from students_of("cost", of_sim, with_reduce, wrong_reduce, 2, singles=1)
    yield from students_of(
        "triplet_loss",
        of_vectors,
        {**with_reduce, "product": PRODUCTS},
        {**wrong_reduce, "product": WRONG_PRODUCTS},
        3,
        singles=1,
    )
    for step, part in (("mean_negative", "mean"), ("closest_negative", "closest")):
        yield from students_of(
            step, lambda f: f, {"f": parts[part]}, {"f": wrong[part]}, 4, pairs=0
        )


# --- batches


def by_pairs(order, again, length, pads, arrays, index, last, sides, pad_of):
    """One pair after the other, two growing lists."""

    def data_generator(Q1, Q2, batch_size, pad=1, shuffle=True):
        one, other = order(len(Q1), shuffle)
        input1, input2, idx = [], [], 0
        while True:
            if idx >= len(Q1):
                if not again:
                    return
                idx = index(len(Q1))
                if last == "dropped":
                    input1, input2 = [], []
                one, other = order(len(Q1), shuffle)
            input1.append(Q1[one[idx]])
            input2.append(Q2[other[idx]])
            idx += 1
            if len(input1) == batch_size:
                lengths = length(input1, input2)
                b1, b2 = (
                    [pads(list(q), n, pad_of(pad)) for q in side]
                    for side, n in zip((input1, input2), lengths)
                )
                yield arrays(*sides(b1, b2))
                if last != "kept":
                    input1, input2 = [], []

    return data_generator


def same_order(n, shuffle):
    places = list(range(n))
    if shuffle:
        random.shuffle(places)
    return places, places


def apart(n, shuffle):
    return (
        (random.sample(range(n), n), random.sample(range(n), n)) if shuffle else ([*range(n)],) * 2
    )


def longest(*sides):
    return max(len(q) for side in sides for q in side)


def power(*sides):
    return 2 ** int(np.ceil(np.log2(longest(*sides))))


def power_by_loop(*sides):
    n = 1
    while n < longest(*sides):
        n *= 2
    return n


def generators():
    right = {
        "order": [same_order],
        "again": [True],
        "length": [lambda a, b: (power(a, b),) * 2, lambda a, b: (power_by_loop(a, b),) * 2],
        "pads": [lambda q, n, pad: q + [pad] * (n - len(q))],
        "arrays": [
            lambda a, b: (np.array(a), np.array(b)),
            lambda a, b: [np.asarray(a), np.asarray(b)],
        ],
        "index": [lambda n: 0],
        "last": ["carried"],
        "sides": [lambda a, b: (a, b)],
        "pad_of": [lambda pad: pad],
    }
    floor = lambda *sides: 2 ** int(np.floor(np.log2(longest(*sides))))  # noqa: E731
    wrong = {
        "order": {
            "shuffle is ignored, the pairs come in the given order": [
                lambda n, shuffle: ([*range(n)],) * 2
            ],
            "the pairs are shuffled although shuffle is False": [lambda n, _: same_order(n, True)],
            "the two sides are shuffled separately, so pairs are torn apart": [apart],
        },
        "length": {
            "the batch is padded to its longest question": [lambda a, b: (longest(a, b),) * 2],
            "a length that is already a power of two is doubled": [
                lambda a, b: (2 ** (int(np.log2(longest(a, b))) + 1),) * 2
            ],
            "each side is padded to a length of its own": [lambda a, b: (power(a), power(b))],
            "the length is rounded down to a power of two, which is too short for the longest "
            "question": [lambda a, b: (floor(a, b),) * 2],
        },
        "pads": {"the padding comes before the words": [lambda q, n, p: [p] * (n - len(q)) + q]},
        "index": {
            "the index is not set back to 0 after a round, so it runs past the end of the "
            "questions": [lambda n: n]
        },
        "last": {
            "the pairs after the last full batch are dropped in every round": ["dropped"],
            "the lists are not emptied after a batch, so the second batch still holds the first": [
                "kept"
            ],
        },
        "sides": {"the two sides are swapped": [lambda a, b: (b, a)]},
        "pad_of": {
            "the pad id is hard-coded as 1": [lambda pad: 1],
            "the pad id is hard-coded as 0": [lambda pad: 0],
        },
    }
    # What hides another mistake cannot be named beside it.
    hides = ("shuffled although", "torn apart", "not emptied", "not set back", "rounded down")
    for s in students_of("data_generator", by_pairs, right, wrong, 5, pairs=40):
        hidden = [clause for clause in s.clauses if any(part in clause for part in hides)]
        if len(s.clauses) < 2 or not hidden:
            yield s


# --- classify and predict


def by_loop(above, divide, shuffle, past):
    def classify(test_Q1, test_Q2, y, threshold, model, vocab, data_generator=None, batch_size=64):
        right = 0
        for i in range(0, len(test_Q1), batch_size):
            one, two, labels = (x[i : i + batch_size] for x in (test_Q1, test_Q2, y))
            v1, v2 = model(
                next(data_generator(one, two, batch_size, vocab["<PAD>"], shuffle=shuffle))
            )
            for j in range(batch_size if past else len(labels)):
                right += labels[j] == above(np.dot(v1[j], v2[j]), threshold)
        return divide(right, len(y), batch_size)

    return classify


def by_arrays(above, divide, shuffle, past):
    def classify(test_Q1, test_Q2, y, threshold, model, vocab, data_generator=None, batch_size=64):
        right = []
        for i in range(0, len(test_Q1), batch_size):
            one, two = test_Q1[i : i + batch_size], test_Q2[i : i + batch_size]
            v1, v2 = model(
                next(data_generator(one, two, len(one), vocab["<PAD>"], shuffle=shuffle))
            )
            found = above(jnp.sum(jnp.asarray(v1) * jnp.asarray(v2), axis=1), threshold)
            right.append(found == jnp.asarray(y[i : i + batch_size]))
        return divide(jnp.concatenate(right).sum(), len(y), batch_size)

    return classify


WRONG_ABOVE = {
    "the comparison is the wrong way round": [lambda d, t: d < t],
    "a similarity equal to the threshold counts as above it": [lambda d, t: d >= t],
}


def classifiers():
    right = {
        "above": [lambda d, t: d > t],
        "divide": [lambda hits, n, size: hits / n],
        "shuffle": [False],
    }
    wrong = {
        "above": WRONG_ABOVE,
        "divide": {
            "this is the number of correct answers": [lambda hits, n, size: hits],
            "the correct answers are divided by the wrong count": [
                lambda hits, n, size: hits / size,
                lambda hits, n, size: hits / -(-n // size),
            ],
            "this is a percentage": [lambda hits, n, size: 100 * hits / n],
        },
        "shuffle": {"the batches are requested shuffled, so they no longer match y": [True]},
    }
    reads_past = "the last, partial batch is read as if it were full, past the end of y"
    for build, past, flaw in (
        (by_loop, True, reads_past),
        (by_loop, False, ""),
        (by_arrays, 0, ""),
    ):
        yield from students_of(
            "classify", build, {**right, "past": [past]}, wrong, 6, singles=1, pairs=8, flaw=flaw
        )


def answer_of(above, read, dot, returns, pair, prints):
    def predict(question1, question2, threshold, model, vocab, data_generator=None, verbose=False):
        one, two = ([read(vocab, word) for word in q.split()] for q in pair(question1, question2))
        b1, b2 = next(data_generator([one], [two], 1, vocab["<PAD>"], shuffle=False))
        v1, v2 = model((b1, b2))
        d = dot(v1, v2)
        if prints(verbose):
            print("d   = ", d)
        return returns(d, above(d, threshold))

    return predict


def without_default(function):
    def predict(question1, question2, threshold, model, vocab, data_generator, verbose):
        return function(question1, question2, threshold, model, vocab, data_generator, verbose)

    return predict


def predictors():
    right = {
        "above": [lambda d, t: d > t, lambda d, t: bool(d > t)],
        "read": [lambda vocab, word: vocab.get(word, 0)],
        "dot": [lambda v1, v2: jnp.dot(v1[0], v2[0]), lambda v1, v2: np.sum(v1[0] * v2[0])],
        "returns": [lambda d, answer: answer],
        "pair": [lambda a, b: (a, b)],
        "prints": [lambda verbose: verbose],
    }
    wrong = {
        "above": WRONG_ABOVE,
        "read": {
            "a word that vocab lacks gets None as its id": [lambda vocab, word: vocab.get(word)]
        },
        "dot": {
            "a vector is compared with itself": [
                lambda v1, v2: np.dot(v1[0], v1[0]),
                lambda v1, v2: np.dot(v2[0], v2[0]),
            ]
        },
        "returns": {
            "this is the similarity, not the answer": [lambda d, answer: d],
            "more than the answer is returned": [lambda d, answer: (d, answer)],
        },
        "pair": {"a question is compared with itself": [lambda a, b: (a, a)]},
        "prints": {
            "it prints although verbose is False": [lambda verbose: True],
            "it prints nothing although verbose is True": [lambda verbose: False],
        },
    }
    grows = "the function makes vocab grow by reading it, as a defaultdict does"
    for read, flaw in ((right["read"], ""), ([lambda vocab, word: vocab[word]], grows)):
        yield from students_of(
            "predict", answer_of, {**right, "read": read}, wrong, 8, singles=1, pairs=0, flaw=flaw
        )
        for s in students_of("predict", answer_of, {**right, "read": read}, {}, 9, rights=2):
            clause = "verbose has no default, but it may be left out"
            yield s._replace(function=without_default(s.function), clauses=frozenset([clause]))


def everyone():
    return [*losses(), *lecture(), *generators(), *classifiers(), *predictors()]
