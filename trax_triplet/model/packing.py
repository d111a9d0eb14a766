"""Rows of many lengths, step by step without padding, and the workspace of `lstm`; plain JAX."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from trax_triplet._typing import Array

__all__ = ["CHUNK", "Packed", "Workspace", "pack", "row_bucket_sizes"]

CHUNK = 1024  # places whose gradients are added up in one product


class Packed(NamedTuple):
    """Where the words of rows of many lengths lie, step by step; NumPy or JAX arrays."""

    index: Array  # int32 (packed,): what stands there, a word's number; 0 where nothing does
    counts: Array  # int32 (steps,): rows that read at each step, not increasing
    order: Array  # int32 (rows,): the rows, the longest first


def row_bucket_sizes(rows: int) -> tuple[int, ...]:
    """The numbers of rows that a step may compute, multiples of 16: fewer rows cost as much as 16.

    Each is compiled on its own, so there are only eight: those that leave least padding on real
    questions (of 512 rows, 6 to 10 % of what is computed).

    Args:
        rows: rows in all, 1 or more.

    Returns:
        Ascending tuple of int; the last is `rows`.

    Example:
        >>> row_bucket_sizes(512)
        (16, 48, 112, 192, 304, 384, 448, 512)
        >>> row_bucket_sizes(40)
        (16, 32, 40)
    """
    parts = (1, 3, 7, 12, 19, 24, 28, 32)
    return tuple(sorted({min(rows, -(-rows * part // (32 * 16)) * 16) for part in parts}))


def pack(tokens: np.ndarray, lengths: np.ndarray) -> Packed:
    """Puts the tokens of sorted rows together step by step; NumPy, on the host.

    Args:
        tokens: int (rows, length); the first `lengths[i]` of row i count.
        lengths: int (rows,).

    Returns:
        `Packed`, of NumPy arrays, without spare places.

    Example:
        >>> packed = pack(np.array([[7, 0], [8, 9]]), np.array([1, 2]))
        >>> packed.index.tolist(), packed.counts.tolist(), packed.order.tolist()
        ([8, 7, 9, 0], [2, 1], [1, 0])
    """
    lengths = np.asarray(lengths)
    order = np.argsort(-lengths, kind="stable").astype(np.int32)
    steps = int(lengths.max(initial=0))
    counts = (lengths[None, :] > np.arange(steps)[:, None]).sum(axis=1).astype(np.int32)
    sizes = np.array(row_bucket_sizes(len(lengths)))
    computed = sizes[np.searchsorted(sizes, counts)]
    words = np.where(np.arange(steps) < lengths[order][:, None], tokens[order, :steps], 0)
    index = words.T[np.arange(len(lengths)) < computed[:, None]].astype(np.int32)
    return Packed(index, counts, order)


class Workspace(NamedTuple):
    """What `forward` keeps for `backward`, and what both fill; arrays to be donated and reused.

    The system hands out the pages of new memory one by one, which can take as long as the
    arithmetic: a training step that brings its workspace with it needs none.
    """

    gates: jax.Array  # (places, 4 d): input, new, forget, output
    before: jax.Array  # (places, d): state that enters the step
    cells: jax.Array  # (places, d): cell that enters the step
    d_gates: jax.Array  # (places, 4 d): gradient of what goes into the gates
    projected: jax.Array  # (tokens, 4 d): what each token brings to the gates
    d_projected: jax.Array  # (tokens, 4 d): its gradient

    @classmethod
    def of(cls, places: int, tokens: int, d: int, dtype: Any = jnp.float32) -> Workspace:
        """Workspace for so many places and tokens, multiples of CHUNK, and states of width d.

        Example:
            >>> workspace = Workspace.of(CHUNK, 2 * CHUNK, 3)
            >>> workspace.gates.shape, workspace.projected.shape
            ((1024, 12), (2048, 12))
        """
        return cls(
            *(jnp.zeros((places, width * d), dtype) for width in (4, 1, 1, 4)),
            *(jnp.zeros((tokens, 4 * d), dtype) for _ in range(2)),
        )
