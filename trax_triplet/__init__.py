"""The modified triplet loss of the NLP Specialization, and a Siamese LSTM that learns with it.

The public names stand in `__init__.pyi` and are loaded on first use, so that `import trax_triplet`
is quick and loads no framework. CONTRIBUTING.md has the map of the packages.
"""

import lazy_loader

__version__ = "0.2.0.dev0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
