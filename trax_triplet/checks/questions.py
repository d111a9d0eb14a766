"""What `checks` knows about the functions of the assignment that handle questions: batches,
accuracy, answers.

For each, one function with switches makes the right answer and the mistakes. The models and
generators that a student's function is given here are small stand-ins, which note what they were
asked.
"""

import contextlib
import io
import random
from collections import defaultdict

import numpy as np

from trax_triplet import course
from trax_triplet.checks.step import RAGGED, Step, array, leaves, scalar

# --- data_generator
# ------------------------------------------------------------------------------------------

DROPS = (
    "the pairs behind the last full batch are dropped in every round; carry them over into the next batch, "
    "or yield them as a smaller one"
)
ENDS = "the generator ends after one round; training wants batches for ever, so start again with while True"
NEVER_RESET = (
    "the lists are not emptied after a batch, so the second batch still holds the first; reset both behind "
    "yield"
)
NO_POWER = "the batch is padded to its longest question; pad to the next power of two, 2 ** ceil(log2(longest))"
DOUBLE = (
    "a length that is a power of two already is doubled; use ceil(log2(longest)), without adding 1"
)
OWN_LENGTHS = "each side is padded to a length of its own; take the longest question of both sides"
ONE_SIDE = "the padded length looks at one side only; take the longest question of both sides"
ALL_DATA = "the padded length looks at all questions; take the longest one of the batch"
NO_PADDING = "the questions of a batch differ in length; pad all to the next power of two that holds the longest"
PAD_FIXED = "the pad id is hard-coded as {0}; use the argument pad"
PAD_FRONT = "the padding stands before the words; put it behind them"
SHUFFLE_IGNORED = (
    "shuffle is ignored, the pairs come in the given order; shuffle their indexes where it is True"
)
ALWAYS_SHUFFLES = "the pairs are shuffled though shuffle is False; shuffle only where it is True"
APART = "the two sides are shuffled apart, so pairs are torn; shuffle one list of indexes for both"
SIDES = "the two sides are exchanged; yield the batch of Q1 first"
FLOATS = "the word ids come as floating point numbers; an embedding looks up integers"

_READS = 20_000  # far more than any generator needs for the batches asked for here


class NeverYields(Exception):
    """Raised inside a student's generator that reads on and on without a batch; else the check
    would not end."""


class CountedList(list):
    """A list that stops its reader after very many reads."""

    reads = 0

    def __getitem__(self, place):
        self._count()
        return super().__getitem__(place)

    def __iter__(self):
        for item in super().__iter__():
            self._count()
            yield item

    def __deepcopy__(self, memo):
        return CountedList([list(item) for item in list.__iter__(self)])

    def _count(self):
        self.reads += 1
        if self.reads > _READS:
            raise NeverYields("it reads its questions over and over and yields no batch")


def _is_even(side):
    return array(side) is not RAGGED


def _power(*sides):
    """The padded lengths of both sides: the power of two that the longest of all these questions
    needs."""
    return (1 << (max(len(question) for side in sides for question in side) - 1).bit_length(),) * 2


def _generator(
    last="wrap", length=_power, pad_with=None, front=False, order="as asked", swap=False, dtype=int
):
    """A data_generator; each argument other than the default is one mistake, but last='partial'."""

    def data_generator(Q1, Q2, batch_size, pad=1, shuffle=True):
        def batch(rows):
            sides = [[list(Q[i]) for i in rows] for Q, rows in zip((Q1, Q2), rows)]
            lengths = length(*sides) if length else _power(Q1, Q2)
            padded = []
            for side, width in zip(sides, lengths):
                pads = [
                    [pad if pad_with is None else pad_with] * (width - len(question))
                    for question in side
                ]
                padded.append([p + q if front else q + p for q, p in zip(side, pads)])
            padded = padded[::-1] if swap else padded
            return tuple(np.array(side, dtype) if _is_even(side) else side for side in padded)

        waiting = [[], []]
        while True:
            orders = [list(range(len(Q1))) for _ in waiting]
            if shuffle and order != "as given":
                for number, one in enumerate(orders):
                    random.Random(number if order == "apart" else 0).shuffle(one)
            waiting = [old + new for old, new in zip(waiting, orders)]
            while len(waiting[0]) >= batch_size:
                yield batch([rows[:batch_size] for rows in waiting])
                waiting = [rows[batch_size:] for rows in waiting]
            if waiting[0] and last in ("partial", "partial, then ends"):
                yield batch(waiting)
            if last.endswith("ends"):
                return
            waiting = waiting if last == "wrap" else [[], []]

    return data_generator


