"""What `checks` knows about the functions of the assignment that judge questions.

Each has one function that is right, some of whose parts can be replaced: every replacement is one
mistake. The models and generators that a student's function is given here are small stand-ins,
which record what they were asked.
"""

from __future__ import annotations

import contextlib
import io
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np

from trax_triplet import course
from trax_triplet._typing import Array
from trax_triplet.checks.step import Step, scalar

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

_SCORES = (0.9, 0.5, 0.75, 0.2, 0.8, 0.6, 0.1)  # 0.5 is exact: it is the threshold once


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


def _requests_shuffled(seen: dict[str, Any], expected: Any) -> bool:
    return any(
        isinstance(answer, dict) and answer["requests shuffled batches"] for answer in seen.values()
    )


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
) -> Callable[..., Any]:
    """A right classify; each part that is replaced is one mistake."""

    def classify(Q1, Q2, y, threshold, model, vocab, data_generator, batch_size):
        hits = []
        for start in range(0, len(y), batch_size):
            rows = slice(start, start + batch_size)
            pad = vocab["<PAD>"]
            batch = next(data_generator(Q1[rows], Q2[rows], batch_size, pad, shuffle=False))
            v1, v2 = model(batch)
            hits.append(hits_of(y[rows], compare((v1 * v2).sum(axis=1), threshold), batch_size))
        return share(hits, len(y), batch_size)

    return classify


def _divided_by(count: Callable[[int, int], float]) -> Callable[..., float]:
    return lambda hits, n, batch_size: sum(map(sum, hits)) / count(n, batch_size)


def _share_of_seen(hits: list[list[bool]], n: int, batch_size: int) -> float:
    return sum(map(sum, hits)) / max(sum(map(len, hits)), 1)


_CLASSIFY_MISTAKES = (
    (BELOW, _classify(np.less)),
    (BELOW, _classify(np.less_equal)),
    (LEVEL, _classify(np.greater_equal)),
    (SKIPS, _classify(hits_of=_hits_of_full)),
    (SKIPS, _classify(hits_of=_hits_of_full, share=_share_of_seen)),
    (READS_PAST, _classify(hits_of=_hits_past)),
    (NOT_DIVIDED, _classify(share=_divided_by(lambda n, size: 1))),
    (WRONG_COUNT, _classify(share=_divided_by(lambda n, size: size))),
    (WRONG_COUNT, _classify(share=_divided_by(lambda n, size: -(-n // size)))),
    (WRONG_COUNT, _classify(share=_divided_by(lambda n, size: -(-n // size) * size))),
    (BATCH_MEAN, _classify(share=lambda hits, n, batch_size: np.mean([*map(np.mean, hits)]))),
    (PERCENT, _classify(share=_divided_by(lambda n, size: n / 100))),
)


def _classify_cases() -> dict[str, dict[str, Any]]:
    labels = (1, 0, 0, 0, 1, 1, 1)

    def case(n: int, batch_size: int, threshold: float) -> dict[str, Any]:
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
        "6 pairs in batches of 3, one at the threshold": case(6, 3, 0.5),
        "4 pairs in a batch of 8": case(4, 8, 0.7),
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


def _ids(text: str, vocab: Any) -> list[int]:
    return [vocab.get(word, 0) for word in text.split()]


def _predict(
    compare: Callable[..., Any] = np.greater,
    ids_of: Callable[..., list[int]] = _ids,
    pair: Callable[..., tuple[str, str]] = lambda question1, question2: (question1, question2),
    prints: Callable[[bool], bool] = bool,
) -> Callable[..., Any]:
    """A right predict; each part that is replaced is one mistake."""

    def predict(question1, question2, threshold, model, vocab, data_generator, verbose=False):
        first, second = (ids_of(text, vocab) for text in pair(question1, question2))
        v1, v2 = model(next(data_generator([first], [second], 1, vocab["<PAD>"], shuffle=False)))
        similarity = np.dot(v1[0], v2[0])
        if prints(verbose):
            print(similarity)
        return compare(similarity, threshold)

    return predict


_PREDICT_MISTAKES = (
    (BELOW, _predict(np.less)),
    (BELOW, _predict(np.less_equal)),
    (LEVEL, _predict(np.greater_equal)),
    (NO_BOOLEAN, _predict(lambda similarity, threshold: similarity)),
    (ONE_QUESTION, _predict(pair=lambda question1, question2: (question1, question1))),
    (
        UNKNOWN_SKIPPED,
        _predict(ids_of=lambda text, vocab: [vocab[w] for w in text.split() if w in vocab]),
    ),
    (LOWER_CASE, _predict(ids_of=lambda text, vocab: _ids(text.lower(), vocab))),
    (ALWAYS_PRINTS, _predict(prints=lambda verbose: True)),
    (NEVER_PRINTS, _predict(prints=lambda verbose: False)),
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


QUESTION_STEPS = {
    "classify": Step(
        _classify_cases(),
        (_classify(),),
        _CLASSIFY_MISTAKES,
        _observe_classify,
        ((SHUFFLED, _requests_shuffled),),
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
