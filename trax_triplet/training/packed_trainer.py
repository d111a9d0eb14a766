"""Trax's Trainer for a Siamese LSTM on one device: each word is computed once, padding never.

Rows of the embedding that a batch does not touch are left alone. Loss, gradients and Adam are those
of Trax.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from trax_triplet._typing import Array
from trax_triplet.compat import fastmath, optimizers
from trax_triplet.data.stream import MOST_OTHERS
from trax_triplet.data.vocabulary import PAD_ID, unknown_ids
from trax_triplet.loss.ranking import ranking_loss
from trax_triplet.loss.similarity import l2_normalize
from trax_triplet.loss.teacher import teacher_loss
from trax_triplet.loss.triplet import triplet_loss
from trax_triplet.model.packing import CHUNK, Packed, Workspace, pack
from trax_triplet.model.recurrence import backward, forward
from trax_triplet.model.weights import WEIGHT_NAMES, get_weights, set_weights
from trax_triplet.training.lazy_adam import MAX_DELAY, LazyRows, adam, catch_up, put, take
from trax_triplet.training.settings import TrainSettings


class PackedBatch(NamedTuple):
    """A batch of both sides of the pairs: which words it has, and where they are.

    Attributes:
        words: int32 (n,), the distinct ids that are read; from some place on `vocab_size`, which is
            not a word's id.
        used: how many of them are words.
        packed: of the rows of both sides; its index has places in `words`.
        back: int32 (rows,), where each row is in `packed.order`.
        groups: two int32 arrays (pairs,).
        labels: int32 (pairs,), or None where all pairs are duplicates.
        taught: the teacher's vectors, float32 (pairs, width) twice; or None.
    """

    words: np.ndarray
    used: np.int32
    packed: Packed
    back: np.ndarray
    groups: tuple[np.ndarray, np.ndarray]
    labels: np.ndarray | None
    taught: tuple[np.ndarray, np.ndarray] | None


def pack_batch(
    batch: tuple, vocab_size: int, buckets: int, *, dropout: float = 0.0, seed: Any = 0
) -> PackedBatch:
    """Packs a batch of `BatchStream`, with word dropout as `model.WordDropout` has it; on the host.

    Args:
        batch: (ids1, ids2, groups1, groups2), int32 (pairs, length) twice and (pairs,) twice; maybe
            labels (pairs,), and then maybe the teacher's vectors, float32 (pairs, width) twice.
        vocab_size: number of word ids.
        buckets: how many of them, the last, are for unknown words; 0: id 0 is.
        dropout: share of the words that are hidden, and treated as unknown ones.
        seed: of what is hidden; anything that `np.random.default_rng` takes.

    Returns:
        `PackedBatch`.

    Example:
        >>> ids = np.array([[5, 1, 6]])
        >>> batch = pack_batch((ids, ids, np.array([0]), np.array([0])), vocab_size=9, buckets=2)
        >>> batch.words[:4].tolist(), batch.packed.index[:4].tolist()
        ([5, 6, 9, 9], [0, 0, 1, 1])
        >>> batch.packed.counts[:3].tolist()
        [2, 2, 0]
    """
    ids1, ids2, groups1, groups2, *more = (np.asarray(part) for part in batch)
    width = max(ids1.shape[1], ids2.shape[1])
    ids = np.concatenate(
        [
            np.pad(side, ((0, 0), (0, width - side.shape[1])), constant_values=PAD_ID)
            for side in (ids1, ids2)
        ]
    )
    is_word = ids != PAD_ID
    lengths = is_word.sum(axis=1)
    if not is_word[:, :-1].all():  # words that come after padding move to the front
        ids = np.take_along_axis(ids, np.argsort(~is_word, axis=1, kind="stable"), axis=1)
    packed = pack(ids, lengths)
    occurring = _occurring(packed.index, vocab_size)
    index = _replacements(occurring, vocab_size, buckets, dropout, seed)[packed.index]
    words = _occurring(index, vocab_size)
    place = np.zeros(vocab_size, np.int32)
    place[words] = np.arange(len(words))
    back = np.empty_like(packed.order)
    back[packed.order] = np.arange(len(back))
    packed = Packed(
        _longer(place[index], _power_of_two(len(index))),
        _longer(packed.counts, -(-width // 32) * 32),
        packed.order,
    )
    filled = _longer(words.astype(np.int32), _power_of_two(len(words)), vocab_size)
    return PackedBatch(
        filled,
        np.int32(len(words)),
        packed,
        back,
        (groups1, groups2),
        more[0] if more else None,
        (more[1], more[2]) if len(more) > 1 else None,
    )


def _occurring(ids: np.ndarray, vocab_size: int) -> np.ndarray:
    """The distinct ids, ascending; quicker than `np.unique`."""
    occurs = np.zeros(vocab_size, bool)
    occurs[ids] = True
    return np.flatnonzero(occurs)


def _replacements(
    words: np.ndarray, vocab_size: int, buckets: int, dropout: float, seed: Any
) -> np.ndarray:
    """What each id is treated as, int (vocab_size,): of these words a share is hidden."""
    replacements = np.arange(vocab_size)
    if dropout:
        rng = np.random.default_rng(seed)
        hidden = words[rng.random(len(words)) < dropout]
        replacements[hidden] = rng.integers(*unknown_ids(vocab_size, buckets), len(hidden))
    return replacements


def workspace_size(batch_size: int, max_words: int) -> tuple[int, int]:
    """Places and distinct words of the first workspace; a batch that needs more gets a larger one.

    Returns:
        Places of a full batch of questions of at most 32 words, and a quarter of that.

    Example:
        >>> workspace_size(256, 32)
        (16384, 4096)
    """
    places = _power_of_two(2 * batch_size * min(max_words, 32))
    return places, max(places // 4, CHUNK)


def pad_to_workspace(batch: PackedBatch, places: int, tokens: int, vocab_size: int) -> PackedBatch:
    """The `PackedBatch`, lengthened to so many places and words."""
    packed = batch.packed._replace(index=_longer(batch.packed.index, places))
    return batch._replace(words=_longer(batch.words, tokens, vocab_size), packed=packed)


def _power_of_two(n: int) -> int:
    """The least power of two that holds n, CHUNK or more: few shapes to compile."""
    return max(CHUNK, 1 << max(n - 1, 0).bit_length())


def _longer(array: np.ndarray, length: int, filler: int = 0) -> np.ndarray:
    return np.pad(array, (0, length - len(array)), constant_values=filler)


def ranking_weight(settings: TrainSettings, others_per_batch: int) -> float:
    """The weight of `ranking_loss` in a batch.

    Where there are few pairs labelled 0, each batch has only some: they weigh less, so that each
    pair pulls no harder than where there are many.

    Example:
        >>> ranking_weight(TrainSettings(batch_size=256, labelled_weight=2), others_per_batch=48)
        1.0
    """
    most = MOST_OTHERS * settings.batch_size
    return settings.labelled_weight * min(others_per_batch / most, 1.0)


class PackedTrainer(optimizers.Trainer):
    """A Trax Trainer whose weights and slots are up to date only once `settle` was called.

    Args:
        model_with_loss: as in Trax's Trainer: a `Siamese` of pooling 'last', and a loss layer.
        optimizer: `optimizers.Adam`.
        model: the `Siamese`.
        settings: `TrainSettings` of the run.
        others_per_batch, unlabelled_per_batch: pairs labelled 0 at the end of each batch, and
            unlabelled rows after them.
    """

    def __init__(
        self,
        model_with_loss: Any,
        optimizer: Any,
        model: Any,
        settings: TrainSettings,
        others_per_batch: int = 0,
        unlabelled_per_batch: int = 0,
    ) -> None:
        super().__init__(model_with_loss, optimizer, n_devices=1)
        self._model, self._settings = model, settings
        self._state: tuple[LazyRows, tuple] | None = None  # what the steps update, see `_step`
        self._workspace: Workspace | None = None
        rows = settings.batch_size + others_per_batch + unlabelled_per_batch
        self._size = workspace_size(rows, settings.max_words)
        self._rates = np.zeros(MAX_DELAY, np.float32)
        self._vocab_size, self._d_model = get_weights(model)["embedding"].shape
        rule = {
            "margin": settings.margin,
            "closest": settings.closest,
            "anchor": settings.anchor,
            "n_duplicates": settings.batch_size,
            "weight": ranking_weight(settings, others_per_batch),
            "teacher_weight": settings.teacher_weight,
        }
        self._step = jax.jit(functools.partial(_step, rule=rule), donate_argnums=(0, 1, 2))
        self._catch_up = jax.jit(catch_up, donate_argnums=(0,))

    def one_step(
        self, batch: tuple, rng: Array, step: int = 0, learning_rate: float | None = None
    ) -> tuple[Array, dict[str, Array]]:
        """As Trax's: trains on one batch and returns (loss, statistics)."""
        rows, others = self._state or self._copied_state(step)
        given = cast("dict[str, Any]", self._opt_params).copy()
        if learning_rate is not None:
            given["learning_rate"] = learning_rate
        options = {name: np.float32(value) for name, value in given.items() if value is not None}
        if step % MAX_DELAY == 0:
            rows = self._catch_up(rows, step, self._rates, options)
        # At once: an interruption from here on finds what `settle` needs.
        self._state, self._done, self._last_options = (rows, others), step, options
        self._rates = self._rates.copy()
        self._rates[step % MAX_DELAY] = options["learning_rate"]
        packed = pack_batch(
            batch,
            self._vocab_size,
            self._settings.buckets,
            dropout=self._settings.word_dropout,
            seed=(self._settings.seed, step),
        )
        places, tokens = self._size
        needed = len(packed.packed.index), len(packed.words)
        if self._workspace is None or needed[0] > places or needed[1] > tokens:
            self._size = places, tokens = max(places, needed[0]), max(tokens, needed[1])
            self._workspace = Workspace.of(places, tokens, self._d_model)
        packed = pad_to_workspace(packed, places, tokens, self._vocab_size)
        rows, others, self._workspace, loss = self._step(
            rows, others, self._workspace, step, self._rates, options, packed
        )
        self._state, self._done = (rows, others), step + 1
        return loss, {"loss": loss, "learning_rate": options["learning_rate"]}

    def _copied_state(self, step: int) -> tuple[LazyRows, tuple]:
        """Copies of weights and slots: steps donate theirs, and what Trax holds stays valid."""
        table, kernel, bias = (jnp.array(w) for w in get_weights(self._model).values())
        slots = iter([jnp.array(slot) for slot in fastmath.tree_leaves(self._optimizer.slots)])
        moments = [(next(slots), next(slots)) for _ in WEIGHT_NAMES]
        rows = LazyRows(table, *moments[0], jnp.full(table.shape[:1], step, jnp.int32))
        return rows, ((kernel, moments[1]), (bias, moments[2]))

    def settle(self) -> None:
        """Lets all rows catch up, and hands weights and slots to the model and the optimizer."""
        if self._state is None:
            return
        state, self._state = self._state, None
        if self._workspace is not None and self._workspace.gates.is_deleted():
            self._workspace = None
        if any(array.is_deleted() for array in fastmath.tree_leaves(state)):
            return  # interrupted in the middle of a step: what was settled last stays
        rows = self._catch_up(state[0], self._done, self._rates, self._last_options)
        (kernel, kernel_moments), (bias, bias_moments) = state[1]
        weights = rows.table, kernel, bias
        set_weights(self._model, dict(zip(WEIGHT_NAMES, weights, strict=True)))
        leaves = iter([rows.first, rows.second, *kernel_moments, *bias_moments])
        self.slots = fastmath.nested_map(lambda _: next(leaves), self._optimizer.slots)