def _observe_generator(function, arguments):
    arguments = dict(arguments)
    count, summary = arguments.pop("batches"), arguments.pop("in short")
    batches, end = [], "as asked for"
    generator = function(
        arguments.pop("Q1"), arguments.pop("Q2"), arguments.pop("batch_size"), **arguments
    )
    try:
        while len(batches) < count:
            batches.append(next(generator))
    except StopIteration:
        end = "it ended"
    except NeverYields:
        end = "it read on without an end"
    except (
        Exception
    ) as error:  # whatever the student's generator raises is the finding, with what it gave before
        end = error
    if isinstance(end, Exception) and summary:
        raise end
    if summary:
        return _in_short(batches, arguments.get("pad", 1))
    seen = {}
    for number, batch in enumerate(batches, 1):
        for which, side in zip(("first", "second"), batch):
            seen[f"batch {number}, {which} questions"] = array(side)
        whole = all(np.asarray(side).dtype.kind in "iu" for side in batch if _is_even(side))
        seen[f"batch {number}, ids are integers"] = whole
    return {**seen, "batches": end}


def _questions(n):
    """n pairs; the first word of a question tells which it is."""
    # Batches of two have longest questions of 4 (a power, on the first side), 3 (on the second) and
    # 6.
    lengths = (4, 1, 2, 1, 3, 5, 2, 6, 4, 1, 2, 3), (2, 2, 3, 2, 6, 1, 1, 2, 5, 2, 1, 8)
    return [
        CountedList([start + i, *range(2, 1 + side[i])] for i in range(n))
        for start, side in zip((100, 200), lengths)
    ]


def _in_short(batches, pad):
    """What holds of every shuffle: each pair once, whole, padded; and whether the order is the
    given one."""
    words = {question[0]: question for side in _questions(12) for question in side}
    firsts, padding = ([], []), True
    for batch in batches:
        sides = [[words.get(int(row[0]), [0]) for row in side] for side in batch]
        # Of any length: whether it is right depends on the order, and the other cases see to it.
        padding &= all(
            [*map(int, row)] == question + [pad] * (len(row) - len(question))
            for rows, side in zip(batch, sides)
            for row, question in zip(rows, side)
        )
        for found, side, start in zip(firsts, sides, (100, 200)):
            found += [question[0] - start for question in side]
    first, second = firsts
    return {
        "every pair once": sorted(first) == sorted(second) == [*range(12)],
        "pairs are whole": first == second,
        "words and padding": padding,
        "in the given order": first == [*range(12)],
    }


