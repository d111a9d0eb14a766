"""Python in a process that knows nothing of the test run."""

import os
import subprocess
import sys

from paths import ROOT

PATH = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])


def python(*arguments, **environment):
    """Runs Python in a process that knows of ours only where the package and the helpers are."""
    ours = ("TF_CPP_MIN_LOG_LEVEL", "TRAX_TRIPLET_REPAIRS", "PYTHONWARNINGS", "XLA_FLAGS")
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    inherited.update(PYTHONPATH=PATH, JAX_PLATFORMS="cpu", **environment)
    return subprocess.run(
        [sys.executable, *map(str, arguments)], env=inherited, capture_output=True, text=True
    )
