"""Trax's Trainer for a Siamese LSTM on one device: words computed once, padding not at all, rows of
the embedding that a batch does not touch left alone. Same loss, gradients and Adam as Trax's
own."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from trax_triplet.compat import fastmath, optimizers
from trax_triplet.data.vocabulary import OOV_ID, PAD_ID
from trax_triplet.kernels.lazy_adam import MAX_DELAY, LazyRows, adam, catch_up, put, take
from trax_triplet.kernels.lstm import backward, forward
from trax_triplet.kernels.packing import CHUNK, Packed, Workspace, pack
from trax_triplet.loss.similarity import l2_normalize
from trax_triplet.loss.triplet import triplet_loss
from trax_triplet.model.siamese import WEIGHT_NAMES, get_weights, set_weights

_RULE = ("margin", "closest", "anchor")


class PackedBatch(NamedTuple):
    """A batch of both sides of the pairs: which words it has, and where they stand."""

    words: (
        np.ndarray
    )  # int32 (n,): the ids that are read, distinct; from some place on `vocab_size`, no word's id
    used: np.int32  # how many they are
    packed: Packed  # of the rows of both sides; index: places in `words`
    back: np.ndarray  # int32 (rows,): where each row stands in `packed.order`
    groups: tuple  # two int32 arrays (pairs,)


def pack_batch(batch, vocab_size, buckets, *, dropout=0.0, seed=0):
    """Packs a batch of `BatchStream`, with word dropout as `model.WordDropout` has it; on the host.

    Args:
        batch: (ids1, ids2, groups1, groups2), int32 (pairs, length) twice and (pairs,) twice.
        vocab_size: number of word ids.
        buckets: how many of them, the last, are for unknown words; 0: id 0 is.
        dropout: share of the words that are hidden, and read as unknown ones.
        seed: of what is hidden; anything that `np.random.default_rng` takes.

    Returns:
        `PackedBatch`.

    Example:
        >>> ids = np.array([[5, 1, 6]])
        >>> batch = pack_batch((ids, ids, np.array([0]), np.array([0])), vocab_size=9, buckets=2)
        >>> batch.words[:4].tolist(), batch.packed.index[:4].tolist(), batch.packed.counts[:3].tolist()
        ([5, 6, 9, 9], [0, 0, 1, 1], [2, 2, 0])
    """
    ids1, ids2, *groups = (np.asarray(part) for part in batch)
    width = max(ids1.shape[1], ids2.shape[1])
    ids = np.concatenate(
        [
            np.pad(side, ((0, 0), (0, width - side.shape[1])), constant_values=PAD_ID)
            for side in (ids1, ids2)
        ]
    )
    is_word = ids != PAD_ID
    lengths = is_word.sum(axis=1)
    if not is_word[:, :-1].all():  # words that stand behind padding move to the front
        ids = np.take_along_axis(ids, np.argsort(~is_word, axis=1, kind="stable"), axis=1)
    packed = pack(ids, lengths)
    reads_as = _hide(_occurring(packed.index, vocab_size), vocab_size, buckets, dropout, seed)
    index = reads_as[packed.index]
    words = _occurring(index, vocab_size)
    place = np.zeros(vocab_size, np.int32)
    place[words] = np.arange(len(words))
    filled = np.full(_power_of_two(len(words)), vocab_size, np.int32)
    filled[: len(words)] = words
    back = np.empty_like(packed.order)
    back[packed.order] = np.arange(len(back))
    packed = Packed(
        _longer(place[index], _power_of_two(len(index))),
        _longer(packed.counts, -(-width // 32) * 32),
        packed.order,
    )
    return PackedBatch(filled, np.int32(len(words)), packed, back, tuple(groups))


def _occurring(ids, vocab_size):
    occurs = np.zeros(vocab_size, bool)
    occurs[ids] = True
    return np.flatnonzero(occurs)


def _hide(words, vocab_size, buckets, dropout, seed):
    """What each word id reads as, int (vocab_size,); of these words a share is hidden."""
    reads_as = np.arange(vocab_size)
    if dropout:
        rng = np.random.default_rng(seed)
        hidden = words[rng.random(len(words)) < dropout]
        reads_as[hidden] = (
            rng.integers(vocab_size - buckets, vocab_size, len(hidden)) if buckets else OOV_ID
        )
    return reads_as


def workspace_size(batch_size, max_words):
    """The places and distinct words of the first workspace; a batch that needs more gets a larger one.

    Returns:
        Places of a full batch of questions of at most 32 words, and a quarter of that.

    Example:
        >>> workspace_size(256, 32)
        (16384, 4096)
    """
    places = _power_of_two(2 * batch_size * min(max_words, 32))
    return places, max(places // 4, CHUNK)


def pad_to_workspace(batch, places, tokens, vocab_size):
    """The `PackedBatch`, lengthened to so many places and words."""
    packed = batch.packed._replace(index=_longer(batch.packed.index, places))
    return batch._replace(words=_longer(batch.words, tokens, vocab_size), packed=packed)


def _power_of_two(n):
    """The least power of two that holds n, CHUNK or more: few shapes to compile."""
    return max(CHUNK, 1 << max(n - 1, 0).bit_length())


def _longer(array, length, filler=0):
    return np.pad(array, (0, length - len(array)), constant_values=filler)


class PackedTrainer(optimizers.Trainer):
    """A Trax Trainer whose weights and slots are right once `settle` was called; until then rows
    wait.

    Args:
        model_with_loss: as in Trax's Trainer: a `Siamese` of pooling 'last', and a loss layer.
        optimizer: `optimizers.Adam`.
        model: the `Siamese`.
        settings: `TrainSettings` of the run.
    """

    def __init__(self, model_with_loss, optimizer, model, settings):
        super().__init__(model_with_loss, optimizer, n_devices=1)
        self._model, self._settings, self._own = model, settings, None
        self._workspace = None
        self._size = workspace_size(settings.batch_size, settings.max_words)
        self._rates = np.zeros(MAX_DELAY, np.float32)
        self._vocab_size, self._d_model = get_weights(model)["embedding"].shape
        self._step = jax.jit(
            functools.partial(_step, rule={name: getattr(settings, name) for name in _RULE}),
            donate_argnums=(0, 1, 2),
        )
        self._catch_up = jax.jit(catch_up, donate_argnums=(0,))

    def one_step(self, batch, rng, step=0, learning_rate=None):
        """As Trax's: trains on one batch and returns (loss, statistics)."""
        if self._own is None:
            self._take_over(step)
        options = {
            name: np.float32(value) for name, value in self._opt_params.items() if value is not None
        }
        if learning_rate is not None:
            options["learning_rate"] = np.float32(learning_rate)
        if step % MAX_DELAY == 0:
            self._own = (self._catch_up(self._own[0], step, self._rates, options), *self._own[1:])
        self._rates = self._rates.copy()
        self._rates[step % MAX_DELAY] = options["learning_rate"]
        packed = pack_batch(
            batch,
            self._vocab_size,
            self._settings.buckets,
            seed=(self._settings.seed, step),
            dropout=self._settings.word_dropout,
        )
        needed = len(packed.packed.index), len(packed.words)
        if self._workspace is None or any(n > size for n, size in zip(needed, self._size)):
            self._size = tuple(map(max, needed, self._size))
            self._workspace = Workspace.of(*self._size, self._d_model)
        packed = pad_to_workspace(packed, *self._size, self._vocab_size)
        rows, rest, self._workspace, loss = self._step(
            *self._own, self._workspace, step, self._rates, options, packed
        )
        self._own, self._done = (rows, rest), step + 1
        self._last_options = options
        return loss, {"loss": loss, "learning_rate": options["learning_rate"]}

    def _take_over(self, step):
        """Copies weights and slots; what Trax holds is never donated, so that it stays whole."""
        table, kernel, bias = (jnp.array(w) for w in get_weights(self._model).values())
        slots = iter([jnp.array(slot) for slot in fastmath.tree_leaves(self._optimizer.slots)])
        moments = [(next(slots), next(slots)) for _ in WEIGHT_NAMES]
        rows = LazyRows(table, *moments[0], jnp.full(table.shape[:1], step, jnp.int32))
        self._own = rows, ((kernel, moments[1]), (bias, moments[2]))

    def settle(self):
        """Lets all rows catch up, and hands weights and slots to the model and the optimizer."""
        if self._own is None:
            return
        own, self._own = self._own, None
        if self._workspace is not None and self._workspace.gates.is_deleted():
            self._workspace = None
        if any(array.is_deleted() for array in fastmath.tree_leaves(own)):
            return  # interrupted in the middle of a step: what was settled last stands
        rows = self._catch_up(own[0], self._done, self._rates, self._last_options)
        (kernel, kernel_moments), (bias, bias_moments) = own[1]
        set_weights(self._model, dict(zip(WEIGHT_NAMES, (rows.table, kernel, bias))))
        leaves = iter([rows.first, rows.second, *kernel_moments, *bias_moments])
        self.slots = fastmath.nested_map(lambda _: next(leaves), self._optimizer.slots)


