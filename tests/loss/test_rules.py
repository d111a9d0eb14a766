"""Which pairs are real, on arrays of any library."""

import numpy as np

from trax_triplet.loss.rules import real_pairs


def test_a_pair_of_which_either_id_is_negative_is_padding():
    ids = np.array([0, 4, -1, 4, -1]), np.array([0, 5, 2, -1, -1])
    assert real_pairs(ids).tolist() == [True, True, False, False, False]
