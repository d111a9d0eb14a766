"""One training step of each side that benchmarks/step.py compares, written as its users write it.

Each function returns `steps(n)`: n training steps (forward, backward, Adam), done when it returns;
its value is the last loss. The course's model stands here in Trax's own layers, not by way of
`trax_triplet.course`, so that what this package gains does not speed up the side it is compared
with.
"""

import contextlib
import functools
import importlib.util
import io

import jax  # after compat, which makes it quiet
import numpy as np

from trax_triplet.compat import jnp, optimizers, tl, training
from trax_triplet.model.encoder import Encoder
from trax_triplet.model.siamese import Siamese
from trax_triplet.model.weights import get_weights, init_model, set_weights
from trax_triplet.training.loop import make_loop
from trax_triplet.training.settings import TrainSettings

MARGIN = 0.25  # the course's


class Feed:
    """An endless stream whose source can be changed: batches to warm up with first, then those that
    are timed."""

    def __init__(self, source=None):
        self.source = source

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.source)


def trax_course(stream, vocab_size, d_model):
    """The Trax assignment: its model, its loss, Adam(0.01), run by Trax's Loop.

    Args:
        stream: endless batches; the first two arrays of each are ids (batch, length), int32.
        vocab_size, d_model: sizes of the model.
    """
    tower = tl.Serial(
        tl.Embedding(vocab_size, d_model),
        tl.LSTM(d_model),
        tl.Mean(axis=1),
        tl.Fn("Normalize", lambda x: x / jnp.sqrt(jnp.sum(x * x, axis=-1, keepdims=True))),
    )
    task = training.TrainTask(
        (batch[:2] for batch in stream),
        tl.Fn("TripletLoss", _trax_loss),
        optimizers.Adam(0.01),
        sample_batch=(np.ones((2, 2), np.int32),) * 2,
    )
    with contextlib.redirect_stdout(io.StringIO()):
        loop = training.Loop(
            tl.Parallel(tower, tower),
            task,
            eval_at=_never,
            checkpoint_at=_never,
            permanent_checkpoint_at=_never,
        )
    losses = _kept_losses(loop)

    def steps(n):
        with contextlib.redirect_stdout(io.StringIO()):
            loop.run(n)
        return _done(losses)

    return steps


def _trax_loss(v1, v2):
    """The assignment's rule: hardest negative and mean negative, mean over the batch."""
    scores = jnp.dot(v1, v2.T)
    size = len(scores)
    positive, same = jnp.diagonal(scores), jnp.eye(size)
    closest = jnp.max(scores - 2.0 * same, axis=1)
    mean = jnp.sum(scores * (1.0 - same), axis=1) / (size - 1)
    return jnp.mean(
        jnp.maximum(MARGIN - positive + closest, 0.0) + jnp.maximum(MARGIN - positive + mean, 0.0)
    )


def ours(stream, vocab_size, pooling="last", **changed):
    """This package's Loop, model and loss, made as `train` makes them, with its settings.

    Args:
        stream: endless batches (ids1, ids2, groups1, groups2).
        vocab_size: of the model.
        pooling: 'last', or 'course' for the course's model, which has no word dropout and its own
        first weights.
        changed: other settings than `train`'s.

    Returns:
        `steps`, and a function of ids that makes the function `BatchStream(vectors=)` takes.
    """
    # At 10**6 steps the learning rate hardly falls.
    settings = TrainSettings(pooling=pooling, steps=10**6, **changed)
    names = ["pooling"]
    if pooling != "course":
        names += ["embedding_stddev", "word_dropout", "buckets"]
    shape = {name: getattr(settings, name) for name in names}
    sizes = vocab_size, settings.d_model
    model = init_model(Siamese(*sizes, "train", **shape), settings.seed)
    eval_model = set_weights(Siamese(*sizes, "eval", **shape), get_weights(model))
    size, encode = settings.batch_size, Encoder(eval_model)
    empty = (*(np.ones((size, 8), np.int32),) * 2, *(np.arange(size, dtype=np.int32),) * 2)
    loop = make_loop(model, eval_model, stream, [empty], settings)

    def steps(n):
        loop.run_quietly(n)
        _wait()
        return loop.take_losses()[-1]

    def vectors_of(ids):
        def vectors():
            eval_model.weights = loop.model.weights
            return encode(ids)

        return vectors

    return steps, vectors_of


def keras_course(dataset, vocab_size, d_model, jit):
    """The Keras assignment behind its text vectoriser: compiled, run as `fit` runs each step.

    Args:
        dataset: endless `tf.data.Dataset` of ((ids1, ids2), labels).
        vocab_size, d_model: sizes of the model.
        jit: what `compile` gets as `jit_compile`.

    Returns:
        `steps`, and a function without arguments that counts how often TensorFlow traced the step.
    """
    import keras
    import tensorflow as tf

    tower = keras.Sequential(
        [
            keras.layers.Embedding(vocab_size, d_model, name="embedding"),
            keras.layers.LSTM(d_model, return_sequences=True, name="LSTM"),
            keras.layers.GlobalAveragePooling1D(name="mean"),
            keras.layers.Lambda(lambda x: tf.math.l2_normalize(x, axis=-1), name="out"),
        ]
    )
    inputs = [keras.Input((None,), dtype="int32") for _ in range(2)]
    model = keras.Model(
        inputs, keras.layers.Concatenate(axis=1, name="conc_1_2")([tower(x) for x in inputs])
    )
    traces = []

    def loss(labels, out):
        traces.append(out.shape)  # Python runs here only while TensorFlow traces
        return _keras_loss(tf, out)

    model.compile(loss=loss, optimizer=keras.optimizers.Adam(0.01), jit_compile=jit)
    return _keras_steps(model, dataset), lambda: len(traces)