def _step(
    rows: LazyRows,
    others: tuple,
    workspace: Workspace,
    step: Array,
    rates: Array,
    options: dict[str, Array],
    batch: PackedBatch,
    *,
    rule: dict[str, Any],
) -> tuple[LazyRows, tuple, Workspace, Array]:
    """One step; the batch's rows of the embedding catch up first.

    Args:
        rows: the embedding.
        others: ((kernel, moments), (bias, moments)).
        workspace, batch, rule: as in `loss_and_gradients`.
        step, rates, options: as in `catch_up`.

    Returns:
        The new rows, others and workspace, and the loss.
    """
    touched = catch_up(take(rows, batch.words), step, rates, options)
    (kernel, kernel_moments), (bias, bias_moments) = others
    loss, gradients, workspace = loss_and_gradients(
        touched.table, kernel, bias, batch, workspace, rule
    )
    table, moments = adam(step, gradients[0], touched.table, touched[1:3], options)
    rows = put(rows, batch.words, LazyRows(table, *moments, touched.at + 1))
    others = (
        adam(step, gradients[1], kernel, kernel_moments, options),
        adam(step, gradients[2], bias, bias_moments, options),
    )
    return rows, others, workspace, loss


def loss_and_gradients(
    table: Array,
    kernel: Array,
    bias: Array,
    batch: PackedBatch,
    workspace: Workspace,
    rule: dict[str, Any],
) -> tuple[Array, list[Array], Workspace]:
    """The triplet loss of a packed batch, and its gradients.

    Args:
        table: embeddings (n, d) of `batch.words`.
        kernel, bias: as in `get_weights`.
        batch: `PackedBatch`, its index as long as the workspace.
        workspace: `Workspace`.
        rule: dict with margin, closest and anchor; n_duplicates, the pairs before those labelled 0;
            the weight of the latter, and that of the teacher.

    Returns:
        A scalar, the gradients of table, kernel and bias, and the workspace.
    """

    n, weight = rule["n_duplicates"], rule["weight"]
    of_triplets = {name: rule[name] for name in ("margin", "closest", "anchor")}

    def of_states(last: Array) -> Array:
        both = l2_normalize(last[batch.back])
        v1, v2 = jnp.split(both, 2)
        groups = batch.groups[0][:n], batch.groups[1][:n]
        loss = triplet_loss(v1[:n], v2[:n], groups=groups, normalize=False, **of_triplets)
        if weight and batch.labels is not None:
            labels, margin = batch.labels, rule["margin"]
            loss += weight * ranking_loss(v1, v2, labels, margin=margin, normalize=False)
        if batch.taught is not None:
            loss += rule["teacher_weight"] * teacher_loss(
                both, jnp.concatenate(batch.taught), normalize=False
            )
        return loss

    last, cells, workspace = forward(table, kernel, bias, batch.packed, workspace, batch.used)
    loss, d_last = jax.value_and_grad(of_states)(last)
    *gradients, workspace = backward(
        table, kernel, batch.packed, cells, workspace, d_last, batch.used
    )
    return loss, gradients, workspace
