from . import edition_2020 as edition_2020
from . import edition_2023 as edition_2023
from .assignment import Siamese as Siamese
from .assignment import TripletLoss as TripletLoss
from .assignment import TripletLossFn as TripletLossFn
from .assignment import classify as classify
from .assignment import data_generator as data_generator
from .assignment import predict as predict
from .assignment import train_model as train_model

__all__ = [
    "Siamese",
    "TripletLoss",
    "TripletLossFn",
    "classify",
    "data_generator",
    "predict",
    "train_model",
]
