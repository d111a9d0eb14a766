"""The cells of an old assignment notebook, in order, below the two lines of the README.

They make the calls that such a notebook and its grader make; the text is our own.
"""

import pytest
from bare_python import python

pytestmark = pytest.mark.slow

TWO_LINES = """
from trax_triplet.compat import provide_old_names
provide_old_names()
"""
CELLS_2020 = """
import os, random as rnd
import numpy as np
import trax
from functools import partial
from collections import defaultdict
from trax import layers as tl
from trax.supervised import training
from trax.fastmath import numpy as fastnp
from jax.interpreters.xla import DeviceArray

trax.supervised.trainer_lib.init_random_number_generators(34)
rnd.seed(32)

vocab = defaultdict(lambda: 0)
vocab["<PAD>"] = 1
texts = [f"what is the {a} of {b} ?".split() for a in "abcd" for b in "efgh"]
for text in texts:
    for word in text:
        if word not in vocab:
            vocab[word] = len(vocab) + 1
Q1 = np.array([[vocab[word] for word in text] for text in texts])
Q2 = np.array([[vocab[word] for word in text[::-1]] for text in texts])

from trax_triplet.course.edition_2020 import *

batches = data_generator(Q1, Q2, 4)
first, second = next(batches)
assert first.shape == second.shape == (4, 8)

model = Siamese(vocab_size=len(vocab) + 2, d_model=8)
print(model)
v1 = np.array([[.26726124, .53452248, .80178373], [-.5178918, -.57543534, -.63297887]])
loss = TripletLossFn(v1, v1 * [[1], [-1]])
assert isinstance(loss, DeviceArray) and isinstance(TripletLoss(), tl.base.Layer)
assert abs(float(loss) - 0.5) < 1e-6

train_generator, val_generator = (data_generator(Q1, Q2, 4, vocab["<PAD>"]) for _ in range(2))
lr_schedule = trax.lr.warmup_and_rsqrt_decay(400, 0.01)
loop = train_model(partial(Siamese, len(vocab) + 2, 8), TripletLoss, lr_schedule,
                   train_generator=train_generator, val_generator=val_generator,
                   output_dir="model/")
assert isinstance(loop, training.Loop)
loop.run(2)
assert os.path.exists("model/model.pkl.gz")

model = Siamese(vocab_size=len(vocab) + 2, d_model=8)
model.init_from_file("model/model.pkl.gz", weights_only=True)
accuracy = classify(Q1, Q2, np.ones(len(Q1)), 0.7, model, vocab, batch_size=8)
assert 0 <= accuracy <= 1
print("ran to the end")
"""
# A training step takes a minute to compile: the first edition's notebook runs one.
CELLS_2021 = (
    CELLS_2020.split("loop.run(2)")[0]
    .replace("course.edition_2020", "course")
    .replace("TripletLoss, lr_schedule,", "TripletLoss,")
) + "print('ran to the end')"
CELLS_2023 = CELLS_2021.replace(
    "trax_triplet.course ", "trax_triplet.course.edition_2023 "
).replace("float(loss) - 0.5)", "float(loss) - 0.7035077)")


@pytest.mark.parametrize(
    "cells", [CELLS_2020, CELLS_2021, CELLS_2023], ids=["2020", "2021", "2023"]
)
def test_its_cells_run_below_the_two_lines(cells, tmp_path):
    code = f"import os\nos.chdir({str(tmp_path)!r})\n{TWO_LINES}{cells}"
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "ran to the end"


@pytest.mark.by_hand
def test_without_them_the_imports_fail(tmp_path):
    done = python("-c", CELLS_2020)
    assert done.returncode != 0
