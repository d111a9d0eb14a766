"""The commands `serve` and `export`: a model that answers elsewhere."""

from __future__ import annotations

import argparse
import warnings
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from trax_triplet._wording import in_options
from trax_triplet.cli.inputs import load
from trax_triplet.cli.outputs import log, refuse_part

if TYPE_CHECKING:
    from trax_triplet.inference.trained_model import TrainedModel

__all__ = ["COMMANDS"]


def _add_serve_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--model",
        metavar="FOLDER",
        help="model folder, or the output folder of a training (default: the index's own model)",
    )
    command.add_argument(
        "--index",
        metavar="IDX",
        help="folder of an index to search and to add to; it must be one of this model",
    )
    command.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address to listen on (default: %(default)s, for programs of this machine only; there "
        "is no login, so put a proxy in front where others may ask)",
    )
    command.add_argument(
        "--port",
        type=int,
        default=8000,
        metavar="INT",
        help="port to listen on; 0 takes a free one (default: %(default)s)",
    )


def serve(options: Namespace) -> dict[str, Any]:
    """Answers over HTTP until it is stopped."""
    from trax_triplet import _validation as check

    check.integer("--port", options.port, 0, 65_535)
    if options.model is None and options.index is None:
        raise ValueError("serve takes --model, or --index, or both")
    try:
        from trax_triplet.inference.service import create_app, run
        from trax_triplet.search.service import create_search_app
    except ModuleNotFoundError as error:
        raise ValueError(
            f"serve needs {error.name}, which is not installed: pip install 'trax-triplet[serve]'"
        ) from None
    try:
        trained = _own_model(options.index) if options.model is None else load(options.model)
        if options.index is None:
            app = create_app(trained)
        else:
            app = create_search_app(trained, options.index)
        run(app, options.host, options.port, log)
    except ImportError as error:  # FAISS: the user can install it
        raise ValueError(error) from None
    return {}


def _own_model(folder: str) -> TrainedModel:
    from trax_triplet.search.index import QuestionIndex

    model = QuestionIndex.load(folder).model
    if model is None:
        raise ValueError(f"the index {folder} was made of vectors; --model is needed")
    return model


def _add_export_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "model", metavar="FOLDER", help="model folder, or the output folder of a training"
    )
    command.add_argument("output", metavar="OUT", help="file (.keras or .onnx) or folder to write")
    command.add_argument(
        "--format",
        choices=("keras", "savedmodel", "onnx"),
        help="keras: a file to load and train on with Keras; savedmodel: a folder for TensorFlow "
        "Serving, from questions to vectors and similarities; onnx: a file for ONNX runtimes, from "
        "word ids to vectors (default: keras or onnx if OUT ends with .keras or .onnx, else "
        "savedmodel)",
    )


def export(options: Namespace) -> dict[str, Any]:
    """Writes a model as an ONNX file, a Keras file or a TensorFlow SavedModel."""
    refuse_part("OUT", options.output, options.model)
    format = options.format
    if format is None and options.output.endswith(".onnx"):
        format = "onnx"
    trained = load(options.model)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        format, what = _export(trained, options.output, format)
    for warning in told:
        log(f"note: {in_options(str(warning.message), options.named)}")
    if not options.json:
        threshold = trained.threshold
        shown = "none: choose one" if threshold is None else f"{threshold:.4f}"
        print(f"wrote {options.output} ({what}); threshold {shown}")
    return {"output": options.output, "format": format, "threshold": trained.threshold}


def _export(trained: TrainedModel, path: str, format: str | None) -> tuple[str, str]:
    """The format that was written, and what it is in words."""
    if format == "onnx":
        from trax_triplet.inference.onnx_file import export_onnx

        try:
            export_onnx(trained, path)
        except ModuleNotFoundError as error:
            raise ValueError(
                f"the format onnx needs {error.name}, which is not installed: pip install "
                "'trax-triplet[onnx]'"
            ) from None
        return format, "an ONNX model, word ids to vectors"
    try:
        from trax_triplet.keras import convert
    except ImportError as error:  # another backend, or an old Keras: the user can change it
        raise ValueError(error) from None
    format = convert.export(trained, path, format=format)
    return format, convert.FORMATS[format]


COMMANDS = {
    "serve": (_add_serve_options, serve, "answer over HTTP, with a page to try it on"),
    "export": (_add_export_options, export, "write a model for Keras, TensorFlow or ONNX"),
}
