"""Reads a great many damaged files: each is read or refused in words, soon, in little memory.
Prints one line of JSON.

    python tests/faults/fuzz.py --inputs 200000 --seed 0 [--target csv]

An input is a good file of the package's own writers, changed at random, and the seed, the target's
name and the input's number give the same one each time. A finding is anything but a result that
keeps its promises, a ValueError that names the file, or a FileNotFoundError: another exception, a
warning, more than a second, more than 500 MB. Each is reported once, with its first input. For
Linux only.
"""

import argparse
import base64
import contextlib
import gzip
import hashlib
import io
import json
import os
import pickle
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import mutations
import numpy as np

from trax_triplet import _folders as folders
from trax_triplet.compat import trax_files as pickles
from trax_triplet.data import questions, reader, sample, vocabulary
from trax_triplet.inference import lines
from trax_triplet.inference import trained_model as saved
from trax_triplet.model.siamese import Siamese
from trax_triplet.model.weights import init_model

ENCODINGS = ("utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-7", "cp1252", "cp932", "gb18030")
PACKED = mutations.BYTES + tuple(map(mutations.gzipped, mutations.BYTES)) * 2
STRUCTURE = {
    saved.MANIFEST: (mutations.change_json_text,),
    folders.CHECKPOINT: (mutations.change_json_text,),
    folders.ARRAYS: (mutations.change_safetensors,),
}
MAX_SECONDS, MAX_BYTES = 1, 500 * 10**6
BLOCKED_SECONDS = (
    60  # on the clock, for a read that waits; MAX_SECONDS are the processor's, whatever else runs
)


# Targets


class Target(NamedTuple):
    """A reader, as a function of a file's bytes; how often it is called; good files, the first read
    without error."""

    name: str
    share: int
    read: Callable[[bytes], object]
    seeds: list[bytes]
    mutations: tuple
    names: str  # what each ValueError must name


def targets(folder):
    """All of them; `folder` (path) is theirs to write in."""
    folder = Path(folder)
    return [
        *_of_tables(folder),
        *_of_any_options(folder),
        *_of_folders(folder),
        *_of_pickles(folder),
    ]


def _of_tables(folder):
    path, words = folder / "pairs.csv", folder / "words.txt"

    def read_pairs(label, **options):
        has_labels = label is not None or bool(options)

        def read(data):
            path.write_bytes(data)
            pairs = reader.read_pairs(path, label=label, **options)
            assert len(pairs) == len(pairs.question2) == len(pairs.lines) > 0
            assert (pairs.is_duplicate is None) != has_labels
            assert all(text.strip() for text in pairs.question1 + pairs.question2)

        return read

    def read_words(data):
        words.write_bytes(data)
        loaded = vocabulary.Vocabulary.load(words)
        loaded.save(words)
        assert vocabulary.Vocabulary.load(words) == loaded

    sample.write_csv(path, 4)
    text = path.read_bytes()
    quoted = b'question1,"question2",is_duplicate\r\n"a ""b"", c\nd",e,1\r\n\r\n"f",g,0\r\n'
    tabs = b"Question1\tQUESTION2\tis_duplicate\na\tb\t1.0\n"
    seeds = [text, quoted, b"\xef\xbb\xbf" + text.replace(b",", b";"), tabs]
    written = []
    for built in (["how", "old", "ça", "\u2028"], 0), (["a"], 9):
        vocabulary.Vocabulary(built[0], buckets=built[1]).save(words)
        written.append(words.read_bytes())
    plain = b'id\tquestion1\tquestion2\tis_duplicate\n1\tHe said "no" .\t" Yes .\t1\n'
    literals = b"question1\tquestion2\tis_duplicate\nb'a\\xc3\xa4'\tb\"It's\"\tTRUE\n"
    tabbed = [plain, plain * 3, literals]
    wide = [text.decode().encode(name) for name in ("utf-16", "utf-16-be", "utf-32-le")]
    by_hand = {"escape": "\\", "encoding": "cp1252", "quoting": "csv"}
    graded = {"threshold_label": 0.5, "max_skipped": 0.5}
    triplets = {"question1": "id", "question2": "question1", "negative": "question2"}
    packed = [gzip.compress(seed, mtime=0) for seed in seeds]
    return [
        Target("csv", 50, read_pairs("is_duplicate"), seeds, mutations.BYTES, str(path)),
        Target("csv.gz", 20, read_pairs("is_duplicate"), packed, PACKED, str(path)),
        Target("csv, no labels", 20, read_pairs(None), seeds, mutations.BYTES, str(path)),
        Target("tabs", 30, read_pairs("is_duplicate"), tabbed, mutations.BYTES, str(path)),
        Target("utf-16", 20, read_pairs("is_duplicate"), wide, mutations.BYTES, str(path)),
        Target(
            "csv, by hand",
            20,
            read_pairs("is_duplicate", **by_hand),
            [quoted, text],
            mutations.BYTES,
            str(path),
        ),
        Target(
            "grades", 10, read_pairs("is_duplicate", **graded), seeds, mutations.BYTES, str(path)
        ),
        Target("triplets", 10, read_pairs(None, **triplets), [text], mutations.BYTES, str(path)),
        Target("vocabulary", 30, read_words, written, mutations.BYTES, str(words)),
    ]


