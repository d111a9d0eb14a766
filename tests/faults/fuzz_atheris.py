"""One target of fuzz.py under atheris, which steers by what the reader's code does; for where
atheris is installed.

    python tests/faults/fuzz_atheris.py csv -runs=50000        # options are libFuzzer's

Its seeds are the target's. A finding ends the run with the reason and a file that holds the input.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=[
        "trax_triplet.data.reader",
        "trax_triplet.data.encodings",
        "trax_triplet.data.table",
        "trax_triplet.data.questions",
        "trax_triplet.inference.lines",
        "trax_triplet.data.pairs",
        "trax_triplet.data.vocabulary",
        "trax_triplet._folders",
        "trax_triplet.compat.trax_files",
        "trax_triplet.compat.unpickler",
        "trax_triplet.compat.saved_arrays",
    ]
):
    import fuzz


def main():
    name, *options = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        (target,) = [target for target in fuzz.targets(folder) if target.name == name]
        corpus = Path(folder, "seeds")
        corpus.mkdir()
        for number, seed in enumerate(target.seeds):
            (corpus / str(number)).write_bytes(seed)

        def one(data):
            wrong, _, _ = fuzz.attempt(target, data)
            if wrong:
                raise RuntimeError(wrong)

        for number in (fuzz.signal.SIGALRM, fuzz.signal.SIGPROF):
            fuzz.signal.signal(number, fuzz._too_slow)
        atheris.Setup([sys.argv[0], *options, str(corpus)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
