"""An experiment that has been begun: how it goes, and what came of it."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from hpcsearch.evaluation import END_STATES, NO_METRIC, Configuration, State
from hpcsearch.experiment.function import arguments
from hpcsearch.experiment.space import Space

if TYPE_CHECKING:
    from hpcsearch.submission.api import Submitted
    from hpcsearch.workflow.workflow import Record, Workflow


@dataclass(frozen=True, repr=False)
class Experiment:
    """An experiment. What it has found is read anew at every look, also while it runs.

    Where a path is wanted it is its log directory, and it unpacks: ``logdir, best = experiment.grid_search(...)``.
    """

    title: str
    direction: str
    space: Space
    submitted: Submitted

    @property
    def workflow(self) -> Workflow:
        """The workflow behind it."""
        return self.submitted.workflow

    @property
    def logdir(self) -> str:
        """The folder of everything that it leaves."""
        return str(self.submitted.layout.root)

    @property
    def evaluations(self) -> list[Record]:
        """All evaluations, in the order in which they were tried, with the function's arguments as ``config``.

        The objective is None where the function returned no metric.
        """
        return [self._own(record) for record in self.workflow.records()]

    @property
    def best(self) -> Configuration | None:
        """The best configuration; None as long as there is none."""
        best = self._ranked()[:1]
        return best[0].config if best else None

    @property
    def metric(self) -> float | None:
        """The metric of the best configuration."""
        best = self._ranked()[:1]
        return best[0].objective if best else None

    def done(self) -> bool:
        """Whether it has come to its end."""
        return self.submitted.done()

    def cancel(self) -> None:
        """Ends it; what has ended by then is kept."""
        self.submitted.cancel(check=False)

    def wait(self) -> Self:
        """Shows how it goes until it has ended, and prints its summary; gives the experiment itself.

        Raises:
            HpcsearchError: it died, will never start, or not one evaluation has succeeded.
        """
        from hpcsearch.submission.waiting import ended_with_this_process, see_through, wait_for

        if self.submitted.site.scheduler == "local":
            with ended_with_this_process(self.submitted):
                see_through(self.submitted)
        else:
            wait_for(self.submitted)
        summary = self.summary()
        Path(self.logdir, "summary").write_text(summary + "\n", encoding="utf-8")
        print(summary)
        return self

    def summary(self) -> str:
        """The best and the worst configuration, the average, and what has failed."""
        records = self.evaluations
        ranked = self._ranked(records)
        lines = [f"------ {self.title} results ------ direction({self.direction})"]
        if ranked:
            average = statistics.fmean(record.objective or 0.0 for record in ranked)
            lines += [f"{word} combination {_shown(one)}" for word, one in (("BEST", ranked[0]), ("WORST", ranked[-1]))]
            lines.append(f"AVERAGE metric -- {average:.6g}")
        without = sum(record.state is State.FINISHED for record in records) - len(ranked)
        if without:
            lines.append(f"{counted(without)} returned no metric.")
        lines += _failures(records)
        lines.append(f"Total job time {_duration(records)}")
        return "\n".join(lines)

    def __iter__(self) -> Iterator[Any]:
        return iter((self.logdir, self.best))

    def __fspath__(self) -> str:
        return self.logdir

    def __repr__(self) -> str:
        return f"<{self.title} in {self.logdir}: {counted(len(self.evaluations))}, best {self.best}>"

    def _ranked(self, records: list[Record] | None = None) -> list[Record]:
        """Those with a metric, the best first; of equals, the earlier one."""
        ranked = [one for one in (self.evaluations if records is None else records) if one.objective is not None]
        sign = -1 if self.direction == "max" else 1
        return sorted(ranked, key=lambda one: sign * (one.objective or 0.0))

    def _own(self, record: Record) -> Record:
        config = arguments(record.config, self.space.names, self.space.objects)
        objective = None if record.metadata.get(NO_METRIC) else record.objective
        return dataclasses.replace(record, config=config, objective=objective)


def _shown(record: Record) -> str:
    values = ", ".join(f"{name}={value}" for name, value in record.config.items())
    return f"{values or '(none)'} -- metric {record.objective:.6g}"


def _failures(records: list[Record]) -> list[str]:
    failed = [record for record in records if record.state in END_STATES - {State.FINISHED, State.STOPPED}]
    if not failed:
        return []
    first = failed[0]
    said = f" The first one said: {first.failure.kind}: {first.failure.message}" if first.failure else ""
    return [f"{counted(len(failed))} gave no result.{said}"]


def counted(number: int) -> str:
    """``1 evaluation``, ``6 evaluations``."""
    return "1 evaluation" if number == 1 else f"{number} evaluations"


def _duration(records: list[Record]) -> str:
    starts = [record.started_at for record in records if record.started_at is not None]
    ends = [record.ended_at for record in records if record.ended_at is not None]
    seconds = math.ceil(max(ends) - min(starts)) if starts and ends else 0
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} hours, {minutes} minutes, {seconds} seconds"