def _of_any_options(folder):
    """Readers with options that each input chooses for itself."""
    path = folder / "any.csv"

    def text_options(chance):
        return {
            "quoting": chance.choice(("auto", "csv", "none")),
            "escape": chance.choice((None, None, "\\", "/", "^", "'", "a", "\xe4")),
            "encoding": chance.choice((*[None] * 12, *ENCODINGS)),
            "max_skipped": chance.choice((0.0, 0.01, 0.5, 1.0)),
        }

    def read_pairs(data):
        path.write_bytes(data)
        chance = random.Random(zlib.crc32(data))
        labels = (
            {},
            {"label": None},
            {"positive": chance.sample(["1", "0", "yes", "", "TRUE", "1.0", "5"], 3)},
            {"threshold_label": chance.choice((0, 0.5, 3, -1e300))},
            {"duplicates_only": True},
            {"question1": "question2", "question2": "question1", "negative": "is_duplicate"},
        )
        chosen = chance.choice(labels)
        pairs = reader.read_pairs(path, **chosen, **text_options(chance))
        assert len(pairs) == len(pairs.question2) == len(pairs.lines) > 0
        assert (pairs.is_duplicate is None) == (chosen == {"label": None})
        assert all(text.strip() for text in pairs.question1 + pairs.question2)

    def read_questions(data):
        path.write_bytes(data)
        chance = random.Random(zlib.crc32(data))
        id = chance.choice((None, "is_duplicate"))
        found = questions.read_questions(path, column="question1", id=id, **text_options(chance))
        assert len(found.texts) == len(found.lines) > 0 and all(map(str.strip, found.texts))
        assert (found.ids is None) == (id is None)

    def answer(data):
        chance = random.Random(zlib.crc32(data))
        written = []
        n, errors = lines.answer_lines(
            _Alike(),
            io.BytesIO(data),
            written.append,
            as_json=True,
            encoding=chance.choice((None, None, "cp1252", "cp932", "gb18030")),
        )
        answers = [
            json.loads(line, parse_constant=_refuse) for line in "".join(written).split("\n")[:-1]
        ]
        assert len(answers) == n and sum("error" in each for each in answers) >= len(errors)

    text = (
        'question1,question2,is_duplicate\r\n"Why, ""so""?",How come?,1\r\nWho?,"a\nb",0\r\n'
        "Where is ät?,Wo?,yes\r\n"
    )
    tabs = "question1\tquestion2\tis_duplicate\n\"Why?\tb'how'\t1.0\nb'a'\tWho \\\"so\\\"?\t4.5\n"
    rows = [
        {"question1": "Wie ät?", "question2": "a\tb", "is_duplicate": 7},
        {"question1": "Why?", "question2": "Who?", "is_duplicate": "x", "similarity": 1.5},
    ]
    listed = "".join(json.dumps(row) + "\n" for row in rows)
    streamed = "Why?\tHow come?\tid 7\r\n" + listed + '["a", "b"]\n\nno pair\n'
    tables = [t.encode(e) for t in (text, tabs) for e in ("utf-8", "cp1252", "utf-16", "utf-32")]
    return [
        Target(
            "pairs, any options",
            60,
            read_pairs,
            _readable_first(read_pairs, tables),
            mutations.BYTES,
            str(path),
        ),
        Target(
            "questions, any options",
            30,
            read_questions,
            _readable_first(read_questions, [listed.encode(), *tables]),
            mutations.BYTES,
            str(path),
        ),
        Target("lines", 20, answer, [streamed.encode()], mutations.BYTES, "a line has more than"),
    ]


def _readable_first(read, seeds):
    """The seeds, the first that is read with the options that it chooses in front."""

    def is_read(seed):
        with contextlib.suppress(ValueError):
            read(seed)
            return True
        return False

    first = next(filter(is_read, seeds))
    return [first, *(seed for seed in seeds if seed != first)]


class _Alike:
    """A model to which all questions are alike."""

    threshold = 0.5

    def similarity(self, first, second):
        return np.ones(len(first), np.float32)


def _refuse(constant):
    raise AssertionError(f"{constant} is not JSON")


