from .duplicates import find_duplicates as find_duplicates
from .duplicates import group_duplicates as group_duplicates
