"""The contract between the driver and a stopping rule."""

from __future__ import annotations

from typing import Protocol


class Stopper(Protocol):
    """Decides by what evaluations report; made as ``Class(**arguments)``.

    The arguments are the rule's settings: name them, give each a default and annotate them with ``int``, ``float``,
    ``bool`` or ``str``, and they can be set on the command line.

    A rule is pure: what it decides follows from what it was told. It is told every report, also those of evaluations
    that it has stopped, and after a restart all reports that the database has, then which evaluations finished. So keep
    what was told and not the order of evaluations in which it came. A call should cost microseconds: thousands of
    evaluations report to one driver.
    """

    def tell(self, evaluation: int, step: float, value: float) -> bool:
        """An evaluation reports; returns whether it is to be stopped.

        Args:
            evaluation: its id.
            step: how far it is; by default the number of its reports. It grows from one report to the next, unless the
                evaluation begins again because its node was lost, or goes on from a checkpoint.
            value: greater is better, whatever the metric's direction; minus infinity where it is no number.
        """
        ...

    def ended(self, evaluation: int, finished: bool) -> None:
        """An evaluation reports no more; ``finished`` where it came to its end, and was neither stopped nor failed."""
        ...
