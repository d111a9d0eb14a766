"""Embedding on several processes: Dask runs it, and loses nothing when one of them is killed."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
from bare_python import python

from trax_triplet.data.vocabulary import Vocabulary
from trax_triplet.inference.trained_model import TrainedModel

if not all(map(find_spec, ("distributed", "dask", "pandas"))):  # to import them takes a second
    pytest.skip("Dask is not installed, or pandas, which it needs", allow_module_level=True)
parquet = pytest.importorskip("pyarrow.parquet")

QUESTIONS = [
    f"{word} old is {name}?" for word in ("How", "How very") for name in "abcdefghijklmnop"
]
SCRIPT = """
import json, os, signal, sys
from functools import partial
from pathlib import Path

import pyarrow
from dask import dataframe
from distributed import Client, LocalCluster

from trax_triplet.search import embed_partition

def main(home):
    embed = partial(embed_partition, model=home / "model")

    def embed_or_die(frame):
        if 17 in frame["id"].tolist() and not (home / "killed").exists():
            (home / "killed").write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return embed(frame)

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        with Client(cluster) as client:
            workers = [info["pid"] for info in client.run(lambda: {"pid": os.getpid()}).values()]
            frame = dataframe.read_parquet(home / "questions")
            vectors = frame.map_partitions(embed_or_die, meta=embed(frame.head(0)))
            schema = {"vector": pyarrow.list_(pyarrow.float32())}
            vectors.to_parquet(home / "vectors", schema=schema)
    print(json.dumps({"partitions": frame.npartitions, "workers": workers}))

if __name__ == "__main__":
    main(Path(sys.argv[1]))
"""


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_nothing_and_leaves_nothing_twice(tmp_path):
    import pyarrow

    vocabulary = Vocabulary.build(QUESTIONS)
    rng = np.random.default_rng(0)
    shapes = {"embedding": (len(vocabulary), 4), "lstm/kernel": (8, 16), "lstm/bias": (16,)}
    weights = {name: rng.normal(size=shape).astype("f4") for name, shape in shapes.items()}
    model = TrainedModel(weights, vocabulary, {"pooling": "last", "threshold": 0.5})
    model.save(tmp_path / "model")
    (tmp_path / "questions").mkdir()
    rows = range(len(QUESTIONS))
    for part in range(8):
        table = {"id": rows[part * 4 :][:4], "question": QUESTIONS[part * 4 :][:4]}
        parquet.write_table(pyarrow.table(table), tmp_path / f"questions/{part}.parquet")
    (tmp_path / "script.py").write_text(SCRIPT)
    run = python(tmp_path / "script.py", tmp_path)
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout.splitlines()[-1])
    killed = int((tmp_path / "killed").read_text())
    assert told["partitions"] == 8 and len(set(told["workers"])) == 2
    assert killed in told["workers"]
    written = parquet.read_table(tmp_path / "vectors").to_pydict()
    assert sorted(written["id"]) == list(rows)
    assert [QUESTIONS[row] for row in written["id"]] == written["question"]
    expected = model.embed(written["question"])
    np.testing.assert_allclose(np.array(written["vector"], np.float32), expected, atol=1e-6)
