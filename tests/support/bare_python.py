"""Python in a process that knows nothing of the test run."""

import os
import subprocess
import sys

from paths import ROOT


def python(*arguments, **environment):
    """Runs Python in a process that knows nothing of ours but where the package is."""
    ours = ("TF_CPP_MIN_LOG_LEVEL", "TRAX_TRIPLET_REPAIRS", "PYTHONWARNINGS", "XLA_FLAGS")
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    inherited.update(PYTHONPATH=str(ROOT), JAX_PLATFORMS="cpu", **environment)
    return subprocess.run(
        [sys.executable, *map(str, arguments)], env=inherited, capture_output=True, text=True
    )
