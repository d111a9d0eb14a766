from .corpus import Hit as Hit
from .duplicates import find_duplicates as find_duplicates
from .duplicates import group_duplicates as group_duplicates
from .index import QuestionIndex as QuestionIndex
from .negatives import Triplet as Triplet
from .negatives import mine_negatives as mine_negatives
from .partition import embed_partition as embed_partition
