"""Libraries that could hold the vectors of an index, on the same vectors: prints a table.

    python benchmarks/search_engines.py VECTORS.npy [--engines faiss-ivf usearch ...]

VECTORS is a float32 array (n, d) of unit vectors. Each engine runs in a process of its own, so
that its memory can be told. The last 11 000 rows are kept back: 1 000 are queries, 10 000 are added
later. Recall is against all products, ties counted by similarity; the speed is that of the first
setting whose recall@10 reaches 0.99.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

ENOUGH, QUERIES, ADDED, REMOVED = 0.99, 1_000, 10_000, 1_000


class NumPy:
    """All products, in tiles, as `QuestionIndex` compares."""

    settings = (None,)

    def __init__(self, vectors, folder):
        self.vectors = vectors

    def search(self, queries, k, setting):
        from trax_triplet.search.products import nearest

        return nearest(np.ascontiguousarray(queries), self.vectors, k)[0]

    def add(self, ids, vectors):
        self.vectors = np.concatenate([self.vectors, vectors])

    def remove(self, ids):
        self.vectors = np.delete(self.vectors, ids, axis=0)

    def save(self, folder):
        np.save(f"{folder}/vectors.npy", self.vectors)


class Faiss:
    """FAISS: exact, inverted lists, or a graph."""

    kind, settings = "flat", (None,)

    def __init__(self, vectors, folder):
        import faiss

        self.faiss, d = faiss, vectors.shape[1]
        inner = faiss.METRIC_INNER_PRODUCT
        if self.kind == "flat":
            index = faiss.IndexFlatIP(d)
        elif self.kind == "ivf":
            self.quantizer = faiss.IndexFlatIP(d)
            lists = int(4 * len(vectors) ** 0.5)
            index = faiss.IndexIVFFlat(self.quantizer, d, lists, inner)
            index.cp.niter, index.cp.max_points_per_centroid = 10, 64
            index.train(vectors)
        else:
            index = faiss.IndexHNSWFlat(d, 32, inner)
            index.hnsw.efConstruction = 80
        self.index = index
        if self.kind == "hnsw":
            index.add(vectors)
        elif self.kind == "flat":
            self.index = faiss.IndexIDMap(index)
            self.add(np.arange(len(vectors)), vectors)
        else:
            self.add(np.arange(len(vectors)), vectors)

    def search(self, queries, k, setting):
        if self.kind == "ivf":
            self.index.nprobe = setting
        if self.kind == "hnsw":
            self.index.hnsw.efSearch = setting
        return self.index.search(queries, k)[1]

    def add(self, ids, vectors):
        if self.kind == "hnsw":
            self.index.add(vectors)
        else:
            self.index.add_with_ids(vectors, ids)

    def remove(self, ids):
        if self.kind == "hnsw":
            raise NotImplementedError("the graph takes no removal")
        self.index.remove_ids(ids)

    def save(self, folder):
        self.faiss.write_index(self.index, f"{folder}/index")


class FaissIvf(Faiss):
    kind, settings = "ivf", (4, 8, 16, 32, 64, 128, 256)


class FaissHnsw(Faiss):
    kind, settings = "hnsw", (32, 64, 128, 256, 512)


class USearch:
    settings = (64, 128, 256, 512, 1024)
    # With 0, of its own choice, a busy machine takes three times as long: they wait for each other.
    threads = len(os.sched_getaffinity(0))

    def __init__(self, vectors, folder):
        from usearch.index import Index

        self.index = Index(
            ndim=vectors.shape[1], metric="ip", dtype="f32", connectivity=16, expansion_add=80
        )
        self.add(np.arange(len(vectors)), vectors)

    def search(self, queries, k, setting):
        self.index.expansion_search = setting
        threads = self.threads if len(queries) > 1 else 1
        return self.index.search(queries, k, threads=threads).keys.reshape(len(queries), -1)

    def add(self, ids, vectors):
        self.index.add(ids, vectors, threads=self.threads)

    def remove(self, ids):
        self.index.remove(ids)

    def save(self, folder):
        self.index.save(f"{folder}/index")


class LanceDB:
    settings = (4, 8, 16, 32, 64, 128)

    def __init__(self, vectors, folder):
        import lancedb

        self.table = lancedb.connect(f"{folder}/lance").create_table(
            "questions", self._rows(np.arange(len(vectors)), vectors)
        )
        lists = int(len(vectors) ** 0.5)
        self.table.create_index(
            metric="dot", index_type="IVF_FLAT", num_partitions=lists, vector_column_name="v"
        )

    def _rows(self, ids, vectors):
        import pyarrow as pa

        flat = pa.FixedSizeListArray.from_arrays(
            pa.array(np.ascontiguousarray(vectors).ravel()), vectors.shape[1]
        )
        return pa.table({"id": pa.array(ids), "v": flat})

    def search(self, queries, k, setting):
        found = []
        for query in queries:
            search = self.table.search(query, vector_column_name="v").nprobes(setting).limit(k)
            found.append(search.select(["id"]).to_arrow()["id"].to_pylist())
        return np.array(found)

    def add(self, ids, vectors):
        self.table.add(self._rows(ids, vectors))

    def remove(self, ids):
        self.table.delete(f"id in ({', '.join(map(str, ids))})")

    def save(self, folder):
        pass


class MilvusLite:
    settings = (
        8,
        16,
        32,
        64,
        128,
        256,
    )

    def __init__(self, vectors, folder):
        from pymilvus import DataType, MilvusClient

        self.client = MilvusClient(f"{folder}/milvus.db")
        schema = self.client.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("v", DataType.FLOAT_VECTOR, dim=vectors.shape[1])
        params = self.client.prepare_index_params()
        params.add_index(
            "v",
            index_type="IVF_FLAT",
            metric_type="IP",
            params={"nlist": int(4 * len(vectors) ** 0.5)},
        )
        self.client.create_collection("questions", schema=schema, index_params=params)
        self.add(np.arange(len(vectors)), vectors)
        self.client.flush("questions")
        self.client.load_collection("questions")

    def search(self, queries, k, setting):
        hits = self.client.search(
            "questions", queries, limit=k, search_params={"params": {"nprobe": setting}}
        )
        return np.array([[hit["id"] for hit in row] for row in hits])

    def add(self, ids, vectors):
        for start in range(0, len(ids), 10_000):
            part = slice(start, start + 10_000)
            rows = zip(ids[part].tolist(), vectors[part], strict=True)
            self.client.insert("questions", [{"id": i, "v": v} for i, v in rows])

    def remove(self, ids):
        self.client.delete("questions", ids=ids.tolist())

    def save(self, folder):
        pass


ENGINES = {
    "numpy": NumPy,
    "faiss-flat": Faiss,
    "faiss-ivf": FaissIvf,
    "faiss-hnsw": FaissHnsw,
    "usearch": USearch,
    "lancedb": LanceDB,
    "milvus-lite": MilvusLite,
}


def seconds(call, clock=time.process_time):
    """Of all cores together: what others do on this machine counts for less than in wall time."""
    start = clock()
    call()
    return clock() - start


def megabytes(folder):
    total = sum(
        os.path.getsize(os.path.join(at, name))
        for at, _, names in os.walk(folder)
        for name in names
    )
    return total / 2**20


def memory(what):
    """Megabytes of this process."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(what)) / 1024


