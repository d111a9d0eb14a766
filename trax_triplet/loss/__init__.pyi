from .similarity import (
    cosine_similarity as cosine_similarity,
)
from .similarity import (
    l2_normalize as l2_normalize,
)
from .similarity import (
    similarity_matrix as similarity_matrix,
)
from .steps import (
    closest_negative as closest_negative,
)
from .steps import (
    hinge as hinge,
)
from .steps import (
    hinges as hinges,
)
from .steps import (
    mean_negative as mean_negative,
)
from .steps import (
    positives as positives,
)
from .triplet import (
    TripletLoss as TripletLoss,
)
from .triplet import (
    triplet_loss as triplet_loss,
)
