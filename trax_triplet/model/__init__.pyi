from .encoder import Encoder as Encoder
from .lstm import LSTM as LSTM
from .siamese import Siamese as Siamese
from .siamese import get_weights as get_weights
from .siamese import init_model as init_model
from .siamese import set_weights as set_weights
