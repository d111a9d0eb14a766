"""The rows of `test_bad_input.py` for corpora: files of questions, duplicates."""

from pathlib import Path

import numpy as np
from bad_inputs import (
    FOLDER,
    NAN,
    ONES,
    PAIRS,
    PICTURE,
    TEXT,
    TEXTS,
    TRAINED,
    UNLABELLED,
    WIDE,
    csv_of,
)
from bad_inputs_data import rows_of

from trax_triplet.search.index import QuestionIndex

UNIT = np.eye(3, dtype="float32")
INDEX = QuestionIndex.build(UNIT)

rows_of(
    "data.questions.read_questions",
    (TypeError, "path", (None,)),
    (TypeError, "path", (3,)),
    (FileNotFoundError, "nowhere", ("nowhere.csv",)),
    (IsADirectoryError, "folder", (FOLDER,)),
    (TypeError, "column", (csv_of("good"),), {"column": None}),
    (TypeError, "id", (csv_of("good"),), {"id": 1}),
    (TypeError, "max_skipped", (csv_of("good"),), {"max_skipped": "0.1"}),
    (ValueError, "max_skipped", (csv_of("good"),), {"max_skipped": 2}),
    (ValueError, "encoding", (csv_of("good"),), {"encoding": "klingon"}),
    (ValueError, "quoting", (csv_of("good"),), {"quoting": "all"}),
    (TypeError, "escape", (csv_of("good"),), {"escape": 3}),
    (ValueError, "max_bytes", (csv_of("good"),), {"max_bytes": 0}),
    (ValueError, "good.csv is larger than 9 bytes", (csv_of("good"),), {"max_bytes": 9}),
    (ValueError, "column=", (csv_of("good"),)),
    (ValueError, "the file is empty", (csv_of("empty"),)),
    (ValueError, "line 1: byte 0 of the file is not UTF-8", (PICTURE,)),
    (ValueError, "the gzip file is damaged", (csv_of("gzip"),)),
    (ValueError, "a NUL character", (csv_of("nul"),), {"column": "question1"}),
    (ValueError, "several columns", (csv_of("double"),), {"column": "question1"}),
    (ValueError, "a quote is not closed", (csv_of("quote"),), {"column": "question1"}),
)
rows_of(
    "search.duplicates.find_duplicates",
    (TypeError, "corpus", ("Why?",), {"model": TRAINED, "threshold": 0.5}),
    (TypeError, r"corpus\[1\]", (["Why?", None],), {"model": TRAINED}),
    (TypeError, "model", (TEXTS,), {"threshold": 0.5}),
    (TypeError, "model", (TEXTS,), {"model": "run", "threshold": 0.5}),
    (ValueError, "threshold must be given", (UNIT,)),
    (ValueError, "threshold", (UNIT,), {"threshold": NAN}),
    (TypeError, "threshold", (UNIT,), {"threshold": "0.5"}),
    (ValueError, "threshold must be a cosine", (UNIT,), {"threshold": 70}),
    (ValueError, "top_k", (UNIT,), {"threshold": 0.5, "top_k": 0}),
    (TypeError, "top_k", (UNIT,), {"threshold": 0.5, "top_k": 1.5}),
    (ValueError, "max_pairs", (UNIT,), {"threshold": 0.5, "max_pairs": 0}),
    (ValueError, "corpus", (UNIT[0],), {"threshold": 0.5}),
    (TypeError, "corpus", (UNIT.astype(int),), {"threshold": 0.5}),
)
rows_of(
    "search.duplicates.group_duplicates",
    (ValueError, "n", (-1, [])),
    (TypeError, "n", ("3", [])),
    (ValueError, "linkage", (3, []), {"linkage": "average"}),
)
rows_of(
    "search.duplicates.unit_vectors",
    (TypeError, "x", ("x", [["a"]])),
    (TypeError, "x", ("x", None)),
    (ValueError, "x", ("x", WIDE[0])),
    (ValueError, "x", ("x", WIDE[:, :0])),
    (ValueError, r"x\[0\] must be a vector of length 1 or 0.*divide", ("x", ONES)),
    (ValueError, r"x\[2\]", ("x", np.diag(np.float32([1, 1, NAN])))),
)
rows_of(
    "search.duplicates.embed_all",
    (TypeError, "model", (["Why?"], None)),
)
rows_of("search.duplicates.check_model", (TypeError, "model", ("run",)))

