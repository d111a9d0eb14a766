"""Question pairs as a `tf.data.Dataset` of training batches, planned like those of `train`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from trax_triplet import _validation as check
from trax_triplet._typing import Array
from trax_triplet.data.pairs import Pairs, question_groups
from trax_triplet.data.stream import BatchStream
from trax_triplet.data.tokenizer import tokenize
from trax_triplet.data.vocabulary import Vocabulary
from trax_triplet.keras.layers import tf

__all__ = ["pairs_dataset"]


def pairs_dataset(
    pairs: Pairs,
    batch_size: int = 256,
    *,
    seed: int = 0,
    vocabulary: Vocabulary | None = None,
    max_words: int | None = None,
) -> Any:
    """Batches of duplicate pairs, to train a Keras model on.

    Use it as `model.fit(pairs_dataset(pairs), shuffle=False)`. An element is ((questions1,
    questions2), ids), n pairs. No two of them share a question or a known duplicate group, so that
    no negative of a batch is a known duplicate. Questions of similar length come together. The
    batches are those of `stream.BatchStream`, endless rounds over the pairs; iterating over the
    dataset once gives the next ceil(pairs / batch_size) of them, so that Keras knows how many there
    are. That is one round, except for the few more batches that large duplicate groups need; some
    batches hold fewer pairs. Each iteration gives other batches, in an order that the seed
    determines; an iteration that was interrupted is repeated.

    Args:
        pairs: as from `read_pairs`. Those labelled 0 are left out: only duplicates train.
        batch_size: pairs per batch.
        seed: of the order.
        vocabulary: if given, questions become word ids, padded with 1, for models that take ids.
        max_words: with a vocabulary: longer questions are cut.

    Returns:
        A `tf.data.Dataset`. Questions are strings (n,), or int32 (n, length) with a vocabulary; ids
        are int32 (n, 2), the duplicate group of each question, for
        `ModifiedTripletLoss(with_groups=True)`; other losses ignore them.

    Raises:
        TypeError: not `Pairs`, not a `Vocabulary`, or a number that is not an integer.
        ValueError: no duplicate pair, a number outside its range, `max_words` without a vocabulary.

    Example:
        >>> questions = ["How old?", "Why?", "Who?"], ["What age?", "How come?", "When?"]
        >>> pairs = Pairs(*questions, [1, 1, 0])
        >>> for (questions1, questions2), ids in pairs_dataset(pairs, batch_size=8):
        ...     print(sorted(questions1.numpy()), ids.shape)
        [b'How old?', b'Why?'] (2, 2)
    """
    check.instance("pairs", pairs, Pairs, "trax_triplet.Pairs", "make them with read_pairs(path)")
    check.integer("batch_size", batch_size, 1)
    check.integer("seed", seed)
    if vocabulary is not None:
        check.instance("vocabulary", vocabulary, Vocabulary, "a trax_triplet.Vocabulary or None")
    if max_words is not None:
        check.integer("max_words", max_words, 1)
        if vocabulary is None:
            raise ValueError("max_words cuts word ids: give a vocabulary with it, or leave it out")
    if pairs.is_duplicate is None or not pairs.is_duplicate.any():
        raise ValueError("pairs must have at least one pair labelled 1 (duplicate) to train on")
    pairs = pairs.select(np.flatnonzero(pairs.is_duplicate))
    sides = pairs.question1, pairs.question2
    # Of texts, only the lengths matter: any ids will do.
    ids1, ids2 = (
        vocabulary.encode_all(side)
        if vocabulary
        else [np.ones(len(tokenize(text)), np.int32) for text in side]
        for side in sides
    )
    stream = BatchStream(
        ids1,
        ids2,
        question_groups(pairs)[0],
        batch_size=batch_size,
        seed=seed,
        max_words=max_words or max(1, *map(len, ids1 + ids2)),
    )
    groups, n_batches = tf.TensorSpec((None, 2), tf.int32), -(-len(pairs) // batch_size)
    if vocabulary is not None:
        matrix = tf.TensorSpec((None, None), tf.int32)
        return _dataset(stream, n_batches, _ids_and_groups, ((matrix, matrix), groups))
    numbers = tf.TensorSpec((None,), tf.int64)
    rows = _dataset(stream, n_batches, _rows_and_groups, (numbers, groups))
    texts = [tf.constant(side) for side in sides]
    return rows.map(lambda rows, groups: (tuple(tf.gather(side, rows) for side in texts), groups))


def _dataset(
    stream: BatchStream, n_batches: int, element: Callable[[Array, Array], tuple], signature: Any
) -> Any:
    """A dataset of that many elements of the stream; the next iteration gives those that follow."""
    lock, place = threading.Lock(), [stream.state()]  # tf.data may ask from several threads

    def elements() -> Iterator[tuple]:
        with lock:
            stream.restore(place[0])
            batches = [next(stream) for _ in range(n_batches)]
            rows, end = stream.take_rows(), stream.state()
        yield from map(element, rows, batches)
        place[0] = end  # only now: Keras takes a first batch just to look at it

    dataset = tf.data.Dataset.from_generator(elements, output_signature=signature)
    return dataset.apply(tf.data.experimental.assert_cardinality(n_batches))


def _rows_and_groups(rows: Array, batch: Array) -> tuple[Array, Array]:
    return rows, np.stack(batch[2:], axis=1)[: len(rows)]


def _ids_and_groups(rows: Array, batch: Array) -> tuple[tuple[Array, ...], Array]:
    return tuple(ids[: len(rows)] for ids in batch[:2]), _rows_and_groups(rows, batch)[1]
