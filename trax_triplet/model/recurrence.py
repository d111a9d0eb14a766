"""An LSTM over questions of many lengths that skips padding, with its gradient; plain JAX.

Rows are sorted, the longest first, so that at every step the rows that still read are the first
ones. A step computes the next larger number of `row_bucket_sizes`; what the steps computed lies in
one array, one step after another ("packed"). The gradient walks back once, through the gates that
were kept; those of the kernel and of the inputs are formed after the walk, in products over many
steps. Autodiff of `lax.scan` would add up the kernel's gradient step by step, and read and write
padding like words.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from trax_triplet import _validation as check
from trax_triplet._typing import Array
from trax_triplet.model.packing import CHUNK, Packed, Workspace, row_bucket_sizes

__all__ = ["backward", "forward", "lstm", "lstm_step"]


def forward(
    table: Array, kernel: Array, bias: Array, packed: Packed, workspace: Workspace, used: Array
) -> tuple[jax.Array, jax.Array, Workspace]:
    """Runs an LSTM over packed rows.

    With the gates i, g, f and o, c' = sigmoid(f) c + sigmoid(i) tanh(g), h' = sigmoid(o) tanh(c').
    A token meets its half of the kernel once, however often it occurs in the rows.

    Args:
        table: float (tokens, d_in): the tokens, embedded; as many as the workspace has.
        kernel: float (d_in + d, 4 d), rows for the input, then for the state; gates i, g, f, o, as
            in Trax.
        bias: float (4 d,).
        packed: `Packed`; `index` are rows of `table`, as long as the workspace.
        workspace: `Workspace` for at least what the steps compute: the sum over steps of the
            smallest of `row_bucket_sizes` that holds their rows.
        used: int scalar: tokens that occur; the table's rows after them are not read.

    Returns:
        The last states (rows, d), in the order of `packed.order`: a row of length 0 has the state
        0. The last cells, likewise. And the workspace, filled.

    Example:
        >>> from trax_triplet.model.packing import Workspace, pack
        >>> packed = pack(np.array([[0, 1], [1, 1]]), np.array([2, 1]))
        >>> packed = packed._replace(index=np.resize(packed.index, CHUNK))
        >>> workspace = Workspace.of(CHUNK, CHUNK, 1)
        >>> table, kernel, bias = jnp.zeros((CHUNK, 1)), jnp.zeros((2, 4)), jnp.zeros(4)
        >>> forward(table, kernel, bias, packed, workspace, 2)[0].tolist()
        [[0.0], [0.0]]
    """
    # NumPy's arrays cannot be traced.
    table, kernel, bias, index, counts = map(
        jnp.asarray, (table, kernel, bias, packed.index, packed.counts)
    )
    into, onward = kernel[: table.shape[1]], kernel[table.shape[1] :]

    def project(chunk, projected):
        return _put(projected, _take(table, chunk * CHUNK, CHUNK) @ into + bias, chunk * CHUNK)

    projected = lax.fori_loop(0, _chunks(used), project, workspace.projected)
    last, cells, *kept = _walk(
        projected, onward, index, counts, row_bucket_sizes(packed.order.shape[0]), workspace[:3]
    )
    return (
        last,
        cells,
        workspace._replace(gates=kept[0], before=kept[1], cells=kept[2], projected=projected),
    )


def backward(
    table: Array,
    kernel: Array,
    packed: Packed,
    last_cells: Array,
    workspace: Workspace,
    d_last: Array,
    used: Array,
) -> tuple[jax.Array, jax.Array, jax.Array, Workspace]:
    """The gradients of `forward`, walking back once.

    Sums run over chunks of CHUNK places or tokens, up to the last that holds something, so that
    neither time nor rounding depends on how large the workspace is.

    Args:
        table, kernel, packed, used: as in `forward`.
        last_cells, workspace: what `forward` gave.
        d_last: float (rows, d), gradient of the last states.

    Returns:
        Gradients of table, kernel and bias, and the workspace.
    """
    table, kernel, index, counts, d_last = map(
        jnp.asarray, (table, kernel, packed.index, packed.counts, d_last)
    )
    into, onward = kernel[: table.shape[1]], kernel[table.shape[1] :]
    sizes = row_bucket_sizes(packed.order.shape[0])
    total = jnp.sum(_places(counts, sizes)[1])
    # After the last place the workspace holds what an earlier batch left there: the last chunk must
    # not add it.
    empty = jnp.zeros((CHUNK, workspace.d_gates.shape[1]), workspace.d_gates.dtype)
    d_gates = _put(workspace.d_gates, empty, total)
    d_gates = _walk_back(
        workspace.gates, workspace.cells, last_cells, onward, counts, d_last, None, sizes, d_gates
    )

    def from_places(chunk, sums):
        back = _take(d_gates, chunk * CHUNK, CHUNK)
        rows = _take(index, chunk * CHUNK, CHUNK)
        return sums[0].at[rows].add(back), sums[1] + _take(
            workspace.before, chunk * CHUNK, CHUNK
        ).T @ back

    def from_tokens(chunk, sums):
        back = _take(d_projected, chunk * CHUNK, CHUNK)
        tokens = _take(table, chunk * CHUNK, CHUNK)
        return (
            _put(sums[0], back @ into.T, chunk * CHUNK),
            sums[1] + tokens.T @ back,
            sums[2] + back.sum(axis=0),
        )

    d_projected = lax.fori_loop(
        0, _chunks(used), lambda chunk, x: _put(x, empty, chunk * CHUNK), workspace.d_projected
    )
    start = d_projected, jnp.zeros_like(onward)
    d_projected, d_onward = lax.fori_loop(0, _chunks(total), from_places, start)
    start = jnp.zeros_like(table), jnp.zeros_like(into), jnp.zeros_like(kernel[0])
    d_table, d_into, d_bias = lax.fori_loop(0, _chunks(used), from_tokens, start)
    workspace = workspace._replace(d_gates=d_gates, d_projected=d_projected)
    return d_table, jnp.concatenate([d_into, d_onward]), d_bias, workspace


def _chunks(n: Any) -> Any:
    return -(-n // CHUNK)


def lstm(x: Array, kernel: Array, bias: Array, lengths: Array | None = None) -> jax.Array:
    """The states of an LSTM after each step, as `tl.LSTM` computes them.

    Args:
        x: float (rows, steps, d_in). Half precision is computed in float32.
        kernel: float (d_in + d, 4 d), rows for the input, then for the state; gates i, g, f, o.
        bias: float (4 d,).
        lengths: int (rows,), or None. Steps from a row's length on leave its state as it is, and
            are skipped where enough rows have ended.

    Returns:
        (rows, steps, d), in x's dtype.

    Raises:
        TypeError: `x` is not floating point.
        ValueError: shapes that do not fit.

    Example:
        >>> lstm(jnp.ones((2, 3, 4)), jnp.zeros((6, 8)), jnp.zeros(8)).shape
        (2, 3, 2)
    """
    _check(x, kernel, bias, lengths)
    rows, steps, d_in = x.shape
    if not steps or not rows:
        return jnp.zeros((rows, steps, kernel.shape[1] // 4), x.dtype)
    wide = jnp.promote_types(x.dtype, jnp.float32)
    kernel, bias = kernel.astype(wide), bias.astype(wide)
    projected = (
        jnp.swapaxes(x, 0, 1).reshape(steps * rows, d_in).astype(wide) @ kernel[:d_in] + bias
    )
    if lengths is None:
        counts = jnp.full((steps,), rows, jnp.int32)
        last, entering = _lstm(projected, kernel[d_in:], None, counts, (rows,))  # pyright: ignore[reportGeneralTypeIssues], partial hides its type
        after = jnp.concatenate([entering[rows:], last]).reshape(steps, rows, -1)
        return jnp.swapaxes(after, 0, 1).astype(x.dtype)
    return _ragged(projected, kernel[d_in:], jnp.clip(lengths, 0, steps), rows, steps).astype(
        x.dtype
    )


def _ragged(projected, kernel, lengths, rows, steps):
    """`lstm` of rows that end at `lengths`: (rows, steps, d)."""
    order = jnp.argsort(-lengths)
    step = jnp.arange(steps)
    counts = jnp.sum(lengths[None, :] > step[:, None], axis=1).astype(jnp.int32)
    starts, sizes = _places(counts, row_bucket_sizes(rows))
    # Place p of the packed array belongs to the last step that starts at or before it.
    place = jnp.arange(rows * steps)
    at = jnp.clip(jnp.searchsorted(starts + sizes, place, side="right"), 0, steps - 1)
    index = at * rows + order[jnp.clip(place - starts[at], 0, rows - 1)]
    last, entering = _lstm(  # pyright: ignore[reportGeneralTypeIssues], partial hides its type
        projected, kernel, index.astype(jnp.int32), counts, row_bucket_sizes(rows)
    )
    # The state after step t is the one that enters step t + 1, or the row's last.
    reads_on = step[:, None] + 1 < lengths[order][None, :]
    following = jnp.append(starts[1:], starts[-1])[:, None] + jnp.arange(rows)[None, :]
    after = jnp.where(reads_on[:, :, None], entering[jnp.where(reads_on, following, 0)], last[None])
    return jnp.swapaxes(after, 0, 1)[jnp.argsort(order)]


def _check(x: Array, kernel: Array, bias: Array, lengths: Array | None) -> None:
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise check.wrong_type("x", "floating point, such as embedded words", x)
    if x.ndim != 3:
        raise check.wrong_value("x", "of shape (rows, steps, d_in)", x)
    d = kernel.shape[-1] // 4
    if kernel.shape != (x.shape[2] + d, 4 * d):
        raise check.wrong_value("kernel", f"of shape ({x.shape[2]} + d, 4 d)", kernel)
    if bias.shape != (4 * d,):
        raise check.wrong_value("bias", f"of shape ({4 * d},)", bias)
    if lengths is not None and lengths.shape != x.shape[:1]:
        raise check.wrong_value("lengths", f"of shape ({x.shape[0]},), one for each row", lengths)


# --- the recurrence, and back ---------------------------------------------------------------------


def _places(counts: jax.Array, sizes: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Of each step: where its rows start in the packed array, and how many are computed."""
    buckets = jnp.asarray(sizes, jnp.int32)
    computed = jnp.where(counts > 0, buckets[jnp.searchsorted(buckets, counts)], 0)
    return jnp.cumsum(computed) - computed, computed


def _spans(counts: jax.Array, sizes: tuple[int, ...]) -> list[tuple[int, Any, Any]]:
    """(size, first step, end) of each bucket, ascending; its steps are neighbours: counts fall."""
    return [
        (size, jnp.sum(counts > size), jnp.sum(counts > below))
        for size, below in zip(sizes, (0, *sizes[:-1]), strict=True)
    ]


def lstm_step(x: Array, h: Array, c: Array, kernel: Array) -> tuple[Array, Array, Array]:
    """One step: the new state and cell (rows, d), and the gates (rows, 4 d).

    Args:
        x: float (rows, 4 d), what the input adds to the gates, the bias included.
        h, c: state and cell before the step.
        kernel: float (d, 4 d), what the state adds.

    Example:
        >>> h, c, gates = lstm_step(*(jnp.zeros((1, n)) for n in (4, 1, 1)), jnp.zeros((1, 4)))
        >>> h.tolist(), gates.tolist()
        ([[0.0]], [[0.5, 0.0, 0.5, 0.5]])
    """
    gates = _gates(x + h @ kernel)
    i, g, f, o = jnp.split(gates, 4, axis=1)
    new_c = f * c + i * g
    return o * jnp.tanh(new_c), new_c, gates


def _gates(x: jax.Array) -> jax.Array:
    """sigmoid of i, f and o, tanh of g, as one expression: few operations are quicker than many.

    sigmoid(x) is tanh(x / 2) / 2 + 1 / 2.
    """
    is_new = _is_new(x)
    half = jnp.where(is_new, 1, 0.5).astype(x.dtype)
    return jnp.tanh(x * half) * half + jnp.where(is_new, 0, 0.5).astype(x.dtype)


def _gates_slope(gates: jax.Array) -> jax.Array:
    """The derivative of `_gates`, from its value s or t: s (1 - s), and 1 - t^2."""
    is_new = _is_new(gates)
    return gates * (jnp.where(is_new, 0, 1).astype(gates.dtype) - gates) + is_new


def _is_new(gates: jax.Array) -> np.ndarray:
    """Of each column of (rows, 4 d): whether it is the new value's, the second of the four."""
    return np.arange(gates.shape[1]) // (gates.shape[1] // 4) == 1


def _put(array: jax.Array, rows: jax.Array, start: Any) -> jax.Array:
    return lax.dynamic_update_slice_in_dim(array, rows, start, 0)


def _take(array: jax.Array, start: Any, size: int) -> jax.Array:
    return lax.dynamic_slice_in_dim(array, start, size)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def _lstm(projected, kernel, index, counts, sizes) -> tuple[jax.Array, jax.Array]:
    """The last states, and those that enter each step, packed; no index: token p is at place p."""
    return _forward(projected, kernel, index, counts, sizes)[0]


def _walk(projected, kernel, index, counts, sizes, kept) -> tuple[jax.Array, ...]:
    """The last states and cells; packed into `kept`, gates, states and cells before each step."""
    starts, _ = _places(counts, sizes)
    h = c = jnp.zeros((sizes[-1], kernel.shape[0]), projected.dtype)
    ended = ([], [])
    for size, first, end in reversed(_spans(counts, sizes)):
        for past, now in zip(ended, (h, c), strict=True):
            past.append(now[size:])

        def step(t, carry, size=size):
            h, c, gates, before, cells = carry
            start = starts[t]
            if index is None:
                x = _take(projected, start, size)
            else:
                x = projected[_take(index, start, size)]
            new_h, new_c, now = lstm_step(x, h, c, kernel)
            kept = _put(gates, now, start), _put(before, h, start), _put(cells, c, start)
            reads = (jnp.arange(size) < counts[t])[:, None]
            return jnp.where(reads, new_h, h), jnp.where(reads, new_c, c), *kept

        h, c, *kept = lax.fori_loop(first, end, step, (h[:size], c[:size], *kept))
    return *(
        jnp.concatenate([now, *reversed(past)]) for past, now in zip(ended, (h, c), strict=True)
    ), *kept


def _walk_back(gates, cells, last_cells, kernel, counts, d_last, d_before, sizes, d_gates):
    """The gradient of what goes into the gates, from those of the last and of the entering states.

    It is written into `d_gates`, packed; written over `gates` it would be copied at every step.
    The cell that a step leaves is carried along: to form it from the gates anew takes a third
    longer.
    """
    starts, _ = _places(counts, sizes)
    d = kernel.shape[0]
    dh = dc = new_c = jnp.zeros((0, d), gates.dtype)
    for size, first, end in _spans(counts, sizes):
        dh = jnp.concatenate([dh, d_last[len(dh) : size]])
        dc = jnp.concatenate([dc, jnp.zeros((size - len(dc), d), gates.dtype)])
        new_c = jnp.concatenate([new_c, last_cells[len(new_c) : size]])

        def step(done, carry, size=size, first=first, end=end):
            dh, dc, new_c, d_gates = carry
            t = first + end - 1 - done
            start = starts[t]
            now, c = _take(gates, start, size), _take(cells, start, size)
            i, g, f, o = jnp.split(now, 4, axis=1)
            reads = (jnp.arange(size) < counts[t])[:, None]
            d_new_h = jnp.where(reads, dh, 0)
            tanh_c = jnp.tanh(new_c)
            d_new_c = jnp.where(reads, dc, 0) + d_new_h * o * (1 - tanh_c * tanh_c)
            back = (
                jnp.concatenate([d_new_c, d_new_c, d_new_c, d_new_h], axis=1)
                * jnp.concatenate([g, i, c, tanh_c], axis=1)
                * _gates_slope(now)
            )
            d_h = jnp.where(reads, back @ kernel.T, dh)
            if d_before is not None:
                d_h = d_h + _take(d_before, start, size)
            return (
                d_h,
                jnp.where(reads, d_new_c * f, dc),
                jnp.where(reads, c, new_c),
                _put(d_gates, back, start),
            )

        dh, dc, new_c, d_gates = lax.fori_loop(first, end, step, (dh, dc, new_c, d_gates))
    return d_gates


def _forward(projected, kernel, index, counts, sizes):
    places = projected.shape[0] if index is None else index.shape[0]
    empty = [jnp.zeros((places, width * kernel.shape[0]), projected.dtype) for width in (4, 1, 1)]
    last, cells, *kept = _walk(projected, kernel, index, counts, sizes, empty)
    return (last, kept[1]), (projected.shape[0], kernel, index, counts, cells, *kept)


def _backward(sizes, kept, cotangents):
    n, *arrays = kept
    gradients = _gradients(*arrays, *cotangents, n, sizes)
    index, counts = arrays[1:3]
    return *gradients, *(  # pyright: ignore[reportGeneralTypeIssues], partial hides its type
        None if x is None else np.zeros(x.shape, jax.dtypes.float0) for x in (index, counts)
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(9, 10))
def _gradients(kernel, index, counts, last_cells, gates, before, cells, d_last, d_before, n, sizes):
    d_gates = _walk_back(
        gates, cells, last_cells, kernel, counts, d_last, d_before, sizes, jnp.zeros_like(gates)
    )
    if index is None:
        return d_gates, before.T @ d_gates
    return jnp.zeros((n, gates.shape[1]), gates.dtype).at[index].add(d_gates), before.T @ d_gates


def _refuse(*_):
    raise NotImplementedError(
        "the LSTM has first derivatives only; for higher ones use tl.LSTM, such as "
        "Siamese(..., lstm='trax') has"
    )


_gradients.defvjp(_refuse, _refuse)
_lstm.defvjp(_forward, _backward)