def _of_folders(folder):
    layer = init_model(Siamese(9, 2, "eval", pooling="last"))
    words = vocabulary.Vocabulary("how old are you ?".split(), buckets=2)
    models = [folder / "model", folder / "model of the mean", folder / "model of the course"]
    saved.TrainedModel(layer, words, {"pooling": "last", "threshold": 0.5}).save(models[0])
    settings, arrays = folders.read_folder(models[0], saved.MANIFEST)
    for where, pooling in zip(models[1:], ("mean", "course")):
        where.mkdir()
        words.save(where / saved.VOCABULARY)
        changed = {name: array + np.float32(0.1) for name, array in arrays.items()}
        folders.write_folder(where, saved.MANIFEST, {**settings, "pooling": pooling}, changed)
    model, checkpoint = models[0], folder / "checkpoints" / "00000005"
    state = {"step": 5, "history": [{"loss": 0.5}], "stream": [1, 2**70]}
    folders.save_checkpoint(checkpoint.parent, 5, {**arrays, "step": np.arange(3)}, state)

    def load_model():
        loaded = saved.load_model(model)
        assert len(loaded.vocabulary) == loaded.settings["vocab_size"]

    def load_checkpoint():
        arrays, settings, _ = folders.load_checkpoint(checkpoint.parent)
        assert isinstance(settings, dict) and all(
            isinstance(array, np.ndarray) for array in arrays.values()
        )

    found = []
    for kind, load, where, manifest, files, share in (
        (
            "model",
            load_model,
            model,
            saved.MANIFEST,
            (saved.MANIFEST, folders.ARRAYS, saved.VOCABULARY),
            5,
        ),
        (
            "checkpoint",
            load_checkpoint,
            checkpoint,
            folders.CHECKPOINT,
            (folders.CHECKPOINT, folders.ARRAYS),
            4,
        ),
    ):
        for name in files:
            changes = mutations.BYTES + STRUCTURE.get(name, ()) * len(
                mutations.BYTES
            )  # half and half
            seeds = [
                (other / name).read_bytes() for other in (models if where == model else [where])
            ]
            for sealed in (False, True):
                read = _in_folder(where, manifest, name, load, sealed)
                found.append(
                    Target(
                        f"{kind} {name}{', sealed' * sealed}",
                        2 * share if sealed else share // 2,
                        read,
                        seeds,
                        changes,
                        str(where.parent),
                    )
                )
    return found


def _in_folder(folder, manifest, name, load, sealed):
    """A reader of a folder in which this file has these bytes, and, if sealed, the SHA-256 that
    goes with them."""
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}

    def read(data):
        written = {name: data} if not sealed else _seal(whole, manifest, name, data)
        for file, content in written.items():
            (folder / file).write_bytes(content)
        try:
            load()
            assert sealed or _same(data, whole[name]), (
                "what was changed since it was written is read"
            )
        finally:
            for file in written:
                (folder / file).write_bytes(whole[file])

    return read


def _seal(whole, manifest, name, data):
    content = json.loads(whole[manifest])
    try:
        if name == manifest:
            content = json.loads(data)
        else:
            content["files"][name] = {
                "bytes": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
            }
        content.pop("sha256", None)
        content["sha256"] = folders._digest(content)
        sealed = json.dumps(content).encode()
    except (ValueError, RecursionError, TypeError, AttributeError):
        sealed = data  # no JSON object: there is nothing to seal
    return {name: data, manifest: sealed}


def _of_pickles(folder):
    """Weights of Trax: a pickle, a gzipped one, arrays beside a pickle."""
    path, inside, beside = folder / "a.pkl", folder / "b.pkl.gz", folder / "b.weights.npy.gz"
    inside.write_bytes(pickle.dumps({"flat_weights": 2}))

    def read_arrays(data):
        beside.write_bytes(data)
        assert all(isinstance(array, np.ndarray) for array in pickles.read_trax_weights(inside))

    def read_pickle(data):
        path.write_bytes(data)
        pickles.read_pickle(path)
        assert all(isinstance(array, np.ndarray) for array in pickles.read_trax_weights(path))

    init_model(Siamese(9, 2, "eval", pooling="last")).save_to_file(str(path))
    packed = [path.read_bytes()]
    arrays = [np.ones((2, 3), np.float32), np.arange(4, dtype=np.uint16), np.zeros((), np.float64)]
    content = {
        "flat_weights": arrays,
        "flat_state": [(), ()],
        "step": 3,
        "history": {"loss": [0.5, None, True, "x"]},
    }
    plain = [pickle.dumps(content, protocol) for protocol in range(6)]
    stream = io.BytesIO()
    for array in arrays:
        np.save(stream, array)
    stored = [gzip.compress(stream.getvalue(), 1, mtime=0), stream.getvalue()]
    opcodes = mutations.BYTES + (mutations.insert_opcode,) * 4
    headers = PACKED + (mutations.gzipped(mutations.change_npy),) * 14
    return [
        Target("pickle", 20, read_pickle, plain, opcodes, str(path)),
        Target(
            "pickle.gz", 10, read_pickle, packed, tuple(map(mutations.gzipped, opcodes)), str(path)
        ),
        Target("npy.gz", 15, read_arrays, stored[:1], headers, str(beside)),
        Target(
            "npy",
            10,
            read_arrays,
            stored[1:],
            mutations.BYTES + (mutations.change_npy,) * 7,
            str(beside),
        ),
    ]


