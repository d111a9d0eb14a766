"""Question pairs as a `tf.data.Dataset` of training batches, planned as those of `training.train`
are."""

import threading

import numpy as np

from trax_triplet._validation import whole_number
from trax_triplet.data.pairs import check_pairs, question_groups
from trax_triplet.data.stream import BatchStream
from trax_triplet.data.tokenizer import tokenize
from trax_triplet.data.vocabulary import Vocabulary
from trax_triplet.keras.layers import tf


def pairs_dataset(pairs, batch_size=256, *, seed=0, vocabulary=None, max_words=None):
    """Batches of duplicate pairs, to train a Keras model on: `model.fit(pairs_dataset(pairs),
    shuffle=False)`.

    An element is ((questions1, questions2), ids), n pairs. No two of them share a question or a
    known duplicate group, so that no negative of a batch is a known duplicate. Questions of similar
    length come together. The batches are those of `stream.BatchStream`, endless rounds over the
    pairs; going through the dataset once gives the next ceil(pairs / batch_size) of them, so that
    Keras knows how many there are. That is a round, but for the few more batches that large
    duplicate groups need; some batches hold fewer pairs. Each time they are others, in an order
    that the seed decides; a time that was broken off is given again.

    Args:
        pairs: `data.Pairs`, as from `read_pairs`. Those labelled 0 are left out: only duplicates
        train.
        batch_size: pairs a batch.
        seed: of the order.
        vocabulary: a `Vocabulary`, to get word ids in place of texts, padded with 1; for models
        that take ids.
        max_words: with a vocabulary: longer questions are cut.

    Returns:
        A `tf.data.Dataset`. Questions are strings (n,), or int32 (n, length) with a vocabulary; ids
        are int32 (n, 2), the duplicate group of each question, for
        `ModifiedTripletLoss(with_groups=True)`; other losses do not look at them.

    Raises:
        TypeError: no `Pairs`, no `Vocabulary`, a number that is not whole.
        ValueError: no duplicate pair, a number outside its range, `max_words` without a vocabulary.

    Example:
        >>> from trax_triplet.data.pairs import Pairs
        >>> pairs = Pairs(["How old?", "Why?", "Who?"], ["What age?", "How come?", "When?"], [1, 1, 0])
        >>> for (questions1, questions2), ids in pairs_dataset(pairs, batch_size=8):
        ...     print(sorted(questions1.numpy()), ids.shape)
        [b'How old?', b'Why?'] (2, 2)
    """
    check_pairs(pairs)
    whole_number("batch_size", batch_size, 1)
    whole_number("seed", seed)
    if vocabulary is not None and not isinstance(vocabulary, Vocabulary):
        raise TypeError(
            f"vocabulary must be a Vocabulary, or None for texts, but it is {vocabulary!r:.60}"
        )
    if max_words is not None:
        whole_number("max_words", max_words, 1)
        if vocabulary is None:
            raise ValueError("max_words cuts word ids: give a vocabulary with it, or leave it out")
    if pairs.is_duplicate is None or not pairs.is_duplicate.any():
        raise ValueError(
            "there is no duplicate pair to train on: at least one pair must be labelled 1"
        )
    pairs = pairs.select(np.flatnonzero(pairs.is_duplicate))
    sides = pairs.question1, pairs.question2
    # Of texts the lengths alone are asked for: any ids will do.
    ids = [
        vocabulary.encode_all(side)
        if vocabulary
        else [np.ones(len(tokenize(text)), np.int32) for text in side]
        for side in sides
    ]
    stream = BatchStream(
        *ids,
        question_groups(pairs)[0],
        batch_size=batch_size,
        seed=seed,
        max_words=max_words or max(1, *map(len, ids[0] + ids[1])),
    )
    groups, n_batches = tf.TensorSpec((None, 2), tf.int32), -(-len(pairs) // batch_size)
    if vocabulary is None:
        texts = [tf.constant(side) for side in sides]
        rows = _dataset(
            stream, n_batches, _rows_and_groups, (tf.TensorSpec((None,), tf.int64), groups)
        )
        return rows.map(
            lambda rows, groups: (tuple(tf.gather(side, rows) for side in texts), groups)
        )
    matrix = tf.TensorSpec((None, None), tf.int32)
    return _dataset(stream, n_batches, _ids_and_groups, ((matrix, matrix), groups))


def _dataset(stream, n_batches, element, signature):
    """A dataset of that many elements of the stream's; the next time it gives those that follow."""
    one_at_a_time, place = (
        threading.Lock(),
        [stream.state()],
    )  # tf.data may ask from several threads

    def elements():
        with one_at_a_time:
            stream.restore(place[0])
            batches = [next(stream) for _ in range(n_batches)]
            rows, end = stream.take_rows(), stream.state()
        yield from map(element, rows, batches)
        place[0] = end  # Keras takes a first batch only to look at it

    dataset = tf.data.Dataset.from_generator(elements, output_signature=signature)
    return dataset.apply(tf.data.experimental.assert_cardinality(n_batches))


def _rows_and_groups(rows, batch):
    return rows, np.stack(batch[2:], axis=1)[: len(rows)]


def _ids_and_groups(rows, batch):
    return tuple(ids[: len(rows)] for ids in batch[:2]), np.stack(batch[2:], axis=1)[: len(rows)]
