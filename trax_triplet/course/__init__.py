"""The names of the Trax assignment *Question duplicates*, in its three editions.

`from trax_triplet.course import *` gives the seven names of the second edition (2021-22);
`edition_2020` and `edition_2023` beside it have the same names as those editions have them. Which
one is yours shows in your notebook:

    `train_model`'s third argument is `lr_schedule`        trax_triplet.course.edition_2020
    `TripletLossFn` is expected to give 0.5                trax_triplet.course
    `TripletLossFn` is expected to give 0.7035             trax_triplet.course.edition_2023
"""

import lazy_loader

__getattr__, __dir__, _names = lazy_loader.attach_stub(__name__, __file__)
# A star import gives the seven functions, without the other editions.
__all__ = [  # pyright: ignore[reportUnsupportedDunderAll]
    name for name in _names if not name.startswith("edition")
]
