"""Trax's Trainer for a Siamese LSTM on one device: words computed once, padding not at all, rows of the embedding
that a batch does not touch left alone. Same loss, gradients and Adam as Trax's own."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from trax_triplet.compat import fastmath, optimizers
from trax_triplet.lazy_adam import MOST_BEHIND, RowsBehind, adam, caught_up, put, take
from trax_triplet.loss import triplet_loss
from trax_triplet.model import WEIGHT_NAMES, get_weights, set_weights
from trax_triplet.recurrence import Packed, pack, packed_lstm
from trax_triplet.similarity import l2_normalize
from trax_triplet.vocabulary import OOV_ID, PAD_ID

_SETTINGS = ("word_dropout", "n_unknown", "margin", "closest", "anchor")
ROOM = 1024  # arrays of words are padded to multiples of this: few shapes to compile


class PackedBatch(NamedTuple):
    """A batch of both sides of the pairs: which words it has, and where they stand."""

    words: np.ndarray   # int32 (n,): the word ids that occur, then those of unknown words; distinct
    packed: Packed      # of the rows of both sides; index: places in `words`
    back: np.ndarray    # int32 (rows,): where each row stands in `packed.order`
    groups: tuple       # two int32 arrays (pairs,)


def pack_batch(batch, vocab_size, buckets):
    """Packs a batch of `BatchStream`, on the host.

    Args:
        batch: (ids1, ids2, groups1, groups2), int32 (pairs, length) twice and (pairs,) twice.
        vocab_size: number of word ids.
        buckets: how many of them, the last, are for unknown words; 0: id 0 is.

    Returns:
        `PackedBatch`; `words` ends in the ids for unknown words and is filled with `vocab_size`, no word's id,
        before them.

    Example:
        >>> ids = np.array([[5, 1, 6]])
        >>> batch = pack_batch((ids, ids, np.array([0]), np.array([0])), vocab_size=9, buckets=2)
        >>> batch.words[:3].tolist(), batch.words[-2:].tolist(), batch.packed.index[:4].tolist()
        ([5, 6, 9], [7, 8], [0, 0, 1, 1])
    """
    ids1, ids2, *groups = (np.asarray(part) for part in batch)
    width = max(ids1.shape[1], ids2.shape[1])
    ids = np.concatenate([np.pad(side, ((0, 0), (0, width - side.shape[1])), constant_values=PAD_ID)
                          for side in (ids1, ids2)])
    is_word = ids != PAD_ID
    lengths = is_word.sum(axis=1)
    if not is_word[:, :-1].all():  # words that stand behind padding move to the front
        ids = np.take_along_axis(ids, np.argsort(~is_word, axis=1, kind="stable"), axis=1)
    packed = pack(ids, lengths)
    unknown = np.arange(vocab_size - buckets, vocab_size) if buckets else np.array([OOV_ID])
    occurs = np.zeros(vocab_size, bool)
    occurs[packed.index] = True
    occurs[unknown] = False
    known = np.flatnonzero(occurs)
    filled = -(-len(known) // ROOM) * ROOM
    words = np.concatenate([known, np.full(filled - len(known), vocab_size), unknown]).astype(np.int32)
    place = np.zeros(vocab_size, np.int32)
    place[known], place[unknown] = np.arange(len(known)), filled + np.arange(len(unknown))
    back = np.empty_like(packed.order)
    back[packed.order] = np.arange(len(back))
    room = -len(packed.index) % ROOM
    steps = -len(packed.counts) % 32
    packed = Packed(np.pad(place[packed.index], (0, room)), np.pad(packed.counts, (0, steps)), packed.order)
    return PackedBatch(words, packed, back, tuple(groups))


def hide_words(words, key, rate, n_unknown):
    """Word dropout as `model.WordDropout` has it, on the words of a batch.

    Args:
        words: table of their embeddings (n, d); the last `n_unknown` are those of unknown words.
        key: JAX random key.
        rate: share of the words that are hidden.
        n_unknown: how many rows a hidden word may read as.

    Returns:
        (n, d): the embeddings that the words read as.
    """
    n = words.shape[0]
    key1, key2 = jax.random.split(key)
    hidden = jax.random.bernoulli(key1, rate, (n,))
    reads_as = jax.random.randint(key2, (n,), n - n_unknown, n)
    return words[jnp.where(hidden, reads_as, jnp.arange(n))]


def batch_loss(rows, kernel, bias, batch, key, settings):
    """The triplet loss of a packed batch.

    Args:
        rows: embeddings (n, d) of `batch.words`.
        kernel, bias: as in `get_weights`.
        batch: `PackedBatch`.
        key: JAX random key, for word dropout.
        settings: dict with word_dropout, n_unknown, margin, closest and anchor.

    Returns:
        A scalar.
    """
    d = rows.shape[1]
    if settings["word_dropout"]:
        rows = hide_words(rows, key, settings["word_dropout"], settings["n_unknown"])
    projected = rows @ kernel[:d] + bias
    last = packed_lstm(projected, kernel[d:], batch.packed)
    v1, v2 = jnp.split(l2_normalize(last[batch.back]), 2)
    rule = {name: settings[name] for name in ("margin", "closest", "anchor")}
    return triplet_loss(v1, v2, groups=batch.groups, normalize=False, **rule)


class PackedTrainer(optimizers.Trainer):
    """A Trax Trainer whose weights and slots are right once `settle` was called; until then rows wait.

    Args:
        model_with_loss: as in Trax's Trainer: a `Siamese` of pooling 'last', and a loss layer.
        optimizer: `optimizers.Adam`.
        model: the `Siamese`.
        settings: dict with buckets, and what `batch_loss` needs but n_unknown.
    """

    def __init__(self, model_with_loss, optimizer, model, settings):
        super().__init__(model_with_loss, optimizer, n_devices=1)
        self._model, self._own, self._rates = model, None, np.zeros(MOST_BEHIND, np.float32)
        self._vocab_size, self._buckets = get_weights(model)["embedding"].shape[0], settings["buckets"]
        settings = {**settings, "n_unknown": self._buckets or 1}
        self._step = jax.jit(functools.partial(_step, settings={name: settings[name] for name in _SETTINGS}), donate_argnums=(0, 1))
        self._catch_up = jax.jit(caught_up, donate_argnums=(0,))

    def one_step(self, batch, rng, step=0, learning_rate=None):
        """As Trax's: trains on one batch and returns (loss, statistics)."""
        if self._own is None:
            self._take_over(step)
        options = {name: np.float32(value) for name, value in self._opt_params.items() if value is not None}
        if learning_rate is not None:
            options["learning_rate"] = np.float32(learning_rate)
        if step % MOST_BEHIND == 0:
            self._own = (self._catch_up(self._own[0], step, self._rates, options), *self._own[1:])
        self._rates = self._rates.copy()
        self._rates[step % MOST_BEHIND] = options["learning_rate"]
        packed = pack_batch(batch, self._vocab_size, self._buckets)
        rows, rest, loss = self._step(*self._own, step, self._rates, options, packed, rng)
        self._own, self._done = (rows, rest), step + 1
        self._last_options = options
        return loss, {"loss": loss, "learning_rate": options["learning_rate"]}

    def _take_over(self, step):
        """Copies weights and slots; what Trax holds is never donated, so that it stays whole."""
        table, kernel, bias = (jnp.array(w) for w in get_weights(self._model).values())
        slots = iter([jnp.array(slot) for slot in fastmath.tree_leaves(self._optimizer.slots)])
        moments = [(next(slots), next(slots)) for _ in WEIGHT_NAMES]
        rows = RowsBehind(table, *moments[0], jnp.full(table.shape[:1], step, jnp.int32))
        self._own = rows, ((kernel, moments[1]), (bias, moments[2]))

    def settle(self):
        """Lets all rows catch up, and hands weights and slots to the model and the optimizer."""
        if self._own is None:
            return
        own, self._own = self._own, None
        if any(array.is_deleted() for array in fastmath.tree_leaves(own)):
            return  # interrupted in the middle of a step: what was settled last stands
        rows = self._catch_up(own[0], self._done, self._rates, self._last_options)
        (kernel, kernel_moments), (bias, bias_moments) = own[1]
        set_weights(self._model, dict(zip(WEIGHT_NAMES, (rows.table, kernel, bias))))
        leaves = iter([rows.first, rows.second, *kernel_moments, *bias_moments])
        self.slots = fastmath.nested_map(lambda _: next(leaves), self._optimizer.slots)


def _step(rows, rest, step, rates, options, batch, key, *, settings):
    """One step: the batch's rows catch up, and move; `rest` is ((kernel, moments), (bias, moments))."""
    touched = caught_up(take(rows, batch.words), step, rates, options)
    (kernel, kernel_moments), (bias, bias_moments) = rest
    loss, gradients = jax.value_and_grad(batch_loss, (0, 1, 2))(touched.table, kernel, bias, batch, key, settings)
    table, moments = adam(step, gradients[0], touched.table, touched[1:3], options)
    rows = put(rows, batch.words, RowsBehind(table, *moments, touched.at + 1))
    rest = (adam(step, gradients[1], kernel, kernel_moments, options),
            adam(step, gradients[2], bias, bias_moments, options))
    return rows, rest, loss
