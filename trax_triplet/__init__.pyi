from .checks.runner import check as check
from .data import sample as sample
from .data.pairs import Pairs as Pairs
from .data.pairs import split_pairs as split_pairs
from .data.reader import read_pairs as read_pairs
from .data.tokenizer import tokenize as tokenize
from .data.vocabulary import Vocabulary as Vocabulary
from .inference.quality import evaluate as evaluate
from .inference.trained_model import TrainedModel as TrainedModel
from .inference.trained_model import load_model as load_model
from .inference.trained_model import save_model as save_model
from .inference.trax_model import load_trax_model as load_trax_model
from .loss.similarity import cosine_similarity as cosine_similarity
from .loss.similarity import l2_normalize as l2_normalize
from .loss.similarity import similarity_matrix as similarity_matrix
from .loss.steps import closest_negative as closest_negative
from .loss.steps import hinge as hinge
from .loss.steps import hinges as hinges
from .loss.steps import mean_negative as mean_negative
from .loss.steps import positives as positives
from .loss.triplet import TripletLoss as TripletLoss
from .loss.triplet import triplet_loss as triplet_loss
from .model.siamese import Siamese as Siamese
from .training.run import train as train
from .training.settings import TrainSettings as TrainSettings

__version__: str
