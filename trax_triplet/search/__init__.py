"""Nearest questions and duplicates in a corpus, by the vectors of a trained model."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
