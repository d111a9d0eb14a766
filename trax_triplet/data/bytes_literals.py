"""Texts that somebody wrote as Python's bytes literals, such as b'Why?', as PAWS has them."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from trax_triplet._wording import counted

__all__ = ["unwrapped"]

# What Python's repr writes of bytes.
_BYTES = re.compile(
    r"""b(?:'(?:[ -&(-\[\]-~]|\\(?:[\\'"nrt]|x[0-9a-fA-F]{2}))*'"""
    r"""|"(?:[ !#-\[\]-~]|\\(?:[\\'"nrt]|x[0-9a-fA-F]{2}))*")"""
)


def unwrapped(
    columns: Sequence[Sequence[str]], names: Sequence[str]
) -> tuple[list[list[str]], list[str]]:
    """Columns of texts, without the b'...' of those in which all texts have it.

    Args:
        columns: the texts of each column.
        names: of the columns.

    Returns:
        The columns; and notes on literals that were unwrapped, or that were not.

    Example:
        >>> unwrapped([["b'Who?'", " b'What?' "], ["Where?", "When?"]], ["q1", "q2"])[0]
        [['Who?', 'What?'], ['Where?', 'When?']]
    """
    found, whole, notes = [], [], []
    for texts, name in zip(columns, names, strict=True):
        literals = [text.strip() for text in texts if text.lstrip()[:2] in ("b'", 'b"')]
        literals = [text for text in literals if _BYTES.fullmatch(text)]
        decoded = [text for text in map(_decoded, literals) if text is not None]
        if texts and len(decoded) == len(texts):
            found.append(decoded)
            whole.append(name)
            continue
        found.append([*texts])
        if literals:
            n_bad = len(literals) - len(decoded)
            bad = f", {n_bad} of them of bytes that are not UTF-8" if n_bad else ""
            notes.append(
                f"texts: {len(literals)} of {counted(len(texts), 'text')} of {name} are Python's "
                f"bytes literals (b'...'){bad}; they are left as they are"
            )
    if whole:
        which = "all are" if len(whole) == len(names) else f"all of {' and '.join(whole)} are"
        notes.insert(0, f"texts: {which} Python's bytes literals (b'...'), which are unwrapped")
    return found, notes


def _decoded(literal: str) -> str | None:
    """The text whose UTF-8 a literal writes, if it is that."""
    try:
        return ast.literal_eval(literal).decode("utf-8")
    except UnicodeDecodeError:
        return None
