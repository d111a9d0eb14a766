"""explorer: what the widgets change, and what is shown where there are none."""

import base64
import sys

import numpy as np
import pytest
from matplotlib.text import Text

from trax_triplet.plots.explorer import explore

SIM = [
    [0.9, -0.8, 0.3, -0.5],
    [-0.4, 0.5, 0.1, -0.1],
    [0.3, 0.1, -0.4, -0.8],
    [-0.5, -0.2, -0.7, 0.5],
]


def shown(explorer):
    """The text in the box, and the bytes of its picture."""
    left, image = explorer.box.children
    return left.children[-1].value, image.value


def test_the_lectures_matrix_gives_the_lectures_numbers():
    numbers = explore(SIM).numbers()
    assert numbers["positive"].tolist() == [0.9, 0.5, -0.4, 0.5]
    assert numbers["mean neg"] == pytest.approx([-1 / 3, -0.4 / 3, -0.4 / 3, -1.4 / 3])
    assert numbers["closest neg"].tolist() == [0.3, 0.1, -0.8, -0.2]
    assert numbers["L1"] == pytest.approx([0, 0, -0.4 / 3 + 0.4 + 0.25, 0])
    assert numbers["L2"] == pytest.approx([0, 0, 0, 0])
    assert numbers["L1 + L2"] == pytest.approx([0, 0, 0.516667, 0], abs=1e-6)
    assert numbers["cost"] == pytest.approx(0.517, abs=5e-4)


def test_moving_the_margin_changes_the_hinges_the_text_and_the_picture():
    explorer = explore(SIM)
    text, picture = shown(explorer)
    explorer.fields["margin"].value = 0.5
    assert explorer.margin == 0.5
    assert explorer.numbers()["L1"] == pytest.approx([0, 0, -0.4 / 3 + 0.4 + 0.5, 0])
    assert explorer.numbers()["L2"] == pytest.approx([0, 0.1 - 0.5 + 0.5, -0.8 + 0.4 + 0.5, 0])
    assert (
        "0.5167" in text
        and "0.5167" not in shown(explorer)[0]
        and f"{0.2 / 3 + 0.7 + 0.1 + 0.1:.4f}" in shown(explorer)[0]
    )
    assert shown(explorer)[1] != picture


def test_changing_an_entry_changes_its_anchor_alone():
    explorer = explore(SIM)
    explorer.fields[0, 1].value = 0.85
    numbers = explorer.numbers()
    assert numbers["closest neg"].tolist() == [0.85, 0.1, -0.8, -0.2]
    assert numbers["mean neg"] == pytest.approx(
        [(0.85 + 0.3 - 0.5) / 3, -0.4 / 3, -0.4 / 3, -1.4 / 3]
    )
    assert numbers["L2"] == pytest.approx([0.85 - 0.9 + 0.25, 0, 0, 0])
    assert "0.8500" in shown(explorer)[0]


def test_changing_the_rule_changes_the_closest_negatives():
    explorer = explore(SIM)
    explorer.fields["closest"].value = "hardest"
    assert explorer.numbers()["closest neg"].tolist() == [0.3, 0.1, 0.3, -0.2]
    assert explorer.numbers()["cost"] == pytest.approx(1.467, abs=5e-4)


def test_the_callers_matrix_is_not_changed():
    scores = np.array(SIM)
    explore(scores).fields[0, 0].value = 0.0
    assert scores.tolist() == SIM


def test_the_slider_reaches_twice_a_large_margin():
    assert explore(SIM, margin=3).fields["margin"].max == 6
    assert explore(SIM).fields["margin"].max == 1


def test_a_notebook_gets_the_widget_and_a_picture_for_whoever_does_not_run_it():
    explorer = explore(SIM)
    bundle = explorer._repr_mimebundle_()
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == explorer.box.model_id
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    assert bundle["text/plain"] == explorer.table()


def test_without_ipywidgets_the_numbers_are_a_picture(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)  # importing it is an ImportError now
    explorer = explore(SIM, margin=0.5)
    assert explorer.box is None and explorer.fields == {}
    assert set(explorer._repr_mimebundle_()) == {"image/png", "text/plain"}
    assert any(explorer.table() in text.get_text() for text in explorer.picture().findobj(Text))
    assert explorer.numbers()["cost"] == pytest.approx(0.2 / 3 + 0.7 + 0.1 + 0.1)


def test_a_single_pair_costs_nothing():
    assert explore([[0.5]]).numbers()["cost"] == 0


@pytest.mark.parametrize(
    "scores, settings, error, phrase",
    [
        ([[0.5, 0.1]], {}, ValueError, "scores must be a square"),
        ([["a"]], {}, TypeError, "scores must be"),
        (np.eye(9), {}, ValueError, "scores must be .*at most 8 pairs"),
        (SIM, {"margin": -1}, ValueError, "margin must be"),
        (SIM, {"margin": "wide"}, TypeError, "margin must be"),
        (SIM, {"closest": "nearest"}, ValueError, "closest must be"),
    ],
)
def test_what_cannot_be_explored_is_refused_in_words(scores, settings, error, phrase):
    with pytest.raises(error, match=phrase):
        explore(scores, **settings)


def test_the_rows_of_the_table_never_wrap():
    explorer = explore(SIM)
    shown = explorer._text.value
    assert shown.count("<tr>") == 1 + len(explorer.scores)
    cells = shown.count("<td ") + shown.count("<th ")
    assert shown.count("text-align: right; white-space: nowrap") == cells == 7 * 5
