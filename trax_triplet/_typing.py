"""Types that the annotations of several packages share."""

from __future__ import annotations

from typing import Any, TypeAlias

# An array of the backend in use (JAX, NumPy or TensorFlow), also while it is traced; a NumPy array
# or a nested list of numbers where a docstring says so. The three have no type in common.
Array: TypeAlias = Any