rows_of(
    "search.index.QuestionIndex.build",
    (TypeError, "corpus", ("Why?",), {"model": TRAINED}),
    (TypeError, "model", (TEXTS,)),
    (ValueError, "corpus must be at least one question", (UNIT[:0],)),
    (ValueError, r"corpus\[0\]", (ONES,)),
    (TypeError, "approximate", (UNIT,), {"approximate": 1}),
    (TypeError, "ids", (UNIT,), {"ids": "abc"}),
    (TypeError, r"ids\[0\]", (UNIT,), {"ids": [1, 2, 3]}),
    (ValueError, "ids must be 3", (UNIT,), {"ids": ["1"]}),
    (ValueError, "ids must be different ids", (UNIT,), {"ids": ["1", "2", "1"]}),
)
rows_of(
    "search.index.QuestionIndex.search",
    (TypeError, "queries", (INDEX, "Why?")),
    (TypeError, "model", (INDEX, TEXTS)),
    (ValueError, "queries must be vectors of 3 numbers", (INDEX, np.eye(2))),
    (ValueError, "k", (INDEX, UNIT), {"k": 0}),
    (TypeError, "k", (INDEX, UNIT), {"k": 1.5}),
)
rows_of(
    "search.index.QuestionIndex.add",
    (TypeError, "model", (INDEX, TEXTS)),
    (ValueError, "corpus must be vectors of 3 numbers", (INDEX, np.eye(2))),
    (ValueError, "ids must be ids that are not in the index", (INDEX, UNIT[:1]), {"ids": ["1"]}),
    (ValueError, "ids must be different ids", (INDEX, UNIT[:2]), {"ids": ["8", "8"]}),
)
rows_of(
    "search.index.QuestionIndex.remove",
    (TypeError, "ids", (INDEX, "1")),
    (
        ValueError,
        "each of ids must be an id that is in the index, but it is '9'",
        (INDEX, ["1", "9"]),
    ),
)
rows_of(
    "search.index.QuestionIndex.save",
    (TypeError, "folder", (INDEX, 3)),
    (FileExistsError, "holds no index", (INDEX, TEXT)),
)
rows_of(
    "search.index.QuestionIndex.load",
    (TypeError, "folder", (None,)),
    (FileNotFoundError, "no index in", (FOLDER,)),
    (TypeError, "model", (FOLDER,), {"model": "run"}),
)
rows_of("search.index.check_free", (FileExistsError, "holds no index", (Path(__file__),)))
rows_of("search.corpus.model_digest", (TypeError, "model", ("run",)))
rows_of(
    "search.negatives.mine_negatives",
    (TypeError, "pairs", (TEXTS, TRAINED)),
    (TypeError, "model", (PAIRS, "run")),
    (ValueError, "pairs must have labels", (UNLABELLED, TRAINED)),
    (ValueError, "per_pair", (PAIRS, TRAINED), {"per_pair": 0}),
    (TypeError, "neighbours", (PAIRS, TRAINED), {"neighbours": "all"}),
    (ValueError, "below", (PAIRS, TRAINED), {"below": NAN}),
    (TypeError, "band", (PAIRS, TRAINED), {"band": 0.5}),
    (TypeError, r"band\[1\]", (PAIRS, TRAINED), {"band": (0.1, "0.5")}),
    (ValueError, "band must be", (PAIRS, TRAINED), {"band": (0.5, 0.5)}),
)
rows_of(
    "search.partition.embed_partition",
    (TypeError, "frame", (TEXTS,), {"model": TRAINED}),
    (TypeError, "column", ({"question": TEXTS},), {"model": TRAINED, "column": 1}),
    (TypeError, "model", ({"question": TEXTS},), {"model": 3}),
    (ValueError, "column must be one of", ({"q": TEXTS},), {"model": TRAINED}),
    (FileNotFoundError, "nowhere", ({"question": TEXTS},), {"model": "nowhere"}),
)
rows_of(
    "search.corpus_quality.evaluate_corpus",
    (TypeError, "model", ("run", PAIRS)),
    (TypeError, "pairs", (TRAINED, TEXTS)),
    (ValueError, "pairs must have labels", (TRAINED, UNLABELLED)),
    (ValueError, "queries", (TRAINED, PAIRS), {"queries": "some"}),
    (ValueError, "threshold", (TRAINED, PAIRS), {"threshold": NAN}),
    (ValueError, "threshold must be a cosine", (TRAINED, PAIRS), {"threshold": -1.5}),
    (TypeError, "seed", (TRAINED, PAIRS), {"seed": 0.5}),
)
rows_of(
    "search.ranking.ranking_metrics",
    (TypeError, "scores", (TEXTS, [True] * len(TEXTS))),
    (ValueError, "scores", ([[0.5]], [[True]])),
    (ValueError, "scores", ([], [])),
    (ValueError, "scores", ([NAN, 0.5], [True, False])),
    (TypeError, "relevant", ([0.5, 0.1], [1, 0])),
    (ValueError, "relevant", ([0.5, 0.1], [True])),
    (ValueError, "relevant", ([0.5, 0.1], [False, False])),
)
rows_of(
    "search.ranking.mean_metrics",
    (ValueError, "rows", ([],)),
    (ValueError, "rows", ([{"map": 1.0}, {"recall@1": 1.0}],)),
    (TypeError, "seed", ([{"map": 1.0}],), {"seed": "0"}),
)
rows_of(
    "search.postgres.PostgresIndex.build",
    (TypeError, "corpus", ("Why?",), {"to": "postgresql://h", "model": TRAINED}),
    (TypeError, "model", (TEXTS,), {"to": "postgresql://h"}),
    (TypeError, "to", (UNIT,), {"to": 3}),
    (ValueError, "to must be the address of a database", (UNIT,), {"to": "idx"}),
    (TypeError, "table", (UNIT,), {"to": "postgresql://h", "table": 3}),
    (ValueError, "table must be a name", (UNIT,), {"to": "postgresql://h", "table": ""}),
    (ValueError, "corpus must be at least one question", (UNIT[:0],), {"to": "postgresql://h"}),
    (ValueError, r"corpus\[0\]", (ONES,), {"to": "postgresql://h"}),
    (ValueError, "at most 2000 numbers", (np.eye(2001, dtype="f4"),), {"to": "postgresql://h"}),
)
rows_of(
    "search.postgres.PostgresIndex.load",
    (TypeError, "address", (None,)),
    (ValueError, "address", ("idx",)),
    (ValueError, "table", ("postgresql://h",), {"table": "a.b.c"}),
    (TypeError, "model", ("postgresql://h",), {"model": "run"}),
)
