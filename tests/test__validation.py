"""The checks of arguments: what passes and as what, what is refused and in which words."""

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from trax_triplet import _validation as check

NAN, INF = float("nan"), float("inf")


def refused(error, function, *arguments, **options):
    with pytest.raises(error) as caught:
        function(*arguments, **options)
    return str(caught.value)


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3), np.array(3)])
def test_integers_pass_as_int(value):
    found = check.integer("n", value, 3, 3)
    assert found == 3 and type(found) is int


@pytest.mark.parametrize("value", [True, np.True_, 3.0, np.float32(3), "3", None, [3], np.ones(1)])
def test_what_is_not_an_integer_is_a_TypeError(value):
    message = refused(TypeError, check.integer, "n", value, 1)
    assert message.startswith("n must be an integer of at least 1, but it is ")


def test_bounds_of_integers_are_allowed_themselves():
    assert [check.integer("n", value, 2, 4) for value in (2, 4)] == [2, 4]
    assert check.integer("n", -5, None) == -5 and check.integer("n", 0) == 0
    for value in (1, 5):
        message = refused(ValueError, check.integer, "n", value, 2, 4)
        assert message == f"n must be an integer from 2 to 4, but it is {value}"
    assert "of at least 0" in refused(ValueError, check.integer, "n", -1)
    assert "of at most 4" in refused(ValueError, check.integer, "n", 5, None, 4)


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.array(0.5), ml_dtypes.bfloat16(0.5)])
def test_numbers_pass_as_float(value):
    found = check.number("rate", value)
    assert found == 0.5 and type(found) is float
    assert check.number("rate", 2) == check.number("rate", np.int64(2)) == 2.0


@pytest.mark.parametrize("value", [True, np.True_, "0.5", b"1", None, [0.5], 1j, np.array([True])])
def test_what_is_not_a_number_is_a_TypeError(value):
    message = refused(TypeError, check.number, "rate", value, 0, 1)
    assert message.startswith("rate must be a finite number from 0 to 1, but it is ")


def test_bounds_of_numbers():
    assert check.number("rate", 0, 0, 1) == 0 and check.number("rate", 1, 0, 1) == 1
    for value in (-0.1, 1.1, NAN, INF, -INF):
        assert "from 0 to 1" in refused(ValueError, check.number, "rate", value, 0, 1)
    for value in (0, 1, NAN):
        message = refused(ValueError, check.number, "rate", value, above=0, below=1)
        assert message.startswith("rate must be a finite number above 0 and below 1, but it is")
    assert check.number("rate", 0.5, above=0, below=1) == 0.5
    for value in (NAN, INF):
        assert refused(ValueError, check.number, "rate", value).startswith("rate must be a finite")


def test_booleans():
    assert check.boolean("normalize", True) is check.boolean("normalize", np.True_) is True
    for value in (1, 0, "yes", None):
        assert "normalize must be True or False" in refused(
            TypeError, check.boolean, "normalize", value
        )


def test_one_of_several_strings():
    assert check.one_of("pet", "cat", ("cat", "dog")) == "cat"
    message = refused(ValueError, check.one_of, "pet", "cow", ("cat", "dog"))
    assert message == "pet must be one of 'cat', 'dog', but it is 'cow'"
    for value in (None, ["cat"], 3):
        assert refused(TypeError, check.one_of, "pet", value, ("cat", "dog")).startswith("pet must")


def test_instances_functions_and_paths():
    assert check.instance("words", ["how"], (list, tuple), "a list") == ["how"]
    message = refused(TypeError, check.instance, "words", 3, list, "a list", "put it into one")
    assert message == "words must be a list, but it is an int; put it into one"
    assert check.function("f", len) is len
    assert refused(TypeError, check.function, "f", 3) == "f must be a function, but it is 3"
    assert check.path("folder", "a/b") == check.path("folder", Path("a/b")) == Path("a/b")
    for value in (None, 3, b"a"):
        assert refused(TypeError, check.path, "folder", value).startswith("folder must be a path")


def test_strings():
    assert check.strings("texts", ("a", np.str_("b"))) == ["a", "b"]
    assert check.strings("texts", iter(["a"])) == ["a"] and check.strings("texts", []) == []
    for value in ("a", b"a", None, 3, {"a": 1}):
        message = refused(TypeError, check.strings, "texts", value, "put it into a list")
        assert message.startswith("texts must be a list of strings, but it is ")
        assert message.endswith("; put it into a list")
    message = refused(TypeError, check.strings, "texts", ["a", None])
    assert message == "texts[1] must be a string, but it is None"
    assert check.strings("texts", {"b": 1, "a": 2}.keys()) == ["b", "a"]  # in their order
    for value in ({"a"}, np.array([["a"]])):
        refused(TypeError, check.strings, "texts", value)
    table = refused(TypeError, check.strings, "texts", np.array([["a", "b"]]))
    assert "take one column" in table


