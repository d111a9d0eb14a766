"""What a fuzzer found in the reader of pickles: few bytes that took much time or memory."""

import gzip
import pickle
import tracemalloc

import numpy as np
import pytest

from trax_triplet.compat.trax_files import read_pickle, read_trax_weights


def write(folder, data, name="model.pkl"):
    (folder / name).write_bytes(data)
    return folder / name


def test_one_array_in_many_places_is_widened_once(tmp_path):
    array = np.ones(100_000, np.uint16)
    path = write(tmp_path, pickle.dumps({"flat_weights": [array] * 5000}))
    tracemalloc.start()
    weights = read_trax_weights(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(weights) == 5000 and peak < 10_000_000


@pytest.mark.parametrize(
    "keys, words",
    [
        (
            [(2**61 - 1) * k for k in range(1, 9)],
            "numbers of at most 60 bits",
        ),  # all of them have the hash 0
        ([(1, 2), (3, 4)], "keys are neither strings nor numbers"),
    ],
)
def test_keys_that_could_share_a_hash_are_refused(tmp_path, keys, words):
    for protocol in range(6):
        with pytest.raises(ValueError, match=words):
            read_pickle(write(tmp_path, pickle.dumps(dict.fromkeys(keys), protocol)))
        with pytest.raises(ValueError, match=words):
            read_pickle(write(tmp_path, pickle.dumps({keys[0]: 1}, protocol)))


def test_a_frame_that_ends_inside_of_an_instruction_is_refused(tmp_path):
    data = (
        b"\x80\x05\x95"
        + (3).to_bytes(8, "little")
        + b"\x96"
        + (8).to_bytes(8, "little")
        + b"abcdefgh."
    )
    with pytest.raises(ValueError, match="frame that ends inside of an instruction"):
        read_pickle(write(tmp_path, data))


def test_an_empty_file_of_arrays_is_truncated(tmp_path):
    (tmp_path / "model.weights.npy.gz").write_bytes(gzip.compress(b""))
    write(tmp_path, pickle.dumps({"flat_weights": 2}), "model.pkl.gz")
    with pytest.raises(ValueError, match="is empty; it is truncated"):
        read_trax_weights(tmp_path / "model.pkl.gz")
