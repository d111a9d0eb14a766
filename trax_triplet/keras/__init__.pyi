from .assignment import (
    Siamese as Siamese,
)
from .assignment import (
    TripletLoss as TripletLoss,
)
from .assignment import (
    TripletLossFn as TripletLossFn,
)
from .assignment import (
    classify as classify,
)
from .assignment import (
    predict as predict,
)
from .assignment import (
    train_model as train_model,
)
from .convert import (
    export as export,
)
from .convert import (
    from_keras as from_keras,
)
from .convert import (
    to_keras as to_keras,
)
from .dataset import pairs_dataset as pairs_dataset
from .loss import ModifiedTripletLoss as ModifiedTripletLoss
