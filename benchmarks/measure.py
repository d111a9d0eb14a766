"""What the benchmarks share: sides timed in turn in one run, medians, ratios, the machine, a table,
JSON."""

import importlib.metadata
import json
import os
import platform
import statistics
import time
from pathlib import Path


def interleaved(sides, *, seconds=10.0, rounds=None, warmup=2, clock=time.perf_counter):
    """Times of several callables that take turns, so that whatever slows the machine slows all of
    them.

    Args:
        sides: dict of name to a callable without arguments, which returns when its work is done
            (for JAX: ends with `block_until_ready`).
        seconds: no new round starts after this long; at least three are made.
        rounds: this many rounds instead.
        warmup: calls of each side before, which compile and are not counted.
        clock: gives the time in seconds.

    Returns:
        Dict of name to a list of seconds, one a round; round k of all sides was measured side by
        side.

    Example:
        >>> times = interleaved({"sum": lambda: sum(range(100)), "nothing": lambda: None}, rounds=5)
        >>> {name: len(list_) for name, list_ in times.items()}
        {'sum': 5, 'nothing': 5}
    """
    for call in sides.values():
        for _ in range(warmup):
            call()
    times, begun = {name: [] for name in sides}, clock()
    names, done = list(sides), 0
    while done < rounds if rounds else (done < 3 or clock() - begun < seconds):
        for name in (
            names[done % len(names) :] + names[: done % len(names)]
        ):  # each goes first in turn
            start = clock()
            sides[name]()
            times[name].append(clock() - start)
        done += 1
    return times


def median(times, side):
    """Median seconds of one side of what `interleaved` returned.

    Example:
        >>> median({"a": [3.0, 1.0, 2.0]}, "a")
        2.0
    """
    if side not in times:
        raise ValueError(
            f"{side!r} was not measured in this run; it has {', '.join(map(repr, times))}"
        )
    return statistics.median(times[side])


def ratio(times, slow, fast):
    """How many times longer `slow` took than `fast`: their medians' ratio, both from one run of
    `interleaved`.

    Example:
        >>> ratio({"a": [3.0, 2.0, 2.5], "b": [1.0, 1.0, 9.0]}, "a", "b")
        2.5
    """
    return median(times, slow) / median(times, fast)


def machine(*packages):
    """Where and with what this was measured: processor, threads, load, versions.

    Args:
        packages: distributions whose versions are stated; None for those that are not installed.

    Returns:
        Dict of text and numbers, ready for JSON.
    """

    def version(package):
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return None

    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count())
    return {
        "processor": _processor(),
        "threads": len(usable),
        "load": [round(x, 2) for x in os.getloadavg()],
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {package: version(package) for package in packages},
        "settings": {
            name: os.environ[name]
            for name in ("XLA_FLAGS", "OMP_NUM_THREADS")
            if name in os.environ
        },
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _processor():
    """Model and vector width, as the system tells them; two machines of one name can differ in
    speed."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    lines = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
    lines = {key.strip(): value.strip() for key, value in lines.items()}
    flags = lines.get("flags", "").split()
    vectors = next((name for name in ("avx512f", "avx2", "avx") if name in flags), "no AVX")
    name, cache = lines.get("model name", platform.machine()), lines.get("cache size", "?")
    return f"{name} ({vectors}, {cache} cache)"


def table(columns, rows):
    """Rows as text under their columns, numbers with three digits; also a Markdown table.

    Example:
        >>> print(table(["batch", "ms"], [[256, 0.12345], [8192, None]]))
        | batch |    ms |
        |-------|-------|
        |   256 | 0.123 |
        |  8192 |     - |
    """

    def text(cell):
        if cell is None:
            return "-"
        return (
            f"{cell:.3g}"
            if isinstance(cell, float) and abs(cell) < 1000
            else (f"{cell:.0f}" if isinstance(cell, float) else str(cell))
        )

    cells = [list(map(text, row)) for row in [columns, *rows]]
    widths = [max(len(row[k]) for row in cells) for k in range(len(columns))]
    lines = [
        "| " + " | ".join(cell.rjust(w) for cell, w in zip(row, widths)) + " |" for row in cells
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])


def report(title, columns, rows, *, packages=(), results=None, path=None):
    """Prints the table with the machine it was measured on, and writes both as JSON.

    Args:
        title: what was measured, in a line.
        columns, rows: as in `table`.
        packages: as in `machine`.
        results: anything that JSON can hold, such as the raw times; the rows if left out.
        path: file to write, or None.
    """
    where = machine(*packages)
    print(f"{title}\n\n{table(columns, rows)}\n")
    versions = ", ".join(
        f"{name} {version or 'not installed'}" for name, version in where["versions"].items()
    )
    print(
        f"{where['processor']}, {where['threads']} threads, load {where['load'][0]}; "
        f"Python {where['python']}, {versions}; {where['when']}"
    )
    if path:
        kept = [dict(zip(columns, row)) for row in rows] if results is None else results
        Path(path).write_text(
            json.dumps({"title": title, "machine": where, "results": kept}, indent=1) + "\n"
        )
