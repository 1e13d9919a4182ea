"""``hpcsearch doctor``: looks at what a search needs on this machine, and says what to do about what is missing."""

from hpcsearch.doctor.checks import examine
from hpcsearch.doctor.finding import Finding, Verdict

__all__ = ["Finding", "Verdict", "examine"]
