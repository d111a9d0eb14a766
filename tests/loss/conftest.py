"""The backends on which the loss is computed."""

import pytest
from backends import BACKENDS

from trax_triplet.compat import fastmath


@pytest.fixture(params=BACKENDS)
def backend(request):
    with fastmath.use_backend(request.param):
        yield request.param
