from . import sample as sample
from .mining import (
    draw_negatives as draw_negatives,
)
from .mining import (
    implied_duplicates as implied_duplicates,
)
from .pairs import (
    Pairs as Pairs,
)
from .pairs import (
    question_groups as question_groups,
)
from .pairs import (
    split_pairs as split_pairs,
)
from .reader import read_pairs as read_pairs
from .stream import BatchStream as BatchStream
from .tokenizer import tokenize as tokenize
from .vocabulary import Vocabulary as Vocabulary
