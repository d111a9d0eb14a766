"""LSTM layers with `tl.LSTM`'s weights, name and results, faster: they run `model.recurrence`."""

from __future__ import annotations

from typing import Any

from trax_triplet import _validation as check
from trax_triplet._typing import Array
from trax_triplet.compat import fastmath, jnp, tl
from trax_triplet.model.recurrence import lstm as run_lstm

__all__ = ["KINDS", "LSTM", "MODES", "SpreadLSTM"]

MODES = ("train", "eval", "predict")
KINDS = ("closed form", "trax")  # of the recurrence and its gradient

_LSTMCell: Any = tl.LSTMCell  # the decorator of Trax hides its arguments from type checkers


def LSTM(
    n_units: int,
    mode: str = "train",
    *,
    cell: Any = None,
    with_lengths: bool = False,
    closed_form: bool = True,
) -> tl.Layer:
    """Returns an LSTM layer over axis 1 that is `tl.LSTM` in all but speed.

    The layer takes vectors (batch, length, n_units) to the states after each step, of the same
    shape. With `with_lengths=True` it takes two inputs, the second being the number of steps that
    count in each row, int (batch,): from there on a row keeps its state. On JAX, 'train' and 'eval'
    run with a gradient in closed form, of first order only. 'predict', which goes on from the state
    that the last call left, and the backends of NumPy and TensorFlow run as in Trax, and know no
    lengths.

    Args:
        n_units: width of input and state.
        mode: 'train', 'eval' or 'predict'.
        cell: a `tl.LSTMCell` with initialisers of its own; None for Trax's.
        with_lengths: whether the lengths come as a second input.
        closed_form: False: Trax's own scan and autodiff in all modes, with derivatives of any
            order; no lengths.

    Returns:
        A layer that prints as `LSTM_{n_units}`, with the weights of `tl.LSTM`: kernel (2 n_units, 4
        n_units), rows for the input, then for the state, gates input, new, forget, output; and bias
        (4 n_units,).

    Raises:
        TypeError: a width that is not an integer, a mode that is not a string.
        ValueError: a width or mode outside its range, `with_lengths` in mode 'predict' or without
            `closed_form`.

    Example:
        >>> LSTM(8)
        LSTM_8
        >>> LSTM(8, with_lengths=True)
        LSTM_8_in2
    """
    check.integer("n_units", n_units, 1)
    check.one_of("mode", mode, MODES)
    if with_lengths and (mode == "predict" or not closed_form):
        raise ValueError(
            "with_lengths must be False in mode 'predict' and without closed_form, which take no "
            "lengths; take mode='eval' and leave closed_form at True with them"
        )
    cell = cell or _LSTMCell(n_units)
    if closed_form:
        scan = _ClosedFormScan(cell, mode, with_lengths)
    else:
        scan = tl.Scan(cell, axis=1, mode=mode)
    zero_state = tl.Branch([], tl.MakeZeroState(depth_multiplier=2))  # lengths stay on the stack
    return tl.Serial(
        zero_state, scan, tl.Select([0], n_in=2), name=f"LSTM_{n_units}", sublayers_to_print=[]
    )


def SpreadLSTM(d_model: int, mode: str = "train", *, lstm: str = "closed form") -> tl.Layer:
    """Returns `tl.LSTM` with another first bias: 1 for the forget gate, 0 for the others.

    `tl.LSTM` starts with 1 in every gate, the new value's too. That adds the same to every state,
    so that at first all vectors are nearly equal, and a triplet loss starts out collapsed.

    Args:
        d_model: width of input and state.
        mode: 'train', 'eval' or 'predict'.
        lstm: as in `Siamese`.

    Returns:
        A layer that takes (batch, length, d_model) to the states after each step, of the same
        shape.

    Raises:
        TypeError: a width that is not an integer, a mode or kind that is not a string.
        ValueError: a width, mode or kind that does not exist.

    Example:
        >>> SpreadLSTM(8)
        LSTM_8
    """
    check.integer("d_model", d_model, 1)
    check.one_of("lstm", lstm, KINDS)

    def bias(shape: tuple[int], rng: Any) -> Array:
        gate = jnp.arange(shape[0]) // d_model  # input, new, forget, output
        return jnp.where(gate == 2, jnp.ones(shape, "float32"), jnp.zeros(shape, "float32"))

    cell = _LSTMCell(d_model, forget_bias=0.0, bias_initializer=bias)
    return LSTM(d_model, mode, cell=cell, closed_form=lstm == "closed form")


class _ClosedFormScan(tl.Scan):
    """`tl.Scan` of an LSTM cell from the zero state, by `recurrence`; weights are `tl.Scan`'s."""

    def __init__(self, cell: tl.Layer, mode: str, with_lengths: bool):
        super().__init__(cell, axis=1, mode=mode)
        self._with_lengths = with_lengths
        if with_lengths:
            self._n_in = 3

    def forward(self, inputs: Any) -> Any:
        if self._mode == "predict" or not fastmath.is_backend(fastmath.Backend.JAX):
            return super().forward(inputs)
        x, state, lengths = inputs if self._with_lengths else (*inputs, None)
        weights: Any = self.weights
        kernel, bias = weights[0]
        return run_lstm(jnp.asarray(x), kernel, bias, lengths), state

    def init_weights_and_state(self, input_signature: Any) -> None:
        super().init_weights_and_state(tuple(input_signature[:2]))