def recall(found, queries, vectors, tenth):
    """Share of those found that are at least as similar as the tenth nearest, to float32's eps."""
    hits = 0
    for row, query, limit in zip(found, queries, tenth[: len(queries)], strict=True):
        row = np.unique(row[(row >= 0) & (row < len(vectors))])
        hits += (vectors[row] @ query >= limit - 1e-6).sum()
    return hits / (10 * len(queries))


def measure(name, path):
    """One engine's numbers."""
    everything = np.load(path)
    n = len(everything) - QUERIES - ADDED
    vectors, added, queries = np.split(everything, [n, n + ADDED])
    tenth = np.concatenate(
        [np.partition(q @ vectors.T, -10, axis=1)[:, -10] for q in np.array_split(queries, 50)]
    )
    before = memory("VmRSS")
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak begins here
    with tempfile.TemporaryDirectory() as folder:
        result, made = {"engine": name, "n": n}, []
        result["build core s"] = seconds(lambda: made.append(ENGINES[name](vectors, folder)))
        [engine] = made
        few = queries[:100] if name in ("lancedb", "milvus-lite") else queries
        for setting in engine.settings:
            took = seconds(lambda x=setting: made.append(engine.search(few, 10, x)))
            result |= {
                "setting": setting,
                "recall@10": recall(made.pop(), few, vectors, tenth),
                "queries/core s": len(few) / took,
            }
            if result["recall@10"] >= ENOUGH:
                break
        one = [lambda q=q: engine.search(q[None], 10, setting) for q in few[:100]]
        times = [seconds(call, time.perf_counter) for call in one]
        result["one query ms"] = 1000 * float(np.median(times))
        result["add 10 000 core s"] = seconds(lambda: engine.add(np.arange(n, n + ADDED), added))
        try:
            result["remove 1 000 core s"] = seconds(lambda: engine.remove(np.arange(0, REMOVED)))
        except NotImplementedError as error:
            result["remove 1 000 core s"] = None
            result["remark"] = str(error)
        result["save s"] = seconds(lambda: engine.save(folder), time.perf_counter)
        result["disk MB"] = megabytes(folder)
    result["peak MB beyond the vectors"] = memory("VmHWM") - before
    print(json.dumps(result))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("vectors")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--only", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        measure(options.only, options.vectors)
        return
    for name in options.engines:
        command = [sys.executable, __file__, options.vectors, "--only", name]
        done = subprocess.run(command, capture_output=True, text=True)
        lines = done.stdout.splitlines() or [done.stderr[-500:]]
        print(lines[-1], flush=True)


if __name__ == "__main__":
    main()
