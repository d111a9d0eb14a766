"""Embedding as a function of a table, for engines that map one over partitions."""

from __future__ import annotations

import functools
import os
from typing import Any

from trax_triplet import _validation as check
from trax_triplet.inference.trained_model import TrainedModel, load_trained
from trax_triplet.search.duplicates import embed_all

__all__ = ["embed_partition"]


def embed_partition(
    frame: Any,
    *,
    model: TrainedModel | str | os.PathLike[str],
    column: str = "question",
    output: str = "vector",
) -> Any:
    """A table with the vectors of its questions, as a new one of the same kind.

    Args:
        frame: pandas DataFrame, or a dict of columns (as Ray's batches are).
        model: a `TrainedModel`, or the path of a model folder, which each process reads once.
        column: name of the questions' column.
        output: name of the column of vectors, lists of d floats. It is replaced if it is there, so
            that a partition that is computed twice is the same.

    Returns:
        A copy of the table with one column more.

    Raises:
        TypeError: something other than a table, a model or names.
        ValueError: no such column.
        FileNotFoundError: there is no model folder.

    Example:
        >>> from types import SimpleNamespace
        >>> import numpy as np
        >>> model = SimpleNamespace(embed=lambda questions: np.ones((len(questions), 2), "f4"))
        >>> embed_partition({"question": ["Why?"]}, model=model)
        {'question': ['Why?'], 'vector': [[1.0, 1.0]]}
    """
    if not isinstance(frame, dict) and not hasattr(frame, "assign"):
        raise check.wrong_type("frame", "a pandas DataFrame or a dict of columns", frame)
    for name, value in (("column", column), ("output", output)):
        if not isinstance(value, str):
            raise check.wrong_type(name, "the name of a column", value)
    if column not in frame:
        raise check.wrong_value("column", f"one of {list(frame)!s:.200}", column)
    trained = _kept(os.fspath(model)) if isinstance(model, (str, os.PathLike)) else model
    vectors = embed_all(check.strings(f"frame[{column!r}]", list(frame[column])), trained).tolist()
    new = {output: vectors}
    return {**frame, **new} if isinstance(frame, dict) else frame.assign(**new)


_kept = functools.lru_cache(maxsize=2)(load_trained)
