"""Batches of vectors: those of the course, with numbers that it gives, and random ones."""

import numpy as np

# Two batches of the lecture.
V1 = [[1, 2, 3], [9, 8, 7], [-1, -4, -2], [1, -7, 2]]
V2 = [
    [-0.55894512, 2.65849565, 3.68889502],
    [11.35564185, 9.36648496, 6.41819597],
    [3.28596961, -3.58582582, -2.77849431],
    [3.90613869, -6.996118, 3.0070892],
]
# The Trax assignment's two examples; the second one's rows are not unit vectors.
UNIT1 = [[0.26726124, 0.53452248, 0.80178373], [-0.5178918, -0.57543534, -0.63297887]]
UNIT2 = [[0.26726124, 0.53452248, 0.80178373], [0.5178918, 0.57543534, 0.63297887]]
FREE1 = [[0.1, 0.2, 0.3, 0.4], [0.9, 0.10, 0.11, 0.2], [0.5, 0.6, 0.7, 0.8]]
FREE2 = [[0.1, 0.2, 0.3, 0.4], [-0.9, -0.10, -0.11, -0.2], [0.5, 0.6, 0.7, 0.8]]
# The Keras assignment's, both questions side by side.
KERAS_SMALL = [
    [0.26726124, 0.53452248, 0.80178373, 0.26726124, 0.53452248, 0.80178373],
    [0.5178918, 0.57543534, 0.63297887, -0.5178918, -0.57543534, -0.63297887],
]
KERAS_LARGE = [
    [0.26726124, 0.53452248, 0.80178373, 0.32929278, 0.5488213, 0.76834982],
    [0.64616234, 0.57436653, 0.50257071, 0.64231723, 0.57470489, 0.50709255],
    [-0.21821789, -0.87287156, -0.43643578, -0.20313388, -0.8802468, -0.42883819],
    [0.13608276, -0.95257934, 0.27216553, 0.09298683, -0.96971978, 0.22582515],
]


def random_pairs(n=6, d=5, seed=0, dtype=np.float32):
    """Unit vectors (n, d), and others near them."""
    rng = np.random.default_rng(seed)
    v1 = rng.normal(size=(n, d))
    v2 = v1 + 0.7 * rng.normal(size=(n, d))
    return tuple((v / np.linalg.norm(v, axis=1, keepdims=True)).astype(dtype) for v in (v1, v2))
