"""The modified triplet loss of the NLP Specialization on Trax: a loss, a Siamese LSTM, and a way to learn.

The rooms, from the ground up (each is a module of this package):

- `compat`      the only door to Trax, with what current JAX and NumPy broke repaired; `backends` mends the others
- `devices`     arrays on several devices, on old JAX and new
- `similarity`  unit vectors and cosine similarity
- `loss`        the modified triplet loss; `steps`: positives, mean negative, closest negative, hinges
- `blockwise`   the same loss without the batch x batch matrix; `panels` finds its closest negatives
- `lstm`        the LSTM layer; `recurrence` is what it computes, on rows that `packing` lays out
- `model`       the Siamese LSTM, as in the course and with padding that never counts
- `encoder`     questions to vectors in bulk
- `vocabulary`  tokens to ids; `tokenizer` cuts text into tokens
- `reader`      CSV to pairs
- `data`        pairs, their duplicate groups, and parts that share no question
- `arguments`   checks of what users pass that many rooms share
- `derived`     pairs that nobody labelled, made from those that somebody did
- `batches`     pairs to batches without known false negatives; `stream` makes them endless
- `sample`      generated question pairs in Quora's format
- `training`    `train`: from pairs to a model folder; `loop` is the Trax Loop it runs, `trainer` its step,
                `lazy_adam` the optimizer's
- `processes`   several processes that train one model; `supervisor` says in words what aborted one of them
- `storage`     model folders and checkpoints; `files`: files and folders that are whole or not there
- `evaluation`  scores and labels to metrics and a threshold
- `pickles`     weights in Trax's own files, read so that they cannot run code; `pickled` is the reader
- `plots`       pictures of scores and of learning; `plots_loss` of the loss; `explorer` is one to play with
- `course`      the seven names of the assignment
- `checks`      checks for functions that a student wrote
- `keras`       the Keras edition: the TensorFlow assignment's names, and all of the four rooms here; `keras_layers` its
                model, `keras_loss` the loss on TensorFlow (`replicas`: over several devices), `keras_data` tf.data
                batches, `keras_export` weights both ways and files, `keras_text` text in the graph (`graph_text`)
- `cli`         the command `trax-triplet`; `options` are what it takes

The names below are loaded on first use, so that `import trax_triplet` is quick and loads no framework.
"""

import importlib

__version__ = "0.1.0"

_HOME = {
    "cosine_similarity": "similarity",
    "l2_normalize": "similarity",
    "similarity_matrix": "similarity",
    "closest_negative": "steps",
    "hinge": "steps",
    "hinges": "steps",
    "mean_negative": "steps",
    "positives": "steps",
    "triplet_loss": "loss",
    "TripletLoss": "loss",
    "Siamese": "model",
    "Vocabulary": "vocabulary",
    "Pairs": "data",
    "read_pairs": "reader",
    "split_pairs": "data",
    "train": "training",
    "load_trax_model": "pickles",
    "TrainedModel": "storage",
    "load_model": "storage",
    "save_model": "storage",
}

__all__ = sorted(_HOME)


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__():
    return sorted([*globals(), *_HOME])
