"""Bad input to every public function: the exception, and the argument that its message names.

The table stands in `bad_inputs.py`, `bad_inputs_data.py` and `bad_inputs_keras.py`;
`cli/test_bad_input_cli.py` has the commands.
"""

import importlib
import inspect
import pkgutil

import bad_inputs_data  # noqa: F401, adds its rows
import bad_inputs_keras  # noqa: F401, adds its rows
import bad_inputs_search  # noqa: F401, adds its rows
import pytest
from bad_inputs import ROWS, WORDS, Given

import trax_triplet
from trax_triplet.inference.trained_model import TrainedModel, save_model

CSVS = {
    "good": b"question1,question2,is_duplicate\nWhy?,How come?,1\n",
    "empty": b"",
    "blank": b"\nx,y\n",
    "header": b"question1,question2,is_duplicate\n",
    "other": b"a,b,c\n1,2,3\n",
    "labels": b"question1,question2,is_duplicate\nWhy?,How come?,maybe\n",
    "latin": "question1,é\n".encode("latin-1"),
    "nul": b"question1,question2,is_duplicate\n\0,b,1\n",
    "gzip": b"\x1f\x8bnonsense",
    "double": b"question1,question2,question1,is_duplicate\na,b,c,1\n",
    "quote": b'question1,question2,is_duplicate\n"Why?,b,1\nc,d,0\n',
}

# What has no row, by the reason.
MODULES_LEFT_OUT = {
    "rows in cli/test_bad_input_cli.py": """
        cli cli.program cli.options cli.inputs cli.outputs cli.tour cli.training cli.pairs
        cli.serving cli.solution cli.corpus cli.indexes""",
    "what mends the libraries; takes what Trax and JAX hand it": """
        compat compat.repaired_trax compat.backends compat.registry compat.jax_devices _quiet""",
    "inner parts of loss and training; what a user gives was checked on the way there": """
        model.packing loss.rules model.recurrence training.lazy_adam loss.negative_sums
        loss.derivatives loss.panels
        model.walk model.spelling training.packed_trainer training.loop training.start
        training.teacher
        training.examples training.record training.threshold""",
    "tables of `checks.check`": """
        checks.step checks.parts checks.lecture checks.batches checks.questions checks.losses
        checks.model checks.running""",
    "inner parts of the Keras edition": """
        keras.layers keras.unicode_forms compat.tf_replicas""",
    "inner parts of search; what a user gives was checked on the way there": """
        search.products search.spool search.graph search.database _threads""",
    "their mistakes are tested with them": """
        _files _validation _wording compat.processes compat.launch _folders compat.saved_arrays
        inference.card inference.lines inference.onnx_file inference.service
        inference.request_batches inference.request_limits search.service search.served_index
        compat.trax_files compat.unpickler keras.dataset keras.convert keras.loss
        keras.text""",
}
LEFT_OUT = {
    "inner parts of `BatchStream`, which checks": "data.stream.Turns data.stream.Turns.next",
    "takes no input": """
        model.siamese.PaddingLast model.siamese.WordCount model.siamese.MeanOfWords
        model.siamese.LastWord data.sample.n_questions plots.explorer.Explorer.numbers
        plots.explorer.Explorer.table plots.explorer.Explorer.picture
        data.stream.BatchStream.start_hard_mining data.stream.BatchStream.take_rows
        data.stream.BatchStream.state data.stream.BatchStream.rest_of_epoch
        training.settings.kinds training.settings.identity
        training.settings.TrainOptions search.index.QuestionIndex.info
        search.index.QuestionIndex.is_outdated search.postgres.PostgresIndex.info
        search.postgres.PostgresIndex.close search.postgres.PostgresIndex.remove
        search.postgres.PostgresIndex.search search.postgres.PostgresIndex.add
        keras.old_names.provide_old_names
        checks.runner.CheckResult.raise_if_failed""",
    "a result, made by the package": """
        data.reader.Columns data.reader.Labels data.table.MissingColumns data.table.Row
        data.table.Table
        checks.runner.CaseResult checks.runner.CheckResult data.pairs.Split evaluation.Confusion
        evaluation.Threshold data.sample.SamplePair
        data.questions.Questions search.corpus.Hit search.negatives.Triplet
        search.index.QuestionIndex search.postgres.PostgresIndex""",
    "of values checked by those who call it": """
        inference.calibration.expected_share inference.calibration.fit_calibration
        inference.calibration.probabilities
        inference.calibration.similarity_of_half
        search.corpus.checked_ids search.corpus.check_width search.corpus.embedded
        search.corpus.hit_rows
        search.duplicates.are_vectors
        data.pairs.connect inference.trained_model.check_replaceable
        search.duplicates.search_to_folder search.index.QuestionIndex.of_vectors
        search.duplicates.least_similarities
        data.padding.course_length data.padding.id_rows data.padding.pad data.padding.rounded_length
        data.reader.read_rows data.reader.check_skipped
        data.bytes_literals.unwrapped data.questions.without_repeats
        data.reader.find_columns data.encodings.checked_encoding data.encodings.read_text
        data.reader.Labels.value data.reader.Labels.expected data.table.read_table
        data.vocabulary.Vocabulary.from_bytes
        data.tokenizer.is_mark data.tokenizer.is_character data.tokenizer.is_blank
        data.tokenizer.tokenizer_of_version
        data.vocabulary.unknown_ids loss.similarity.upcast loss.similarity.upcast_both
        loss.similarity.dtype_name loss.similarity.unit_vectors loss.steps.anchor_hinges
        loss.steps.negative_mask loss.steps.integer_column loss.steps.concrete
        loss.similarity.finite_or_nan loss.similarity.nan_like loss.triplet.without_padding
        loss.triplet.of_all_devices
        loss.triplet.paired_vectors loss.triplet.check_form
        checks.runner.judge training.run.collapse_warning plots.scores.two_histograms""",
    "takes what its own class gave": """
        data.stream.BatchStream.restore model.siamese.WordDropout.forward""",
}


