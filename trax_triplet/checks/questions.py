"""What `checks` knows about the functions of the assignment that answer questions.

Each has one function that is right, some of whose parts can be replaced: every replacement is one
mistake. The models and generators that a student's function is given here are small stand-ins,
which record what they were asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np

from trax_triplet import course
from trax_triplet._typing import Array
from trax_triplet.checks.running import overheard
from trax_triplet.checks.step import Mistake, Step, of_part, scalar

__all__ = ["QUESTION_STEPS"]

# --- classify

BELOW = (
    "the comparison is the wrong way round; duplicates have similarities above the threshold, "
    "d > threshold"
)
LEVEL = "a similarity equal to the threshold counts as above it; use d > threshold"
SKIPS = "the last, partial batch is left out; go on to the end of y, whatever its length"
READS_PAST = (
    "the last, partial batch is read as if it were full, past the end of y; count only as many "
    "pairs as y has left"
)
NOT_DIVIDED = "this is the number of correct answers; divide it by the number of pairs, len(y)"
WRONG_COUNT = (
    "the correct answers are divided by the wrong count; divide by the number of pairs, len(y)"
)
BATCH_MEAN = (
    "this is the mean of the batches' accuracies, in which a small last batch counts too much; "
    "divide all correct answers by len(y)"
)
PERCENT = "this is a percentage; return the share, from 0 to 1"
SHUFFLED = (
    "the batches are requested shuffled, so they no longer match y; call data_generator with "
    "shuffle=False"
)
GROWS = "the function makes vocab grow by reading it, as a defaultdict does; use vocab.get(word, 0)"

_SCORES = (0.9, 0.5, 0.75, 0.2, 0.8, 0.6, 0.1, 0.85)  # 0.5 is exact: it is the threshold once


def _score_model(questions: Array, *_: Any) -> tuple[np.ndarray, np.ndarray]:
    """Vectors whose similarity is determined by the second question's first word."""
    scores = np.array([_SCORES[int(row[0]) - 2] for row in questions[1]], np.float32)
    first = np.stack([np.ones_like(scores), 0 * scores], 1)
    return first, np.stack([scores, np.sqrt(1 - scores**2)], 1)


