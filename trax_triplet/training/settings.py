"""The settings of a training: the name, type, default, limits and help of each stand here only.

`train`, the options of the command line, the saved model and the checkpoint all read them here.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypedDict, get_args, get_type_hints

__all__ = ["TrainSettings"]


_ALWAYS = object()


def _setting(
    default: Any, help: str, *, none: str | None = None, before: Any = _ALWAYS, **bounds: float
) -> Any:
    """A field.

    Args:
        default, help: its default, and what it is.
        none: the command line's word for None.
        before: the value that says what was done before this setting existed; a run that began then
            goes on with it.
        bounds: for `_validation`.
    """
    metadata = {"help": help, "none": none, "before": before, "bounds": bounds}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class TrainSettings:
    """All settings of a training, checked.

    Raises:
        TypeError: a setting of a wrong type, or a name that is not a setting.
        ValueError: a setting outside its range.

    Example:
        >>> TrainSettings(steps=200).batch_size
        256
        >>> TrainSettings(word_dropout=1)
        Traceback (most recent call last):
        ...
        ValueError: word_dropout must be a finite number of at least 0 and below 1, but it is 1.0
    """

    steps: int = _setting(1600, "number of training steps, each on one batch", minimum=1)
    batch_size: int = _setting(
        256, "pairs in a batch; the other pairs of the batch provide the negatives", minimum=2
    )
    d_model: int = _setting(128, "width of the word embedding, LSTM and vectors", minimum=1)
    pooling: Literal["last", "mean", "course"] = _setting(
        "last",
        "what becomes the vector: the LSTM's state after the last word, the mean of its states "
        "over the words, or the course's mean, which includes the padding",
    )
    margin: float = _setting(
        0.4, "how much more similar duplicates must be than negatives (alpha)", minimum=0
    )
    closest: Literal["semi-hard", "hardest", "shifted"] = _setting(
        "semi-hard",
        "which negative counts as the closest one: the most similar one below the positive, "
        "the most similar of all, or the rule of the course's Keras edition",
    )
    anchor: Literal["first", "second", "both"] = _setting(
        "both", "which questions of the pairs serve as anchors"
    )
    implied: bool = _setting(
        True, "also train on duplicates that follow from the labelled ones (a = b, b = c, so a = c)"
    )
    labelled_negatives: bool = _setting(
        True,
        "also train on pairs labelled 0: each is to be less similar than the duplicates of its "
        "batch",
        before=False,
    )
    labelled_weight: float = _setting(
        2.0,
        "weight of the pairs labelled 0 in the loss, beside the triplet loss at 1",
        before=2.0,
        minimum=0,
    )
    teacher_weight: float = _setting(
        0.0,
        "weight of the teacher's similarities in the loss, where there is a teacher",
        before=0.0,
        minimum=0,
    )
    learning_rate: float = _setting(
        0.005, "peak learning rate of Adam, reached after the warm-up", above=0, below=10
    )
    warmup_steps: int = _setting(
        100, "steps in which the learning rate rises linearly to its peak", minimum=0
    )
    word_dropout: float = _setting(
        0.4, "share of the vocabulary that each batch treats as unknown words", minimum=0, below=1
    )
    embedding_stddev: float | None = _setting(
        0.1, "standard deviation of the embedding's initial values", none="trax", minimum=0
    )
    hard_from: int | None = _setting(
        250,
        "step from which batches are made of groups of similar pairs, for hard negatives",
        none="never",
        minimum=0,
    )
    neighbours: int = _setting(
        16, "size of the groups of similar pairs in hard batches, at most a batch", minimum=1
    )
    max_words: int = _setting(
        32, "words of a question that training reads; the rest is cut off", minimum=1
    )
    tokenizer: Literal["words", "words/1", "course"] = _setting(
        "words",
        "how text becomes words: lower-cased words, or the course's tokens (needs NLTK's punkt)",
    )
    min_count: int = _setting(
        1, "words that occur fewer times than this are treated as unknown", minimum=1
    )
    buckets: int = _setting(
        256, "number of ids that tell unknown words apart; with 0 all share one id", minimum=0
    )
    spelling: int = _setting(
        8192,
        "rows of the table that gives words never seen an embedding by their spelling; with 0 they "
        "have only that of their bucket",
        before=0,
        minimum=0,
    )
    duplicate_share: float | None = _setting(
        None,
        "share of duplicates among the pairs that the model will be asked about, between 0 and 1; "
        "threshold and probabilities are made for it. Unknown: a share between that of the "
        "validation pairs and one half",
        none="unknown",
        before=None,
        above=0,
        below=1,
    )
    evaluate_every: int = _setting(100, "steps between evaluations", minimum=1)
    seed: int = _setting(
        0,
        "seed of the initial weights, the batches, and all that is drawn at random",
        minimum=0,
        maximum=2**63 - 1,
    )

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = _checked(setting.name, getattr(self, setting.name), setting.metadata)
            object.__setattr__(self, setting.name, value)


def identity(settings: TrainSettings) -> dict[str, Any]:
    """The settings that tell two runs apart: all, but for new ones that ask for what was done
    before they existed.

    Example:
        >>> "labelled_negatives" in identity(TrainSettings(labelled_negatives=False))
        False
    """
    return {
        setting.name: value
        for setting in fields(settings)
        if (value := getattr(settings, setting.name)) != setting.metadata["before"]
    }


@functools.cache
def kinds() -> dict[str, tuple[Any, tuple]]:
    """The type of each setting, without its None, and its choices (none: empty).

    Example:
        >>> kinds()["hard_from"], kinds()["tokenizer"]
        ((<class 'int'>, ()), (<class 'str'>, ('words', 'words/1', 'course')))
    """
    found = {}
    for name, hint in get_type_hints(TrainSettings).items():
        first, *rest = get_args(hint) or (hint,)
        found[name] = (str, (first, *rest)) if isinstance(first, str) else (first, ())
    return found


def _checked(name: str, value: Any, metadata: Any) -> Any:
    from trax_triplet import _validation as check  # needs NumPy, which `--help` can do without

    kind, choices = kinds()[name]
    if value is None and metadata["none"]:
        return None
    if choices:
        return check.one_of(name, value, choices)
    if kind is bool:
        return check.boolean(name, value)
    return (check.integer if kind is int else check.number)(name, value, **metadata["bounds"])


class TrainOptions(TypedDict, total=False):
    """The settings as keywords of `train`, for type checkers and editors; a test keeps it equal."""

    steps: int
    batch_size: int
    d_model: int
    pooling: Literal["last", "mean", "course"]
    margin: float
    closest: Literal["semi-hard", "hardest", "shifted"]
    anchor: Literal["first", "second", "both"]
    implied: bool
    labelled_negatives: bool
    labelled_weight: float
    teacher_weight: float
    learning_rate: float
    warmup_steps: int
    word_dropout: float
    embedding_stddev: float | None
    hard_from: int | None
    neighbours: int
    max_words: int
    tokenizer: Literal["words", "words/1", "course"]
    min_count: int
    buckets: int
    spelling: int
    duplicate_share: float | None
    evaluate_every: int
    seed: int


TrainSettings.__doc__ = f"{TrainSettings.__doc__}\n    Attributes:\n" + "\n".join(
    f"        {setting.name}: {setting.metadata['help']}; default: {setting.default!r}."
    for setting in fields(TrainSettings)
)
