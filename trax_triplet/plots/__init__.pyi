from .explorer import explore as explore
from .loss import hinge_curves as hinge_curves
from .loss import positives_and_negatives as positives_and_negatives
from .loss import similarity_heatmap as similarity_heatmap
from .loss import stacked_batches as stacked_batches
from .scores import learning_curve as learning_curve
from .scores import plot_reliability as plot_reliability
from .scores import score_histogram as score_histogram
