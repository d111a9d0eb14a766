from .runner import EDITIONS as EDITIONS
from .runner import STEPS as STEPS
from .runner import CaseResult as CaseResult
from .runner import CheckResult as CheckResult
from .runner import check as check
from .solution import check_file as check_file
