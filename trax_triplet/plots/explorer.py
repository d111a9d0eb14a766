"""A similarity matrix to play with: change an entry or the margin, and see what each anchor pays.

With ipywidgets installed (`pip install 'trax-triplet[notebooks]'`) the entries are fields and the
margin is a slider. Without it, and where a notebook is shown but not run, the same numbers are a
picture.
"""

from __future__ import annotations

import base64
import html
import io
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from trax_triplet import _validation as check
from trax_triplet.compat import fastmath
from trax_triplet.loss.rules import CLOSEST
from trax_triplet.loss.steps import (
    closest_negative,
    hinges,
    mean_negative,
    positives,
)
from trax_triplet.plots.loss import similarity_heatmap

__all__ = ["Explorer", "explore"]

_MOST_PAIRS = 8  # a field for each entry: more of them fit no screen
_COLUMNS = ("positive", "mean neg", "closest neg", "L1", "L2", "L1 + L2")


def explore(scores: ArrayLike, margin: float = 0.25, *, closest: str = "semi-hard") -> Explorer:
    """Returns an `Explorer` of a similarity matrix; at the end of a cell the notebook shows it.

    Args:
        scores: similarities (batch, batch), numbers, batch at most 8; rows are anchors. A copy is
            changed.
        margin: where the slider stands at first, at least 0.
        closest: which negatives qualify as the closest, as in `loss.closest_negative`.

    Returns:
        An `Explorer`: fields, slider and numbers, or their picture where ipywidgets is not
        installed.

    Raises:
        TypeError: scores or a margin that are not numbers.
        ValueError: not a square matrix, too many pairs, NaN or infinity, a margin that is negative
            or not finite, an unknown `closest`.

    Example:
        >>> explorer = explore([[0.9, 0.8], [0.3, 0.4]])
        >>> explorer.numbers()["L1"].round(2).tolist()
        [0.15, 0.15]
        >>> explorer.fields["margin"].value = 0.5  # as the slider does; fields[0, 1] is an entry
        >>> explorer.numbers()["L1"].round(2).tolist()
        [0.4, 0.4]
    """
    return Explorer(scores, margin, closest)


