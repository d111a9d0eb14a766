"""Which question was asked before: this package, TF-IDF, BM25 and MiniLM on the same corpus.

    python benchmarks/retrieval.py duplicates.csv --first 45001 --others labelled.csv --model run

The corpus are all different questions of the rows of `duplicates.csv` from `--first` on, and of the
other files; asked are the first questions of these rows, all of which have a duplicate in it. The
model must have been trained on the rows before. Beside all queries stand those of whose duplicates
no question is in these rows. MiniLM and BM25 need sentence-transformers and bm25s; each that is not
installed is left out.
"""

import argparse
import json
import time
from functools import partial

import measure
import numpy as np

BLOCK = 256


def read(path, first=1):
    from trax_triplet import read_pairs
    from trax_triplet.data import Pairs

    with open(path, encoding="utf-8") as file:
        duplicates_only = "is_duplicate" not in file.readline()
    pairs = read_pairs(path, duplicates_only=duplicates_only)
    part = slice(first - 1, None)
    return Pairs(pairs.question1[part], pairs.question2[part], pairs.is_duplicate[part]), pairs


class Vectors:
    """Cosines of vectors that a function makes of texts."""

    def __init__(self, embed):
        self.embed = embed

    def fit(self, corpus):
        self.vectors = np.ascontiguousarray(self.embed(corpus), np.float32)
        self.row = {text: row for row, text in enumerate(corpus)}

    def scores(self, queries):
        asked = self.vectors[[self.row[text] for text in queries]]
        # Each the same sum, so that equal vectors have equal scores.
        return np.stack([np.einsum("nd,d->n", self.vectors, query) for query in asked])

    def top(self, queries, k):
        from trax_triplet.search.products import nearest

        return nearest(np.ascontiguousarray(self.embed(queries), np.float32), self.vectors, k)[0]


class TfIdf:
    """Cosines of scikit-learn's TF-IDF with its defaults."""

    def __init__(self):
        from sklearn.feature_extraction.text import TfidfVectorizer

        self.vectorizer = TfidfVectorizer()

    def fit(self, corpus):
        self.matrix = self.vectorizer.fit_transform(corpus).T.tocsr()

    def scores(self, queries):
        return (self.vectorizer.transform(queries) @ self.matrix).toarray()

    def top(self, queries, k):
        blocks = [queries[start : start + BLOCK] for start in range(0, len(queries), BLOCK)]
        return np.concatenate(
            [np.argpartition(self.scores(block), -k, axis=1)[:, -k:] for block in blocks]
        )


class Bm25:
    """bm25s with its defaults: Lucene's BM25 (k1 1.5, b 0.75), English stop words."""

    def __init__(self):
        import bm25s

        self.bm25s = bm25s

    def fit(self, corpus):
        self.index = self.bm25s.BM25()
        self.index.index(self.bm25s.tokenize(corpus, show_progress=False), show_progress=False)

    def _tokens(self, queries):
        return self.bm25s.tokenize(queries, return_ids=False, show_progress=False)

    def scores(self, queries):
        return np.stack([self.index.get_scores(tokens) for tokens in self._tokens(queries)])

    def top(self, queries, k):
        return self.index.retrieve(self._tokens(queries), k=k, show_progress=False)[0]


def ours(options):
    from trax_triplet.inference.trained_model import load_trained

    return Vectors(load_trained(options.model).embed)


def minilm(options):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(options.minilm, device="cpu")
    if options.bfloat16:
        model = model.bfloat16()
    # As a tensor: NumPy has no bfloat16.
    encode = partial(model.encode, normalize_embeddings=True, show_progress_bar=False)
    return Vectors(lambda texts: encode(texts, convert_to_tensor=True).float().numpy())


SIDES = {
    "this package": ours,
    "TF-IDF": lambda options: TfIdf(),
    "BM25": lambda options: Bm25(),
    "MiniLM": minilm,
}


def measured(side, questions, asked, groups, unseen):
    """The metrics of one side, of all queries and of those with `unseen`; and its speed."""
    from trax_triplet.search import mean_metrics, ranking_metrics

    start = time.process_time()
    side.fit(questions)
    fitted = time.process_time() - start
    texts = [questions[row] for row in asked]
    some = texts[:200]
    start = time.process_time()
    side.top(some, 10)
    speed = len(some) / (time.process_time() - start)
    rows = []
    for first in range(0, len(asked), BLOCK):
        block = asked[first : first + BLOCK]
        for row, scores in zip(block, side.scores(texts[first : first + BLOCK]), strict=True):
            scores = scores.astype(np.float64)
            relevant = groups == groups[row]
            scores[row], relevant[row] = -np.inf, False
            rows.append(ranking_metrics(scores, relevant))
    return {
        "all": mean_metrics(rows),
        "unseen": mean_metrics([row for row, new in zip(rows, unseen, strict=True) if new]),
        "corpus ready core s": fitted,
        "queries/core s": speed,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("duplicates", help="CSV of duplicate pairs")
    parser.add_argument("--first", type=int, required=True, help="first row that is held back")
    parser.add_argument("--others", nargs="*", default=[], help="CSVs of labelled pairs")
    parser.add_argument("--model", required=True, help="trained on the rows before --first")
    parser.add_argument("--minilm", default="sentence-transformers/all-MiniLM-L6-v2")
    parser.add_argument("--bfloat16", action="store_true", help="MiniLM in half precision")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--json", help="file for the results")
    options = parser.parse_args()
    from trax_triplet.data.pairs import concatenate, distinct_questions, normalize_text

    pairs, whole = read(options.duplicates, options.first)
    n_held = len(pairs)
    for path in options.others:
        pairs = concatenate(pairs, read(path)[0])
    questions, places, groups = distinct_questions(pairs)
    asked = np.unique(places[0, :n_held])
    asked = asked[np.bincount(groups)[groups[asked]] > 1].tolist()
    part = slice(options.first - 1)
    trained_on = {normalize_text(text) for text in (*whole.question1[part], *whole.question2[part])}
    is_seen = np.array([normalize_text(question) in trained_on for question in questions])
    seen_groups = np.bincount(groups, is_seen) > 0
    unseen = [not seen_groups[groups[row]] for row in asked]
    about = {"corpus": len(questions), "queries": len(asked), "unseen": sum(unseen)}
    about["duplicates a query"] = float(np.mean(np.bincount(groups)[groups[asked]] - 1))
    print(json.dumps(about), flush=True)
    results = {}
    for name in options.sides:
        try:
            side = SIDES[name](options)
        except ImportError as error:
            print(f"{name}: left out, {error}")
            continue
        results[name] = measured(side, questions, asked, groups, unseen)
        print(name, json.dumps(results[name]), flush=True)
    shown = ("recall@1", "recall@10", "mrr@10", "map", "ndcg@10")
    for which in ("all", "unseen"):
        rows = [
            [name, *(float(result[which][metric]) for metric in shown), result["queries/core s"]]
            for name, result in results.items()
        ]
        print(f"\n{which} queries\n" + measure.table(["side", *shown, "queries/core s"], rows))
    if options.json:
        machine = measure.machine("numpy", "scikit-learn", "bm25s", "sentence-transformers")
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"machine": machine, **about, "results": results}, file, indent=1)


if __name__ == "__main__":
    main()
