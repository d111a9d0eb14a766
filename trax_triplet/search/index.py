"""An index: questions with their vectors, to be searched, changed and kept in a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trax_triplet import _files as files
from trax_triplet import _folders as folders
from trax_triplet import _validation as check
from trax_triplet.search.corpus import Hit, check_width, checked_ids, embedded, model_digest
from trax_triplet.search.duplicates import check_model, unit_vectors
from trax_triplet.search.graph import Graph, has_engine
from trax_triplet.search.products import nearest

if TYPE_CHECKING:
    from trax_triplet.inference.trained_model import TrainedModel

__all__ = ["QuestionIndex", "check_free"]

INSIDE, MANIFEST, QUESTIONS, MODEL = "index", "index.json", "questions.jsonl", "model"
# Up to here all products take no longer than the walk through a graph (benchmarks/README.md).
EXACT_UP_TO = 200_000


class QuestionIndex:
    """Questions with their vectors: nearest questions, exact or approximate.

    Up to 200 000 questions the nearest are found by all products, exactly. Above, a graph of
    neighbours finds nearly all of them, far sooner, where FAISS is installed
    (`pip install 'trax-triplet[search]'`); `approximate` and `recall` say which it is.

    Make one by `build` or `load`.

    Attributes:
        ids: the ids of the questions, strings.
        model: the `TrainedModel` that embeds questions; None for an index of vectors.

    Example:
        >>> vectors = np.float32([[1, 0], [0, 1], [0.6, 0.8]])
        >>> index = QuestionIndex.build(vectors, ids=["a", "b", "c"])
        >>> [hit.id for hit in index.search(np.float32([[0.8, 0.6]]), k=2)[0]]
        ['c', 'a']
        >>> index.remove(["c"])
        >>> len(index), index.approximate
        (2, False)
    """

    def __init__(
        self,
        ids: list[str],
        questions: list[str] | None,
        vectors: np.ndarray,
        model: TrainedModel | None,
        graph: Graph | None,
        hidden: np.ndarray,
    ):
        self.model = model
        self._all_ids, self._questions, self._vectors = ids, questions, vectors
        self._graph, self._hidden = graph, hidden
        self._rows = {ids[row]: row for row in np.flatnonzero(~hidden).tolist()}
        self._read_from: tuple[Path, str] | None = None

    @classmethod
    def build(
        cls,
        corpus: Iterable[str] | np.ndarray,
        *,
        model: TrainedModel | None = None,
        ids: Iterable[str] | None = None,
        approximate: bool | None = None,
    ) -> QuestionIndex:
        """An index of questions.

        Args:
            corpus: n questions; or their vectors, floats (n, d) of length 1, or 0 for those without
                words.
            model: the `TrainedModel` that embeds the questions; not needed for vectors.
            ids: n different strings; None: '1' to 'n'.
            approximate: whether a graph is built; None: above 200 000, if FAISS is installed.

        Raises:
            TypeError: questions or ids that are not strings, questions without a model.
            ValueError: no questions, vectors that are not of length 1 or 0, ids that are not as
                many as the questions, or come twice.
            ImportError: `approximate`, and FAISS is not installed.

        Example:
            >>> len(QuestionIndex.build(np.eye(3)))
            3
        """
        if approximate is not None:
            check.boolean("approximate", approximate)
        questions, vectors = embedded("corpus", corpus, model)
        if not len(vectors):
            raise check.wrong_value("corpus", "at least one question", corpus)
        return cls.of_vectors(vectors, questions, ids, model, approximate)

    @classmethod
    def of_vectors(
        cls,
        vectors: np.ndarray,
        questions: list[str] | None,
        ids: Iterable[str] | None,
        model: TrainedModel | None,
        approximate: bool | None,
    ) -> QuestionIndex:
        """As `build`, of questions whose vectors are there already."""
        names = checked_ids(ids, len(vectors), [])
        if approximate is None:
            approximate = len(vectors) > EXACT_UP_TO and has_engine()
        if approximate and not has_engine():
            raise ImportError(
                "an approximate index needs FAISS: pip install 'trax-triplet[search]'"
            )
        graph = Graph.build(vectors) if approximate else None
        return cls(names, questions, vectors, model, graph, np.zeros(len(vectors), bool))

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, id: object) -> bool:
        return id in self._rows

    def __copy__(self) -> QuestionIndex:
        """Another index of the same questions: a change of one leaves the other as it is."""
        graph = self._graph and Graph.read(self._vectors, self._graph.arrays())
        arguments = (self._all_ids, self._questions, self._vectors, self.model, graph, self._hidden)
        new = type(self)(*arguments)
        new._read_from = self._read_from
        return new

    @property
    def ids(self) -> list[str]:
        """The ids of the questions, in the order in which they were added."""
        return list(self._rows)

    @property
    def has_texts(self) -> bool:
        """Whether it was made of questions, and not of vectors."""
        return self._questions is not None

    @property
    def approximate(self) -> bool:
        """Whether some of the nearest questions may be missed."""
        return self._graph is not None

    @property
    def recall(self) -> float:
        """The share of the ten nearest that are found, as measured when the graph was built."""
        return 1.0 if self._graph is None else self._graph.recall

    def search(self, queries: Iterable[str] | np.ndarray, k: int = 10) -> list[list[Hit]]:
        """The nearest questions of each query.

        Args:
            queries: m questions, or their vectors, floats (m, d).
            k: how many, at least 1.

        Returns:
            m lists of up to k `Hit`s, the most similar first, equal ones in the order in which they
            were added. A query without words has none.

        Raises:
            TypeError: queries that are not strings, a `k` that is not an integer; questions where
                the index was made of vectors.
            ValueError: vectors of another shape or length, a `k` below 1.

        Example:
            >>> QuestionIndex.build(np.eye(2)).search(np.eye(2)[:1], k=1)
            [[Hit(id='1', similarity=1.0, question='')]]
        """
        k = min(check.integer("k", k, 1), max(1, len(self)))
        _, vectors = embedded("queries", queries, self.model)
        check_width("queries", vectors, self._vectors.shape[1])
        hits: list[list[Hit]] = [[] for _ in vectors]
        asked = np.flatnonzero(vectors.any(axis=1))
        if not len(self) or not len(asked):
            return hits
        if self._graph is not None:
            found = self._graph.search(vectors[asked], self._vectors, k, self._hidden)
            rows = (found.first, found.second, found.similarity)
        else:
            places, similar = nearest(vectors[asked], self._vectors, k)
            rows = (np.repeat(np.arange(len(asked)), k), places.ravel(), similar.ravel())
        texts = self._questions
        for query, row, similarity in zip(*(column.tolist() for column in rows), strict=True):
            question = "" if texts is None else texts[row]
            hits[asked[query]].append(Hit(self._all_ids[row], similarity, question))
        return hits

    def add(self, corpus: Iterable[str] | np.ndarray, *, ids: Iterable[str] | None = None) -> None:
        """Adds questions after those that are there.

        Args:
            corpus: questions, or vectors where the index was made of vectors.
            ids: different strings that are not in the index yet; None: the numbers that follow.

        Raises:
            TypeError, ValueError: as `build`; also an id that is in the index already.

        Example:
            >>> index = QuestionIndex.build(np.eye(3))
            >>> index.add(np.eye(3)[:1])
            >>> index.ids
            ['1', '2', '3', '4']
        """
        questions, vectors = embedded("corpus", corpus, self.model)
        if (questions is None) != (self._questions is None):
            raise check.wrong_type(
                "corpus",
                "vectors, as the index was made of" if questions else "questions",
                corpus,
            )
        check_width("corpus", vectors, self._vectors.shape[1])
        names = checked_ids(ids, len(vectors), self._rows)
        first = len(self._all_ids)
        self._all_ids = self._all_ids + names
        if self._questions is not None:
            self._questions = self._questions + (questions or [])
        self._vectors = np.concatenate([self._vectors, vectors])
        self._hidden = np.append(self._hidden, np.zeros(len(vectors), bool))
        self._rows |= {name: first + row for row, name in enumerate(names)}
        if self._graph is not None:
            self._graph.add(vectors)

    def remove(self, ids: Iterable[str]) -> None:
        """Removes questions.

        Args:
            ids: of the questions.

        Raises:
            TypeError: not a list of strings.
            ValueError: an id that is not in the index; nothing is removed then.

        Example:
            >>> index = QuestionIndex.build(np.eye(3))
            >>> index.remove(["1", "3"])
            >>> index.ids
            ['2']
        """
        names = check.strings("ids", ids, "write a single id as ['17']")
        missing = [name for name in names if name not in self._rows]
        if missing:
            raise check.wrong_value("each of ids", "an id that is in the index", missing[0])
        self._hidden = self._hidden.copy()
        self._hidden[[self._rows[name] for name in names]] = True
        if self._graph is None or self._hidden.mean() > 0.2:
            self._drop_hidden()
        else:
            for name in names:
                self._rows.pop(name, None)

    def _drop_hidden(self) -> None:
        """Leaves only what is in use; a graph is built anew."""
        kept = np.flatnonzero(~self._hidden)
        self._all_ids = [self._all_ids[row] for row in kept.tolist()]
        if self._questions is not None:
            self._questions = [self._questions[row] for row in kept.tolist()]
        self._vectors, self._hidden = self._vectors[kept], np.zeros(len(kept), bool)
        self._rows = {name: row for row, name in enumerate(self._all_ids)}
        if self._graph is not None:
            self._graph = Graph.build(self._vectors) if len(kept) else None

    def info(self) -> dict[str, Any]:
        """What there is to know about the index, ready for JSON.

        Returns:
            questions (their number), dimensions, approximate, recall, and model_sha256 (None
            without a model).

        Example:
            >>> QuestionIndex.build(np.eye(3)).info()["questions"]
            3
        """
        return {
            "questions": len(self),
            "dimensions": int(self._vectors.shape[1]),
            "approximate": self.approximate,
            "recall": self.recall,
            "model_sha256": None if self.model is None else model_digest(self.model),
        }

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the index, with its model, to a folder; whatever happens, the old or the new one
        is there, complete.

        Args:
            folder: path; parents are made. An older index in it is replaced.

        Raises:
            TypeError: `folder` is not a path.
            FileExistsError: something is there that is not an index.
            BlockingIOError: another process is writing to it.
            ValueError: the index was loaded from there, and somebody has changed it since.
        """
        folder = check.path("folder", folder)
        inside = folder / INSIDE
        check_free(folder)
        with files.only_writer(folder):
            if self._read_from and self._read_from[0] == folder.resolve() and self.is_outdated():
                what = "was changed since it was loaded; load it again, and repeat the change"
                if _found(folder) is None:
                    what = "holds no index any more; find out who moved it, or name another folder"
                raise ValueError(f"{folder} {what}")
            with files.new_folder(inside, ours={MODEL}) as new:
                self._write(new)
            self._read_from = (folder.resolve(), _manifest(folder))

    def is_outdated(self) -> bool:
        """Whether the folder that it was loaded from, or last saved to, was changed since then.

        Example:
            >>> QuestionIndex.build(np.eye(3)).is_outdated()  # it has no folder
            False
        """
        if self._read_from is None:
            return False
        folder, manifest = self._read_from
        return manifest != _manifest(folder)

    def _write(self, new: Path) -> None:
        texts = self._questions or [""] * len(self._all_ids)
        with open(new / QUESTIONS, "w", encoding="utf-8", newline="\n") as file:
            for row in zip(self._all_ids, texts, strict=True):
                file.write(json.dumps(row) + "\n")
        arrays = {"vectors": self._vectors, "hidden": self._hidden.astype(np.uint8)}
        if self._graph is not None:
            arrays |= self._graph.arrays()
        settings = {**self.info(), "has_questions": self._questions is not None}
        folders.write_folder(new, MANIFEST, settings, arrays)
        if self.model is not None:
            self.model.save(new / MODEL)

    @classmethod
    def load(
        cls, folder: str | os.PathLike[str], *, model: TrainedModel | None = None
    ) -> QuestionIndex:
        """Reads an index.

        Args:
            folder: path of a folder that `save` wrote.
            model: a loaded model to use; it must be the one that the index was built with. None:
                the copy of it that is in the folder.

        Raises:
            TypeError: `folder` is not a path, `model` not a model.
            FileNotFoundError: there is no index.
            ImportError: an approximate index, and FAISS is not installed.
            ValueError: another model, or a folder of another format, truncated, or changed since it
                was written.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     QuestionIndex.build(np.eye(3)).save(f"{folder}/index")
            ...     len(QuestionIndex.load(f"{folder}/index"))
            3
        """
        folder = check.path("folder", folder)
        if model is not None:
            check_model(model)
        return folders.settled(lambda: cls._read(folder, model), lambda: _manifest(folder))

    @classmethod
    def _read(cls, folder: Path, model: TrainedModel | None) -> QuestionIndex:
        inside = _found(folder)
        if inside is None:
            raise FileNotFoundError(
                f"there is no index in {folder}; `trax-triplet index FILE --model MODEL --output "
                f"{folder}` makes one"
            )
        digest = _manifest(folder)
        settings, arrays, others = folders.read_files(inside, MANIFEST, (QUESTIONS,))
        model = _its_model(inside, settings, model)
        index = _assembled(cls, inside, settings, arrays, others[QUESTIONS], model)
        index._read_from = (folder.resolve(), digest)
        return index


