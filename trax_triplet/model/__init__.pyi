from .encoder import Encoder as Encoder
from .lstm import LSTM as LSTM
from .siamese import Siamese as Siamese
from .weights import get_weights as get_weights
from .weights import init_model as init_model
from .weights import set_weights as set_weights
