"""An LSTM layer with `tl.LSTM`'s weights, name and results, faster: its recurrence is
`recurrence.lstm`."""

from trax_triplet.compat import fastmath, jnp, tl
from trax_triplet.kernels.lstm import lstm


def LSTM(n_units, mode="train", *, cell=None, with_lengths=False, closed_form=True):
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
        ValueError: `with_lengths` in mode 'predict' or without `closed_form`.

    Example:
        >>> LSTM(8)
        LSTM_8
        >>> LSTM(8, with_lengths=True)
        LSTM_8_in2
    """
    if with_lengths and mode == "predict":
        raise ValueError(
            "an LSTM in mode 'predict' reads one step after the other and takes no lengths; "
            "take mode='eval' with them"
        )
    if with_lengths and not closed_form:
        raise ValueError("Trax's own scan takes no lengths; leave closed_form at True with them")
    cell = cell or tl.LSTMCell(n_units)
    scan = (
        _ClosedFormScan(cell, mode, with_lengths)
        if closed_form
        else tl.Scan(cell, axis=1, mode=mode)
    )
    zero_state = tl.Branch(
        [], tl.MakeZeroState(depth_multiplier=2)
    )  # the lengths stay below on the stack
    return tl.Serial(
        zero_state, scan, tl.Select([0], n_in=2), name=f"LSTM_{n_units}", sublayers_to_print=[]
    )


class _ClosedFormScan(tl.Scan):
    """`tl.Scan` of an LSTM cell from the zero state, by `recurrence.lstm`: weights and state are
    tl.Scan's."""

    def __init__(self, cell, mode, with_lengths):
        super().__init__(cell, axis=1, mode=mode)
        self._with_lengths = with_lengths
        if with_lengths:
            self._n_in = 3

    def forward(self, inputs):
        if self._mode == "predict" or not fastmath.is_backend(fastmath.Backend.JAX):
            return super().forward(inputs)
        x, state, lengths = inputs if self._with_lengths else (*inputs, None)
        kernel, bias = self.weights[0]
        return lstm(jnp.asarray(x), kernel, bias, lengths), state

    def init_weights_and_state(self, input_signature):
        super().init_weights_and_state(tuple(input_signature[:2]))
