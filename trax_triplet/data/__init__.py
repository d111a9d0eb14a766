"""Question pairs: read, split, mined, batched; text to word ids; generated samples."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
