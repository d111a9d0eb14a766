"""Work in threads: results in order, few ahead of what is asked for, the library's threads back."""

import contextlib
import threading

import pytest
from threadpoolctl import threadpool_info

from trax_triplet import _threads as threads
from trax_triplet._threads import blas, in_threads


@pytest.fixture(params=[1, 3])
def n_threads(request, monkeypatch):
    monkeypatch.setattr(blas, "one_thread", lambda: contextlib.nullcontext(request.param))
    return request.param


def test_results_come_in_the_order_of_the_parts(n_threads):
    first_may_end = threading.Event()

    def square(part):
        if part == 0 and n_threads > 1:
            assert first_may_end.wait(30)  # the second overtakes it
        first_may_end.set()
        return part * part

    assert list(in_threads(square, range(50))) == [part * part for part in range(50)]
    assert list(in_threads(square, [])) == []


def test_few_parts_are_done_before_they_are_asked_for(n_threads):
    done = []
    results = in_threads(done.append, range(100))
    next(results)
    results.close()
    assert 1 <= len(done) <= threads.AHEAD * n_threads < 100


def test_an_error_in_a_part_comes_through(n_threads):
    with pytest.raises(ZeroDivisionError):
        list(in_threads(lambda part: 1 // part, [1, 0, 1]))


def blas_threads():
    return [
        library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"
    ]


def test_the_library_has_its_threads_back_when_the_last_has_left(monkeypatch):
    monkeypatch.setattr(blas, "_controller", None)  # what was loaded since counts, too
    before = blas_threads()
    first, second = blas.one_thread(), blas.one_thread()
    n = first.__enter__()
    assert second.__enter__() == n
    assert set(blas_threads()) <= {1}
    first.__exit__(None, None, None)
    assert set(blas_threads()) <= {1}
    second.__exit__(None, None, None)
    assert blas_threads() == before