def _step(rows, rest, workspace, step, rates, options, batch, *, rule):
    """One step: the batch's rows catch up, and move; `rest` is ((kernel, moments), (bias,
    moments))."""
    touched = catch_up(take(rows, batch.words), step, rates, options)
    (kernel, kernel_moments), (bias, bias_moments) = rest
    loss, gradients, workspace = loss_and_gradients(
        touched.table, kernel, bias, batch, workspace, rule
    )
    table, moments = adam(step, gradients[0], touched.table, touched[1:3], options)
    rows = put(rows, batch.words, LazyRows(table, *moments, touched.at + 1))
    rest = (
        adam(step, gradients[1], kernel, kernel_moments, options),
        adam(step, gradients[2], bias, bias_moments, options),
    )
    return rows, rest, workspace, loss


def loss_and_gradients(table, kernel, bias, batch, workspace, rule):
    """The triplet loss of a packed batch, and its gradients.

    Args:
        table: embeddings (n, d) of `batch.words`.
        kernel, bias: as in `get_weights`.
        batch: `PackedBatch`, its index as long as the workspace.
        workspace: `Workspace`.
        rule: dict with margin, closest and anchor.

    Returns:
        A scalar, the gradients of table, kernel and bias, and the workspace.
    """

    def of_states(last):
        v1, v2 = jnp.split(l2_normalize(last[batch.back]), 2)
        return triplet_loss(v1, v2, groups=batch.groups, normalize=False, **rule)

    last, cells, workspace = forward(table, kernel, bias, batch.packed, workspace, batch.used)
    loss, d_last = jax.value_and_grad(of_states)(last)
    *gradients, workspace = backward(
        table, kernel, batch.packed, cells, workspace, d_last, batch.used
    )
    return loss, gradients, workspace