def _same(data, other):
    """Whether these are the same bytes, or the same JSON."""
    with contextlib.suppress(ValueError):
        return json.loads(data) == json.loads(other)
    return data == other


# The run


class Slow(BaseException):
    """Raised inside a reader that takes too long; no reader catches it."""


def _too_slow(signum, frame):
    raise Slow(f"more than {MAX_SECONDS} s")


@contextlib.contextmanager
def limits():
    """Context: 4 GiB of address space beyond what is used, an alarm for slow readers, and warnings
    are errors."""
    limit = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    old = [
        (number, signal.signal(number, _too_slow)) for number in (signal.SIGALRM, signal.SIGPROF)
    ]
    resource.setrlimit(resource.RLIMIT_AS, (used + 4 * 2**30, limit[1]))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limit)
        for number, handler in old:
            signal.signal(number, handler)


def attempt(target, data):
    """What is wrong with how these bytes are read, '' if nothing; whether they were; seconds of the
    processor."""
    peak, start, wrong, read = _peak(), time.process_time(), "", False
    try:
        signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS)
        signal.setitimer(signal.ITIMER_REAL, BLOCKED_SECONDS)
        try:
            target.read(data)
            read = True
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
    except (ValueError, FileNotFoundError) as error:
        if target.names not in str(error):
            wrong = _described(error)
    except (Exception, Slow) as error:  # a fuzzer's work: whatever it is, it is a finding
        wrong = _described(error)
    seconds = time.process_time() - start
    if not wrong and seconds > MAX_SECONDS:
        wrong = f"more than {MAX_SECONDS} s"
    if not wrong and _peak() - peak > MAX_BYTES:
        wrong = f"more than {MAX_BYTES} bytes"
    return wrong, read, seconds


def _peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _described(error):
    """Type and place of an error; the same defect gives the same."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"


def fuzz(target, count, seed=0):
    """`count` inputs to one target: what came of them, as a dict that JSON can hold."""
    found, read, longest, start = {}, 0, 0.0, time.monotonic()
    for number in range(count):
        data = mutations.mutate(
            random.Random(f"{seed} {target.name} {number}"), target.seeds, target.mutations
        )
        wrong, accepted, seconds = attempt(target, data)
        read, longest = read + accepted, max(longest, seconds)
        if wrong and wrong not in found:
            found[wrong] = {
                "target": target.name,
                "wrong": wrong,
                "times": 0,
                "number": number,
                "zlib, base64": base64.b64encode(zlib.compress(data, 9)).decode(),
            }
        if wrong:
            found[wrong]["times"] += 1
    seconds = time.monotonic() - start
    return {
        "inputs": count,
        "read": read,
        "seconds": round(seconds, 1),
        "longest_s": round(longest, 3),
        "findings": [*found.values()],
    }


def run(inputs, seed=0, only=None):
    """`inputs` inputs, shared out to the targets by their shares; all that was found."""
    with tempfile.TemporaryDirectory(
        dir="/dev/shm" if os.path.isdir("/dev/shm") else None
    ) as folder:
        chosen = [target for target in targets(folder) if only in (None, target.name)]
        total, results = sum(target.share for target in chosen), {}
        for target in chosen:  # before the clock: what JAX compiles once
            for good in target.seeds:
                with contextlib.suppress(ValueError):
                    target.read(good)
            target.read(target.seeds[0])
        base, start = _peak(), time.monotonic()
        with limits():
            for target in chosen:
                results[target.name] = fuzz(target, round(inputs * target.share / total), seed)
        count, seconds = (
            sum(result["inputs"] for result in results.values()),
            time.monotonic() - start,
        )
    findings = [finding for result in results.values() for finding in result.pop("findings")]
    if not findings and _peak() - base > MAX_BYTES:
        findings = [{"wrong": f"all inputs together took more than {MAX_BYTES} bytes"}]
    return {
        "inputs": count,
        "seed": seed,
        "seconds": round(seconds, 1),
        "inputs_per_s": round(count / seconds),
        "longest_s": max(result["longest_s"] for result in results.values()),
        "mb_above_base": round((_peak() - base) / 1e6),
        "targets": results,
        "findings": findings,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", help="only the one of this name")
    options = parser.parse_args()
    found = run(options.inputs, options.seed, options.target)
    print(json.dumps(found))
    return bool(found["findings"])


if __name__ == "__main__":
    sys.exit(main())