def _observe_classify(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
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
    return {"requests shuffled batches": any(shuffled), "accuracy": scalar(accuracy)}


def _hits(labels: Any, answers: Any, batch_size: int) -> list[bool]:
    return [bool(answer) == bool(label) for answer, label in zip(answers, labels, strict=False)]


def _hits_of_full(labels: Any, answers: Any, batch_size: int) -> list[bool]:
    return _hits(labels, answers, batch_size) if len(labels) == batch_size else []


def _hits_past(labels: Any, answers: Any, batch_size: int) -> list[bool]:
    return [bool(answers[j]) == bool(labels[j]) for j in range(batch_size)]


def _share(hits: list[list[bool]], n: int, batch_size: int) -> float:
    return sum(map(sum, hits)) / n


def _classify(
    compare: Callable[..., Any] = np.greater,
    hits_of: Callable[..., list[bool]] = _hits,
    share: Callable[..., Any] = _share,
    shuffle: bool = False,
) -> Callable[..., Any]:
    """A right classify; each part that is replaced is one mistake."""

    def classify(Q1, Q2, y, threshold, model, vocab, data_generator, batch_size):
        hits = []
        for start in range(0, len(y), batch_size):
            rows = slice(start, start + batch_size)
            pad = vocab["<PAD>"]
            batch = next(data_generator(Q1[rows], Q2[rows], batch_size, pad, shuffle))
            v1, v2 = model(batch)
            hits.append(hits_of(y[rows], compare((v1 * v2).sum(axis=1), threshold), batch_size))
        return share(hits, len(y), batch_size)

    return classify


def _divided_by(count: Callable[[int, int], float]) -> Callable[..., float]:
    return lambda hits, n, batch_size: sum(map(sum, hits)) / count(n, batch_size)


def _share_of_seen(hits: list[list[bool]], n: int, batch_size: int) -> float:
    return sum(map(sum, hits)) / max(sum(map(len, hits)), 1)


_BELOW = ((BELOW, np.less), (BELOW, np.less_equal), (LEVEL, np.greater_equal))
_CLASSIFY_MISTAKES = (
    *of_part("compare", _BELOW),
    *of_part(
        "share",
        (
            (NOT_DIVIDED, _divided_by(lambda n, size: 1)),
            (WRONG_COUNT, _divided_by(lambda n, size: size)),
            (WRONG_COUNT, _divided_by(lambda n, size: -(-n // size))),
            (PERCENT, _divided_by(lambda n, size: n / 100)),
        ),
    ),
    Mistake(SHUFFLED, {"shuffle": True}),
)
# They show where the last batch is smaller than the others.
_CLASSIFY_FLAWS = (
    Mistake(SKIPS, {"hits_of": _hits_of_full}),
    Mistake(SKIPS, {"hits_of": _hits_of_full, "share": _share_of_seen}),
    Mistake(READS_PAST, {"hits_of": _hits_past}),
    Mistake(WRONG_COUNT, {"share": _divided_by(lambda n, size: -(-n // size) * size)}),
    Mistake(BATCH_MEAN, {"share": lambda hits, n, size: np.mean([*map(np.mean, hits)])}),
)


def _classify_cases(*sizes: tuple[int, int, float]) -> dict[str, dict[str, Any]]:
    labels = (1, 0, 0, 0, 1, 1, 1, 1)
    return {
        f"{n} pairs in batches of {batch_size}"
        + ", one at the threshold" * (threshold in _SCORES): {
            "test_Q1": [[2, 3, 4][: 1 + i % 3] for i in range(n)],
            "test_Q2": [[2 + i, 3] for i in range(n)],
            "y": np.array(labels[:n]),
            "threshold": threshold,
            "batch_size": batch_size,
            "vocab": defaultdict(int, {"<PAD>": 1, "word": 2}),
        }
        for n, batch_size, threshold in sizes
    }


# --- predict

NO_BOOLEAN = "this is the similarity, not the answer; return whether it is above the threshold"
ONE_QUESTION = "a question is compared with itself; pass question1 and question2 to the model"
UNKNOWN_SKIPPED = "words that vocab lacks are left out; give them id 0"
LOWER_CASE = (
    "the words are converted to lower case; the course's vocabulary distinguishes upper and lower "
    "case"
)
ALWAYS_PRINTS = "it prints although verbose is False; print only if it is True"
NEVER_PRINTS = (
    "it prints nothing although verbose is True; print the ids, the similarity and the answer"
)

_WORDS = ("Is", "green", "tea", "good", "white", "cake", "is")
_VOCAB = {"<PAD>": 1, **{word: number for number, word in enumerate(_WORDS, 2)}}


RETURNS_MORE = (
    "more than the answer is returned; return only whether the similarity is above the threshold"
)
ONE_VECTOR = (
    "a vector is compared with itself; the similarity is the product of the first question's "
    "vector with the second one's"
)
NO_DEFAULT = (
    "verbose has no default, but it may be left out; write verbose=False in the list of arguments"
)
NO_ID = (
    "a word that vocab lacks gets None as its id; vocab.get(word) needs a default, "
    "vocab.get(word, 0)"
)
NO_PUNKT = "NLTK's rules for sentences are not installed; run nltk.download('punkt_tab') once"


def _observe_predict(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    arguments = dict(arguments)
    vocab, more, asked = arguments.pop("vocab"), {}, []
    if "verbose" in arguments:
        more["verbose"] = arguments.pop("verbose")

    # Four words make a vector of length 1; 0.5 per word keeps the similarities exact.
    def model(questions: Array, *_: Any) -> list[np.ndarray]:
        ids = [[int(i) for i in row if i != 1] for side in questions for row in side]
        asked.append(ids)
        return [
            np.bincount(row, minlength=len(_VOCAB) + 1)[None].astype(np.float32) / 2 for row in ids
        ]

    def data_generator(Q1, Q2, batch_size, pad=1, shuffle=True):
        asked.append([list(question) for side in (Q1, Q2) for question in side])
        return course.data_generator(Q1, Q2, batch_size, pad, shuffle)

    with overheard() as printed:
        try:
            answer = function(
                *arguments.values(), model, vocab, data_generator=data_generator, **more
            )
        except Exception as error:  # what was asked until then tells mistakes apart
            if not asked:
                raise
            return {"ids": asked[-1], "answer": error}
    return {
        "ids": asked[-1] if asked else "the model was not asked",
        "answer": _answer(answer),
        "is a boolean": np.asarray(_answer(answer)).dtype.kind == "b",
        "prints": bool(printed.getvalue()),
    }


def _answer(answer: Any) -> Any:
    """The answer as a number; several values as text, whatever they are."""
    is_several = isinstance(answer, (tuple, list)) and len(answer) > 1
    return "several values" if is_several else scalar(answer)


def _ids(text: str, vocab: Any) -> list[int]:
    return [vocab.get(word, 0) for word in text.split()]


def _predict(
    compare: Callable[..., Any] = np.greater,
    ids_of: Callable[..., list[Any]] = _ids,
    pair: Callable[..., tuple[str, str]] = lambda question1, question2: (question1, question2),
    dot: Callable[..., Any] = lambda v1, v2: np.dot(v1[0], v2[0]),
    returns: Callable[..., Any] = lambda similarity, answer: answer,
    prints: Callable[[bool], bool] = bool,
    needs_verbose: bool = False,
) -> Callable[..., Any]:
    """A right predict; each part that is replaced is one mistake."""

    def predict(question1, question2, threshold, model, vocab, data_generator, verbose=None):
        if needs_verbose and verbose is None:
            raise TypeError("missing 1 required argument: 'verbose'")
        first, second = (ids_of(text, vocab) for text in pair(question1, question2))
        v1, v2 = model(next(data_generator([first], [second], 1, vocab["<PAD>"], shuffle=False)))
        similarity = dot(v1, v2)
        if prints(bool(verbose)):
            print(similarity)
        return returns(similarity, compare(similarity, threshold))

    return predict


_PREDICT_MISTAKES = (
    *of_part("compare", _BELOW),
    *of_part(
        "returns",
        (
            (NO_BOOLEAN, lambda similarity, answer: similarity),
            (RETURNS_MORE, lambda similarity, answer: (similarity, answer)),
        ),
    ),
    Mistake(ONE_QUESTION, {"pair": lambda question1, question2: (question1, question1)}),
    Mistake(ONE_QUESTION, {"pair": lambda question1, question2: (question2, question2)}),
    Mistake(ONE_VECTOR, {"dot": lambda v1, v2: np.dot(v1[0], v1[0])}),
    Mistake(ONE_VECTOR, {"dot": lambda v1, v2: np.dot(v2[0], v2[0])}),
    *of_part(
        "ids_of",
        (
            (UNKNOWN_SKIPPED, lambda text, vocab: [vocab[w] for w in text.split() if w in vocab]),
            (NO_ID, lambda text, vocab: [vocab.get(w) for w in text.split()]),
            (LOWER_CASE, lambda text, vocab: _ids(text.lower(), vocab)),
        ),
    ),
    *of_part(
        "prints",
        ((ALWAYS_PRINTS, lambda verbose: True), (NEVER_PRINTS, lambda verbose: False)),
    ),
    Mistake(NO_DEFAULT, {"needs_verbose": True}),
)


def _predict_cases() -> dict[str, dict[str, Any]]:
    def case(question2: str, threshold: float, **more: Any) -> dict[str, Any]:
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
        "a similarity at the threshold": case("Is green cake white", 0.5),
        "a word that vocab lacks": case("Is green tea wholesome", 0.7),
        "verbose": case("is white tea good", 0.25, verbose=True),
    }


def _punkt_is_missing(seen: dict[str, Any], expected: Any) -> bool:
    return any(isinstance(a, LookupError) and "punkt" in str(a) for a in seen.values())


QUESTION_STEPS = {
    "classify": Step(
        _classify_cases((6, 3, 0.5), (8, 4, 0.7), (8, 2, 0.7)),
        _classify,
        _CLASSIFY_MISTAKES,
        _observe_classify,
        later=_classify_cases((7, 3, 0.7), (7, 5, 0.7), (4, 8, 0.7)),
        flaws=_CLASSIFY_FLAWS,
        changed={"vocab": GROWS},
    ),
    "predict": Step(
        _predict_cases(),
        _predict,
        _PREDICT_MISTAKES,
        _observe_predict,
        signs=((NO_PUNKT, _punkt_is_missing),),
        changed={"vocab": GROWS},
    ),
}