def test_thresholds_may_be_infinite_and_margins_not_negative():
    for value in (0.7, -1, np.float32(0.7), np.array(0.7), INF, -INF):
        assert check.threshold(value) == float(value)
    for value in ("high", None, True, [0.7]):
        assert "threshold must be a number" in refused(TypeError, check.threshold, value)
    assert "threshold must be" in refused(ValueError, check.threshold, NAN)
    assert check.threshold_or_own(0, 0.5) == 0 and check.threshold_or_own(None, 0.5) == 0.5
    assert "threshold must be given" in refused(ValueError, check.threshold_or_own, None, None)
    assert "threshold must be" in refused(TypeError, check.threshold_or_own, "high", 0.5)
    assert check.margin(0) == 0 and check.margin(np.float32(0.25)) == 0.25
    for value, error in (
        (-0.1, ValueError),
        (NAN, ValueError),
        (INF, ValueError),
        ("1", TypeError),
    ):
        message = refused(error, check.margin, value)
        assert message.startswith("margin must be a finite number of at least 0, but it is ")


def test_group_ids_are_as_many_integers_as_pairs():
    assert check.group_ids("groups", [3, 3, 4], 3).tolist() == [3, 3, 4]
    for value in ([0.5] * 3, ["a"] * 3, [True] * 3):
        assert "groups must be" in refused(TypeError, check.group_ids, "groups", value, 3)
    for value in ([1, 2], [[1, 2, 3]]):
        assert "of shape (3,)" in refused(ValueError, check.group_ids, "groups", value, 3)


def test_values_are_shown_in_short():
    assert check.shown(np.zeros((2, 3), "float32")) == "float32 of shape (2, 3)"
    assert check.shown("x" * 99) == "'" + "x" * 56 + "..." and check.shown([1, 2]) == "[1, 2]"
    assert str(check.wrong_value("n", "even", 3, "add 1")) == "n must be even, but it is 3; add 1"
    assert isinstance(check.wrong_type("n", "even", 3), TypeError)


MASKED = np.ma.array([1, 0], mask=[False, True])


def test_what_is_missing_is_refused_by_its_place():
    with pytest.raises(ValueError, match=r"^y\[1\] must be a value, but it is masked"):
        check.complete("y", MASKED)
    with pytest.raises(ValueError, match=r"^v\[1\]\[1\] must be"):
        check.complete("v", [[1, 0], MASKED])
    with pytest.raises(ValueError, match=r"^v\[0, 1\] must be"):
        check.complete("v", MASKED[None])
    found = check.complete("y", np.ma.array([1, 0]))
    assert type(found) is np.ndarray and found.tolist() == [1, 0]


def test_columns_of_pandas_own_dtypes_are_arrays_unless_something_is_missing():
    pandas = pytest.importorskip("pandas")
    for dtype, plain in (("Int64", "int64"), ("UInt8", "uint8"), ("boolean", "bool")):
        for made in (pandas.array, pandas.Series):
            assert check.complete("y", made([1, 0], dtype=dtype)).dtype == plain
            with pytest.raises(ValueError, match=r"^y\[1\] must be a value, but it is missing"):
                check.complete("y", made([1, None], dtype=dtype))
    assert check.group_ids("groups", pandas.array([3, 4], dtype="Int64"), 2).tolist() == [3, 4]


def test_integers_that_no_dtype_holds_together_stay_what_they_are():
    for value in ([-1, 2**63], [np.int8(-1), 2**63], [2**80, 0]):
        assert check.integers("n", value).tolist() == value
    assert check.integers("n", np.array([np.int32(7)], object)).tolist() == [7]
    assert not check.integers("n", []).size
    for value in ([-1, 2.0**63], [1.0], [True, 2**80], np.array([1.0]), [None]):
        assert refused(TypeError, check.integers, "n", value).startswith("n must be integers")
    assert "n must be" in refused(ValueError, check.integers, "n", [[1], [2, 3]])


def test_labels_are_0_and_1_in_any_type_of_real_numbers():
    for value in ([1, 0], [True, False], np.float32([1, 0]), np.array([1, np.False_], object)):
        found = check.zeros_and_ones("y", value)
        assert found.tolist() == [1, 0] and found.dtype == np.int8
    for value in ([2, 0], [NAN, 0], [1 + 0j, 0], ["1", "0"], [1, None], [[1], [0, 0]], MASKED):
        assert refused(ValueError, check.zeros_and_ones, "y", value).startswith("y")
