"""The exceptions that hpcsearch raises on purpose.

Each carries a sentence that says what is wrong (with the value) and why, a hint that says what to type or do, and
the exit code of the command that meets it. A command line prints the two sentences and no traceback.
"""


class HpcsearchError(Exception):
    """Base of all errors that are meant for the reader.

    Args:
        message: what is wrong, with the value, and why.
        hint: what to type or do about it; may be empty.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class UsageError(HpcsearchError):
    """A value on the command line or in a call that cannot be meant."""

    exit_code = 2


class NameTakenError(UsageError):
    """A workflow of that name exists already."""


class NotFoundError(HpcsearchError):
    """A workflow, evaluation, site or file that is not there."""

    exit_code = 3


class LoadError(HpcsearchError):
    """A problem or run function that cannot be found, imported or used."""

    exit_code = 4


class ProblemError(LoadError):
    """A search space, starting point or condition that does not hold together."""


class SearchError(HpcsearchError):
    """A search strategy that is unknown, or given arguments that it does not know."""

    exit_code = 2


class SiteError(HpcsearchError):
    """A site file that is missing, wrong, or does not fit this machine."""

    exit_code = 5


class LimitError(UsageError):
    """A request that a queue of the site does not take."""


class SchedulerError(HpcsearchError):
    """The scheduler refused, or did not answer."""

    exit_code = 6


class DatabaseError(HpcsearchError):
    """A workflow database that cannot be read or written."""

    exit_code = 7


class SchemaVersionError(DatabaseError):
    """A workflow database written by a newer hpcsearch, or by one too old."""


class LeaseLostError(HpcsearchError):
    """Another driver works on this workflow now: this one must stop without writing."""

    exit_code = 8


class AllocationError(HpcsearchError):
    """The allocation cannot go on: no node came up, or none is left."""

    exit_code = 9


class SmokeError(HpcsearchError):
    """The one evaluation that --smoke runs before any other did not succeed: nothing else was started."""

    exit_code = 10
