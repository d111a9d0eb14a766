"""The backends that the loss is computed on, and arrays for them."""

import numpy as np
import tensorflow as tf

BACKENDS = ("jax", "numpy", "tensorflow-numpy")


def cast(v, dtype, backend):
    """`v` in this dtype; as a tensor on TensorFlow, which knows only its own bfloat16 arrays."""
    if backend == "tensorflow-numpy" and np.dtype(dtype).name == "bfloat16":
        return tf.cast(v, "bfloat16")
    return v.astype(dtype)