def check_free(folder: Path) -> None:
    """Nothing, if an index may be written there.

    Raises:
        FileExistsError: something is there that is not an index.
    """
    if not folder.exists() or _found(folder):
        return
    # Hidden: the lock, and what a save that was killed leaves.
    if not folder.is_dir() or any(not path.name.startswith(".") for path in folder.iterdir()):
        raise FileExistsError(
            f"{folder} exists but holds no index, so it is not replaced; name another folder"
        )


def _found(folder: Path) -> Path | None:
    """The index in a folder; a process killed between its two renames leaves only the old one."""
    inside = folder / INSIDE
    both = (inside, files.previous(inside))
    return next((path for path in both if (path / MANIFEST).is_file()), None)


def _manifest(folder: Path) -> str:
    inside = _found(folder)
    return "" if inside is None else (inside / MANIFEST).read_text(encoding="utf-8")


def _its_model(
    inside: Path, settings: dict[str, Any], given: TrainedModel | None
) -> TrainedModel | None:
    from trax_triplet.inference.trained_model import load_model

    wanted = settings.get("model_sha256")
    if wanted is None:
        return given
    model = load_model(inside / MODEL) if given is None else given
    if model_digest(model) != wanted:
        if given is not None:
            raise ValueError(
                f"the index {inside.parent} was built with another model (its weights differ), so "
                "similarities would be meaningless; leave the model out: the index has its own, or "
                "build an index with this one"
            )
        raise folders.invalid(inside, f"{MODEL} is not the model that the index was built with")
    return model


def _assembled(
    cls: type[QuestionIndex],
    inside: Path,
    settings: dict[str, Any],
    arrays: dict[str, np.ndarray],
    data: bytes,
    model: TrainedModel | None,
) -> QuestionIndex:
    try:
        lines = data.decode().split("\n")[:-1]
        rows = [json.loads(line) for line in lines]
        ids, questions = [str(row[0]) for row in rows], [str(row[1]) for row in rows]
        vectors, hidden = unit_vectors("vectors", arrays["vectors"]), arrays["hidden"].astype(bool)
        if not len(ids) == len(vectors) == len(hidden):
            raise ValueError(f"{len(ids)} questions, but {len(vectors)} vectors")
        graph = None
        if "neighbours" in arrays:
            if not has_engine():
                raise ImportError(
                    f"the index {inside.parent} is approximate and needs FAISS: pip install "
                    "'trax-triplet[search]'"
                )
            graph = Graph.read(vectors, arrays)
    except (KeyError, IndexError, TypeError, ValueError, RecursionError) as error:
        raise folders.invalid(inside, str(error)) from error
    texts = questions if settings.get("has_questions") else None
    return cls(ids, texts, vectors, model, graph, hidden)