class Explorer:
    """A similarity matrix, a margin and a rule, with the loss that they make; see `explore`.

    Attributes:
        scores: float64 (batch, batch).
        margin: float.
        closest: 'semi-hard', 'hardest' or 'shifted'.
        fields: the widgets by name: 'margin', 'closest' and (row, column); empty without
            ipywidgets.
        box: the widget that holds all of them; None without ipywidgets.
    """

    def __init__(self, scores: ArrayLike, margin: float = 0.25, closest: str = "semi-hard") -> None:
        margin = check.margin(margin)
        similarity_heatmap(scores, closest=closest, margin=margin)  # refuses what cannot be shown
        self.scores = np.array(scores, dtype=np.float64)
        self.margin, self.closest = margin, closest
        if len(self.scores) > _MOST_PAIRS:
            advice = f"pass a part, such as scores[:{_MOST_PAIRS}, :{_MOST_PAIRS}]"
            expected = f"a matrix of at most {_MOST_PAIRS} pairs"
            raise check.wrong_value("scores", expected, self.scores, advice)
        self.fields: dict[Any, Any] = {}
        self.box: Any = None
        try:
            import ipywidgets
        except ImportError:
            return
        self._build(ipywidgets)

    def numbers(self) -> dict[str, Any]:
        """What each anchor pays.

        Returns:
            A dict of float64 arrays (batch,): 'positive', 'mean neg', 'closest neg' (-2 where no
            negative qualifies), the hinges 'L1' and 'L2', 'L1 + L2'; and 'cost', the sum of the
            last, a float.

        Example:
            >>> float(explore([[0.5, 0.5], [0.0, 1.0]]).numbers()["cost"])
            0.5
        """
        # In float64, and without compiling between two steps of the slider.
        with fastmath.use_backend("numpy"):
            l1, l2 = hinges(self.scores, margin=self.margin, closest=self.closest)
            columns = (
                positives(self.scores),
                mean_negative(self.scores),
                closest_negative(self.scores, closest=self.closest),
                l1,
                l2,
                l1 + l2,
            )
        return {
            **dict(zip(_COLUMNS, map(np.asarray, columns), strict=True)),
            "cost": float(np.sum(l1 + l2)),
        }

    def table(self) -> str:
        """The numbers as lines of text.

        Example:
            >>> print(explore([[0.9, 0.8], [0.3, 0.4]]).table())
            anchor  positive  mean neg  closest neg      L1      L2  L1 + L2
                 0    0.9000    0.8000       0.8000  0.1500  0.1500   0.3000
                 1    0.4000    0.3000       0.3000  0.1500  0.1500   0.3000
            cost: the sum is 0.6000, the mean 0.3000
        """
        numbers = self.numbers()
        widths = (8, 8, 11, 6, 6, 7)
        lines = [
            "  ".join(
                [
                    "anchor",
                    *(name.rjust(width) for name, width in zip(_COLUMNS, widths, strict=True)),
                ]
            )
        ]
        for i in range(len(self.scores)):
            entries = (
                f"{numbers[name][i]:{width}.4f}"
                for name, width in zip(_COLUMNS, widths, strict=True)
            )
            lines.append("  ".join([f"{i:6}", *entries]))
        cost = numbers["cost"]
        lines.append(f"cost: the sum is {cost:.4f}, the mean {cost / len(self.scores):.4f}")
        return "\n".join(lines)

    def _html_table(self) -> str:
        """The numbers as a table, whose rows never wrap, however narrow the window is."""
        numbers = self.numbers()
        rows = [
            [str(i), *(f"{numbers[name][i]:.4f}" for name in _COLUMNS)]
            for i in range(len(self.scores))
        ]
        cell = "padding: 0 10px 0 0; text-align: right; white-space: nowrap"
        body = "".join(
            f"<tr>{''.join(f'<{tag} style={cell!r}>{entry}</{tag}>' for entry in row)}</tr>"
            for tag, row in [("th", ("anchor", *_COLUMNS)), *(("td", row) for row in rows)]
        )
        cost = html.escape(self.table().splitlines()[-1])
        return f"<div style='white-space: nowrap'><table>{body}</table>{cost}</div>"

    def picture(self) -> Figure:
        """The marked matrix and the numbers beside it, as a matplotlib Figure.

        Example:
            >>> explore([[0.9, 0.8], [0.3, 0.4]]).picture().axes[0].get_title()
            'Similarity matrix'
        """
        figure = Figure(figsize=(10.5, 5.2), layout="constrained")
        parts: Any = figure.subfigures(1, 2, width_ratios=(5, 6))
        matrix, numbers = parts
        similarity_heatmap(
            self.scores, closest=self.closest, margin=self.margin, ax=matrix.subplots()
        )
        numbers.text(0.02, 0.6, self.table(), family="monospace", va="center", fontsize=9.5)
        return figure

    def _build(self, widgets: Any) -> None:
        n = len(self.scores)
        children = [widgets.Label(""), *(widgets.Label(f"v2[{j}]") for j in range(n))]
        for i in range(n):
            children.append(widgets.Label(f"v1[{i}]"))
            for j in range(n):
                field = widgets.FloatText(
                    self.scores[i, j], step=0.1, layout=widgets.Layout(width="78px")
                )
                field.layout.border = "2px solid black" if i == j else "2px solid transparent"
                self.fields[i, j] = field
                children.append(field)
        grid = widgets.GridBox(
            children, layout=widgets.Layout(grid_template_columns=f"48px repeat({n}, 84px)")
        )
        self.fields["margin"] = widgets.FloatSlider(
            self.margin, min=0, max=max(1, 2 * self.margin), step=0.05, description="margin"
        )
        self.fields["closest"] = widgets.Dropdown(
            options=CLOSEST, value=self.closest, description="closest"
        )
        self._text, self._image = (
            widgets.HTML(),
            widgets.Image(format="png", layout=widgets.Layout(width="400px")),
        )
        left = widgets.VBox([grid, self.fields["margin"], self.fields["closest"], self._text])
        left.layout.flex = "0 0 auto"  # else the picture squeezes the numbers
        # In a narrow window the picture goes below.
        self.box = widgets.HBox([left, self._image], layout=widgets.Layout(flex_flow="row wrap"))
        for field in self.fields.values():
            field.observe(self._read, names="value")
        self._read()

    def _read(self, _: Any = None) -> None:
        """From the fields to the numbers and the marks; called at every change of a field."""
        for i, j in np.ndindex(self.scores.shape):
            self.scores[i, j] = self.fields[i, j].value
        self.margin, self.closest = self.fields["margin"].value, self.fields["closest"].value
        self._text.value = self._html_table()
        self._image.value = _png(
            similarity_heatmap(self.scores, closest=self.closest, margin=self.margin).figure
        )

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        """The widget; and for whoever does not run it, the picture and the text."""
        bundle = {} if self.box is None else self.box._repr_mimebundle_()
        picture = base64.b64encode(_png(self.picture())).decode("ascii")
        return {**bundle, "image/png": picture, "text/plain": self.table()}


def _png(figure: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=72)
    return file.getvalue()
