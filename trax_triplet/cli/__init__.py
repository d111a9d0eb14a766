"""The command `trax-triplet`: `main`, and a module for each group of commands."""

from trax_triplet.cli.program import main

__all__ = ["main"]
