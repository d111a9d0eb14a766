"""The Keras edition: the TensorFlow assignment's names, the loss, training data, and conversion.

Importing it registers every class and function that a `.keras` file of ours may name, so that
`keras.saving.load_model` finds them. It needs no Trax.
"""

from trax_triplet.keras.assignment import (
    Siamese,
    TripletLoss,
    TripletLossFn,
    classify,
    predict,
    train_model,
)
from trax_triplet.keras.convert import export, from_keras, to_keras
from trax_triplet.keras.dataset import pairs_dataset
from trax_triplet.keras.loss import ModifiedTripletLoss, RankingLoss
from trax_triplet.keras.old_names import provide_old_names

__all__ = [
    "ModifiedTripletLoss",
    "RankingLoss",
    "Siamese",
    "TripletLoss",
    "TripletLossFn",
    "classify",
    "export",
    "from_keras",
    "pairs_dataset",
    "predict",
    "provide_old_names",
    "to_keras",
    "train_model",
]