def keras_ours(dataset, vocab_size, d_model):
    """This package's model and loss in Keras: padding masked, the state after the last word,
    negatives by groups.

    Args:
        dataset: endless `tf.data.Dataset` of ((ids1, ids2), groups (batch, 2)), as from
        `pairs_dataset`.
        vocab_size, d_model: sizes of the model.
    """
    import keras

    from trax_triplet.keras import ModifiedTripletLoss, to_keras

    model = to_keras(
        init_model(Siamese(vocab_size, d_model, "eval", pooling="last", embedding_stddev=0.1))
    )
    model.compile(
        loss=ModifiedTripletLoss(0.4, anchor="both", with_groups=True),
        optimizer=keras.optimizers.Adam(0.005),
        jit_compile=False,
    )
    return _keras_steps(model, dataset)


def _keras_steps(model, dataset):
    model.make_train_function()
    iterator = iter(dataset)

    def steps(n):
        for _ in range(n):
            logs = model.train_function(iterator)
        return float(logs["loss"])  # waits

    return steps


def _keras_loss(tf, out):
    """The Keras assignment's rule: anchors from the second side, closest negative not above the
    positive, sum."""
    v1, v2 = tf.split(out, 2, axis=1)
    scores = tf.linalg.matmul(v2, v1, transpose_b=True)
    size = tf.shape(scores)[0]
    positive, same = tf.linalg.diag_part(scores), tf.eye(size)
    mean = tf.reduce_sum(scores * (1.0 - same), axis=1) / tf.cast(size - 1, tf.float32)
    masked = tf.logical_or(same == 1.0, scores > positive[:, None])
    closest = tf.reduce_max(scores - 2.0 * tf.cast(masked, tf.float32), axis=1)
    return tf.reduce_sum(
        tf.nn.relu(MARGIN - positive + closest) + tf.nn.relu(MARGIN - positive + mean)
    )


def pytorch(stream, vocab_size, d_model):
    """The same model in PyTorch, hardest negatives as a metric learning library mines them; None
    without PyTorch.

    Both questions go through the LSTM as one batch, as such a library's users do it.

    Args:
        stream: endless batches; the first two arrays of each are ids (batch, length), int32.
        vocab_size, d_model: sizes of the model.
    """
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    embedding, lstm = (
        torch.nn.Embedding(vocab_size, d_model),
        torch.nn.LSTM(d_model, d_model, batch_first=True),
    )
    optimizer = torch.optim.Adam([*embedding.parameters(), *lstm.parameters()], lr=0.01)

    def steps(n):
        for _ in range(n):
            ids = torch.from_numpy(np.concatenate(next(stream)[:2]))
            labels = torch.arange(len(ids)) % (len(ids) // 2)
            vectors = torch.nn.functional.normalize(lstm(embedding(ids))[0].mean(dim=1), dim=1)
            loss = _pytorch_loss(torch, vectors, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return float(loss.detach())

    return steps


def _pytorch_loss(torch, vectors, labels):
    scores = vectors @ vectors.T
    equal = labels[:, None] == labels[None, :]
    itself = torch.eye(len(labels), dtype=torch.bool)
    positive = scores.masked_fill(~equal | itself, float("inf")).min(dim=1).values
    negative = scores.masked_fill(equal, float("-inf")).max(dim=1).values
    return torch.relu(MARGIN - positive + negative).mean()


def matrix_product(rows, inner, columns):
    """A large float32 product in JAX, as far as this machine goes; `steps(n)` makes n of them."""
    a, b = (
        jnp.asarray(np.random.default_rng(0).normal(size=size), "float32")
        for size in ((rows, inner), (inner, columns))
    )
    product = jax.jit(jnp.matmul)

    def steps(n):
        for _ in range(n):
            jax.block_until_ready(product(a, b))
        return 0.0

    return steps


def dense_adam(rows, columns):
    """Adam over all of a table, in place; `steps(n)` makes n of them."""

    @functools.partial(jax.jit, donate_argnums=(0, 1, 2))
    def update(table, mean, square, gradient):
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient * gradient
        return table - 0.01 * mean / (jax.numpy.sqrt(square) + 1e-5), mean, square

    arrays = [jax.numpy.full((rows, columns), 0.1) for _ in range(4)]

    def steps(n):
        for _ in range(n):
            arrays[:3] = jax.block_until_ready(update(*arrays))
        return 0.0

    return steps


def _never(_):
    return False


def _kept_losses(loop):
    """Makes the loop keep the loss of its last step, which Trax's own throws away."""
    kept, trainer = [None], loop._trainer_per_task[0]
    one_step = trainer.one_step

    def keeping(*args, **kwargs):
        loss, stats = one_step(*args, **kwargs)
        kept[0] = loss
        return loss, stats

    trainer.one_step = keeping
    return kept


def _done(losses):
    _wait()
    return float(np.mean(losses[0]))


def _wait():
    """Until JAX has made all arrays that there are: a step's weights may come later than its
    loss."""
    jax.block_until_ready(jax.live_arrays())
