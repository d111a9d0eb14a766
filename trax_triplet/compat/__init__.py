"""What differs between frameworks and their versions: Trax repaired, devices, processes, files.

    from trax_triplet.compat import tl, jnp, fastmath, training, optimizers, lr_schedules, shapes

imports Trax and mends it (`repaired_trax`); the modules beside it need less.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
