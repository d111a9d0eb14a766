"""What mkdocs does here beyond its plugins: formulas as MathML, and pages from outside `docs/`."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import griffe
from latex2mathml.converter import convert
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
ELSEWHERE = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "benchmarks/README.md",
    "benchmarks/loss.png",
    "benchmarks/growth.png",
    "benchmarks/corpus.png",
)
# From a prompt to the next empty line, all of it indented alike.
EXAMPLE = re.compile(
    r"^(?P<indent> *)>>> .*\n?(?:(?P=indent)\S.*\n?|(?P=indent) +\S.*\n?)*", re.MULTILINE
)
FORMULA = re.compile(
    r'<(span|div) class="arithmatex">\s*\\[(\[](.*?)\\[)\]]\s*</\1>',
    re.DOTALL,
)


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages and pictures that stand beside the code."""
    for path in ELSEWHERE:
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return files


def on_page_content(content: str, **_: Any) -> str:
    """Sets formulas as MathML, which browsers know without a script."""
    return FORMULA.sub(_mathml, content)


def _mathml(formula: re.Match[str]) -> str:
    kind, latex = formula.groups()
    return convert(html.unescape(latex), display="block" if kind == "div" else "inline")


class FencedExamples(griffe.Extension):
    """Fences the examples of docstrings, which Markdown would take for nested quotations."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = EXAMPLE.sub(_fenced, obj.docstring.value)


def _fenced(example: re.Match[str]) -> str:
    indent, code = example["indent"], example[0].rstrip()
    return f"{indent}```pycon\n{code}\n{indent}```\n"