def _generator_cases():
    def case(n, batch_size, batches, summary=False, **more):
        Q1, Q2 = _questions(n)
        return {
            "Q1": Q1,
            "Q2": Q2,
            "batch_size": batch_size,
            "batches": batches,
            "in short": summary,
            **more,
        }

    return {
        **{
            f"7 pairs in batches of {size}": case(7, size, -(-7 // size) + 1, shuffle=False)
            for size in (2, 3, 5)
        },
        "6 pairs in batches of 3": case(6, 3, 3, shuffle=False),
        "6 pairs in batches of 2, pad -1": case(6, 2, 4, shuffle=False, pad=-1),
        "a round of 12 pairs, not shuffled": case(12, 4, 3, True, shuffle=False),
        "a round of 12 pairs, shuffled": case(12, 3, 4, True, shuffle=True),
        "a round of 12 pairs, shuffled by default": case(12, 2, 6, True),
    }


def _holds_the_first(seen, expected):
    """Whether some second batch begins with the first, or never came."""
    for answer in seen.values():
        if not isinstance(answer, dict) or "batches" not in answer:
            continue
        first, second = (answer.get(f"batch {number}, first questions") for number in (1, 2))
        if str(answer["batches"]) == "it read on without an end" and first is not None:
            return True
        if all(np.ndim(batch) == 2 for batch in (first, second)) and len(second) > len(first):
            if np.array_equal(second[: len(first), 0], first[:, 0]):
                return True
    return False


def _is_uneven(seen, expected):
    """Whether NumPy refused to make an array of rows of different lengths."""
    return any(
        isinstance(leaf, Exception) and "inhomogeneous" in str(leaf)
        for answer in seen.values()
        for leaf in leaves(answer)
    )


def _shuffles_always(seen, expected):
    answer = seen["a round of 12 pairs, not shuffled"]
    return isinstance(answer, dict) and [*answer.values()] == [True, True, True, False]


def _longest(*sides):
    return max(len(question) for side in sides for question in side)


_GENERATOR_MISTAKES = tuple(
    (sentence, _generator(**{**switch, **last}))
    for sentence, switch in (
        (DROPS, {"last": "drop"}),
        (ENDS, {"last": "partial, then ends"}),
        (ENDS, {"last": "drop, then ends"}),
        (NO_POWER, {"length": lambda *sides: (_longest(*sides),) * 2}),
        (DOUBLE, {"length": lambda *sides: (1 << _longest(*sides).bit_length(),) * 2}),
        (OWN_LENGTHS, {"length": lambda *sides: tuple(_power(side)[0] for side in sides)}),
        (ONE_SIDE, {"length": lambda first, second: _power(first)}),
        (ONE_SIDE, {"length": lambda first, second: _power(second)}),
        (ALL_DATA, {"length": None}),
        (NO_PADDING, {"length": lambda *sides: (0, 0)}),
        (PAD_FIXED.format(1), {"pad_with": 1}),
        (PAD_FIXED.format(0), {"pad_with": 0}),
        (PAD_FRONT, {"front": True}),
        (SHUFFLE_IGNORED, {"order": "as given"}),
        (APART, {"order": "apart"}),
        (SIDES, {"swap": True}),
        (FLOATS, {"dtype": float}),
    )
    for last in ([{}] if "last" in switch else [{"last": "wrap"}, {"last": "partial"}])
)

# --- classify
# --------------------------------------------------------------------------------------------------

BELOW = "the comparison is the wrong way round; duplicates have similarities above the threshold, d > threshold"
LEVEL = "a similarity equal to the threshold counts as above it; use d > threshold"
SKIPS = "the last, partial batch is left out; go on to the end of y, whatever its length"
READS_PAST = "the last, partial batch is read as a full one, past the end of y; count only as many as y has left"
NOT_DIVIDED = "this is the number of right answers; divide it by the number of pairs, len(y)"
WRONG_COUNT = (
    "the right answers are divided by the wrong count; divide by the number of pairs, len(y)"
)
BATCH_MEAN = (
    "this is the mean of the batches' accuracies, in which a small last batch counts too much; divide all "
    "right answers by len(y)"
)
PERCENT = "this is a percentage; return the share, from 0 to 1"
SHUFFLED = "the batches are asked for shuffled, so they no longer fit y; call data_generator with shuffle=False"
GROWS = "the function makes vocab grow by reading it, as a defaultdict does; use vocab.get(word, 0)"

_SCORES = (0.9, 0.5, 0.75, 0.2, 0.8, 0.6, 0.1)  # 0.5 is exact: it is the threshold once


def _score_model(questions, *_):
    """Vectors whose similarity is told by the second question's first word."""
    scores = np.array([_SCORES[int(row[0]) - 2] for row in questions[1]], np.float32)
    return np.stack([np.ones_like(scores), 0 * scores], 1), np.stack(
        [scores, np.sqrt(1 - scores**2)], 1
    )


def _observe_classify(function, arguments):
    arguments = dict(arguments)
    batch_size, vocab = arguments.pop("batch_size"), arguments.pop("vocab")
    shuffled = []

    def data_generator(Q1, Q2, batch_size, pad=1, shuffle=True):
        shuffled.append(bool(shuffle))
        return course.data_generator(Q1, Q2, batch_size, pad, shuffle=False)

    accuracy = function(
        *arguments.values(),
        _score_model,
        vocab,
        data_generator=data_generator,
        batch_size=batch_size,
    )
    return {"asks for shuffled batches": any(shuffled), "accuracy": scalar(accuracy)}


def _asks_for_shuffled(seen, expected):
    return any(
        isinstance(answer, dict) and answer["asks for shuffled batches"] for answer in seen.values()
    )


def _classify(compare=np.greater, part="whole", divide="pairs"):
    """A classify; each argument other than the default is one mistake."""

    def classify(Q1, Q2, y, threshold, model, vocab, data_generator, batch_size):
        right, shares = [], []
        for start in range(0, len(y), batch_size):
            rows = slice(start, start + batch_size)
            labels = y[rows]
            if part == "full" and len(labels) < batch_size:
                continue
            batch = next(
                data_generator(Q1[rows], Q2[rows], batch_size, vocab["<PAD>"], shuffle=False)
            )
            d = (np.multiply(*model(batch))).sum(axis=1)
            size = batch_size if part == "past" else len(labels)
            hits = [bool(compare(d[j], threshold)) == bool(labels[j]) for j in range(size)]
            right, shares = right + hits, shares + [np.mean(hits)]
        batches = -(-len(y) // batch_size)
        count = {
            "pairs": len(y),
            "seen": max(len(right), 1),
            "nothing": 1,
            "batch": batch_size,
            "batches": batches,
            "places": batches * batch_size,
            "per cent": len(y) / 100,
        }
        return np.mean(shares) if divide == "shares" else sum(right) / count[divide]

    return classify


_CLASSIFY_MISTAKES = (
    (BELOW, _classify(np.less)),
    (BELOW, _classify(np.less_equal)),
    (LEVEL, _classify(np.greater_equal)),
    (SKIPS, _classify(part="full")),
    (SKIPS, _classify(part="full", divide="seen")),
    (READS_PAST, _classify(part="past")),
    (NOT_DIVIDED, _classify(divide="nothing")),
    (WRONG_COUNT, _classify(divide="batch")),
    (WRONG_COUNT, _classify(divide="batches")),
    (WRONG_COUNT, _classify(divide="places")),
    (BATCH_MEAN, _classify(divide="shares")),
    (PERCENT, _classify(divide="per cent")),
)


def _classify_cases():
    labels = (1, 0, 0, 0, 1, 1, 1)

    def case(n, batch_size, threshold):
        return {
            "test_Q1": [[2, 3, 4][: 1 + i % 3] for i in range(n)],
            "test_Q2": [[2 + i, 3] for i in range(n)],
            "y": np.array(labels[:n]),
            "threshold": threshold,
            "batch_size": batch_size,
            "vocab": defaultdict(int, {"<PAD>": 1, "word": 2}),
        }

    return {
        "7 pairs in batches of 3": case(7, 3, 0.7),
        "7 pairs in batches of 5": case(7, 5, 0.7),
        "6 pairs in batches of 3, one level with the threshold": case(6, 3, 0.5),
        "4 pairs in a batch of 8": case(4, 8, 0.7),
    }


# --- predict
# -----------------------------------------------------------------------------------------------------

NO_BOOLEAN = "this is the similarity, not the answer; return whether it is above the threshold"
ONE_QUESTION = "a question is compared with itself; the model takes question1 and question2"
UNKNOWN_SKIPPED = "words that vocab lacks are left out; they read as id 0"
LOWER_CASE = (
    "the words are put into lower case; the course's vocabulary tells upper and lower case apart"
)
ALWAYS_PRINTS = "it prints though verbose is False; print only where it is True"
NEVER_PRINTS = (
    "it prints nothing where verbose is True; print the ids, the similarity and the answer"
)

_WORDS = ("Is", "green", "tea", "good", "white", "cake", "is")
_VOCAB = {"<PAD>": 1, **{word: number for number, word in enumerate(_WORDS, 2)}}


def _observe_predict(function, arguments):
    arguments = dict(arguments)
    vocab, more, asked = arguments.pop("vocab"), {}, []
    if "verbose" in arguments:
        more["verbose"] = arguments.pop("verbose")

    def model(
        questions, *_
    ):  # four words make a vector of length 1; 0.5 a word keeps the similarities exact
        ids = [[int(i) for i in row if i != 1] for side in questions for row in side]
        asked.append(ids)
        return [
            np.bincount(row, minlength=len(_VOCAB) + 1)[None].astype(np.float32) / 2 for row in ids
        ]

    with contextlib.redirect_stdout(io.StringIO()) as printed:
        answer = function(
            *arguments.values(), model, vocab, data_generator=course.data_generator, **more
        )
    return {
        "ids": asked[-1] if asked else "the model was not asked",
        "answer": scalar(answer),
        "is a boolean": np.asarray(answer).dtype.kind == "b",
        "prints": bool(printed.getvalue()),
    }


def _predict(compare=np.greater, words=str.split, one=False, skip=False, prints=None):
    """A predict; each argument other than the default is one mistake."""

    def predict(question1, question2, threshold, model, vocab, data_generator, verbose=False):
        questions = [question1, question1 if one else question2]
        ids = [
            [vocab.get(word, 0) for word in words(text) if not skip or word in vocab]
            for text in questions
        ]
        v1, v2 = model(next(data_generator(ids[:1], ids[1:], 1, vocab["<PAD>"], shuffle=False)))
        similarity = np.dot(v1[0], v2[0])
        if verbose if prints is None else prints:
            print(similarity)
        return compare(similarity, threshold)

    return predict


_PREDICT_MISTAKES = (
    (BELOW, _predict(np.less)),
    (BELOW, _predict(np.less_equal)),
    (LEVEL, _predict(np.greater_equal)),
    (NO_BOOLEAN, _predict(lambda similarity, threshold: similarity)),
    (ONE_QUESTION, _predict(one=True)),
    (UNKNOWN_SKIPPED, _predict(skip=True)),
    (LOWER_CASE, _predict(words=lambda text: text.lower().split())),
    (ALWAYS_PRINTS, _predict(prints=True)),
    (NEVER_PRINTS, _predict(prints=False)),
)


def _predict_cases():
    def case(question2, threshold, **more):
        return {
            "question1": "Is green tea good",
            "question2": question2,
            "threshold": threshold,
            "vocab": defaultdict(int, _VOCAB),
            **more,
        }

    return {
        "the same question twice": case("Is green tea good", 0.7),
        "half of the words in common": case("Is green cake white", 0.7),
        "a similarity level with the threshold": case("Is green cake white", 0.5),
        "a word that vocab lacks": case("Is green tea wholesome", 0.7),
        "verbose": case("is white tea good", 0.25, verbose=True),
    }


QUESTION_STEPS = {
    "data_generator": Step(
        _generator_cases(),
        (_generator(), _generator("partial")),
        _GENERATOR_MISTAKES,
        _observe_generator,
        (
            (NEVER_RESET, _holds_the_first),
            (NO_PADDING, _is_uneven),
            (ALWAYS_SHUFFLES, _shuffles_always),
        ),
    ),
    "classify": Step(
        _classify_cases(),
        (_classify(),),
        _CLASSIFY_MISTAKES,
        _observe_classify,
        ((SHUFFLED, _asks_for_shuffled),),
        changed={"vocab": GROWS},
    ),
    "predict": Step(
        _predict_cases(),
        (_predict(),),
        _PREDICT_MISTAKES,
        _observe_predict,
        changed={"vocab": GROWS},
    ),
}