def names_in(left_out):
    return {name for names in left_out.values() for name in names.split()}


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """What the rows of the table name by `Given`."""
    from trax_triplet.model.siamese import Siamese
    from trax_triplet.model.weights import init_model

    home = tmp_path_factory.mktemp("bad")
    layer = init_model(Siamese(len(WORDS), 4, "eval", pooling="last"), seed=1)
    trained = TrainedModel(layer, WORDS, {"pooling": "last", "threshold": 0.5})
    save_model(home / "model", trained)
    (home / "folder").mkdir()
    (home / "text").write_text("no model\n")
    (home / "picture").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    for name, content in CSVS.items():
        (home / f"{name}.csv").write_bytes(content)
    made = {
        name: home / name
        for name in ("model", "folder", "text", "picture", *(f"{name}.csv" for name in CSVS))
    }
    return {
        **made,
        "new": home / "new.csv",
        "trained": trained,
        "layer": layer,
        "uninitialised": Siamese(10, 4, pooling="last"),
    }


@pytest.mark.parametrize("name, error, phrase, arguments, options", ROWS)
def test_bad_input_is_answered_in_words(given, name, error, phrase, arguments, options):
    arguments = [given[a] if isinstance(a, Given) else a for a in arguments]
    function = encoder_of(given) if name == "encoder" else named(name)
    pattern = rf"\b{phrase}\b" if phrase.isidentifier() else phrase
    with pytest.raises(error, match=f"(?s){pattern}"):
        answer = function(*arguments, **options)
        if inspect.isgenerator(answer):  # which looks at its questions when a batch is taken
            next(answer)


def named(name):
    """The function, class or method of this name, such as data.vocabulary.Vocabulary.build."""
    return pkgutil.resolve_name(f"trax_triplet.{name}")


def encoder_of(given):
    from trax_triplet.model.encoder import Encoder

    return Encoder(given["layer"])


def test_no_public_function_is_missing_from_the_table():
    tested = {parameter.values[0] for parameter in ROWS} | {"model.encoder.Encoder"}
    found = {name for module in modules() for name in public_functions(module)}
    modules_left_out, left_out = names_in(MODULES_LEFT_OUT), names_in(LEFT_OUT)
    missing = {
        name
        for name in found - tested
        if not name.startswith(tuple(f"{module}." for module in modules_left_out))
    }
    assert missing - left_out == set(), "put them into the table, or into LEFT_OUT with the reason"
    assert left_out - missing == set(), "in the table already, or gone"
    values = [getattr(trax_triplet, name) for name in trax_triplet.__all__ if name != "sample"]
    homes = {
        f"{value.__module__.removeprefix('trax_triplet.')}.{value.__name__}" for value in values
    }
    assert homes - tested == set(), "every name of the package itself has its rows"


def public_functions(module):
    """The functions, classes and methods that are written in a module, by their full names."""
    home = module.__name__.removeprefix("trax_triplet.")
    for name, value in vars(module).items():
        own = getattr(value, "__module__", None) == module.__name__
        if not callable(value) or name.startswith("_") or not own:
            continue
        yield f"{home}.{name}"
        for method, function in vars(value).items() if inspect.isclass(value) else ():
            is_method = inspect.isfunction(function) or isinstance(
                function, (classmethod, staticmethod)
            )
            if is_method and not method.startswith("_"):
                yield f"{home}.{name}.{method}"


def modules():
    """All modules of the package but the one that runs the command line."""
    for module in pkgutil.walk_packages(trax_triplet.__path__, "trax_triplet."):
        if not module.name.endswith("__main__"):
            yield importlib.import_module(module.name)
