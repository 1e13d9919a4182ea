"""The tables of a workflow's database.

``*_at`` are points in time (seconds since 1970, UTC); ``*_s`` are durations in seconds. Texts that hold structured
values are JSON. ``evaluation`` holds where each evaluation stands now; ``attempt`` and ``event`` how it came there.
"""

from __future__ import annotations

from sqlalchemy import Column, Float, Integer, MetaData, Table, Text

#: Raised by one with every change that an older hpcsearch could not read.
SCHEMA_VERSION = 1

metadata = MetaData()

workflow = Table(
    "workflow",
    metadata,
    Column("id", Integer, primary_key=True),  # one row, id 1
    Column("schema_version", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("problem", Text, nullable=False),  # reference to the problem, absolute
    Column("run", Text, nullable=False),  # reference to the run function, absolute
    Column("cwd", Text, nullable=False),  # where it was submitted, and where run functions are called
    Column("names", Text, nullable=False),  # JSON list of the hyperparameters, sorted
    Column("minimize", Integer, nullable=False),
    Column("search", Text, nullable=False),
    Column("search_arguments", Text, nullable=False),
    Column("seed", Integer),
    Column("max_evals", Integer),  # NULL: no limit
    Column("next_id", Integer, nullable=False),  # the next evaluation's id: ids never recur
    Column("claimed", Integer, nullable=False),  # evaluations that count towards max_evals
    Column("settings", Text, nullable=False),  # JSON object: how its allocations run unless told otherwise
    Column("started_at", Float),  # when its first driver began: the zero of elapsed_sec
    Column("finished_at", Float),
    Column("outcome", Text),  # why the search ended, or why it paused
)

allocation = Table(
    "allocation",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("site", Text, nullable=False),
    Column("scheduler", Text, nullable=False),
    Column("scheduler_id", Text),
    Column("queue", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("nodes", Integer, nullable=False),
    Column("walltime_s", Float, nullable=False),
    Column("job_mode", Text, nullable=False),
    Column("state", Text, nullable=False),  # SUBMITTED, RUNNING, ENDED
    Column("submitted_at", Float, nullable=False),
    Column("started_at", Float),
    Column("deadline_at", Float),
    Column("ended_at", Float),
    Column("outcome", Text),
)

node = Table(
    "node",
    metadata,
    Column("allocation", Integer, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("state", Text, nullable=False),  # STARTING, UP, RELEASED, LOST
    Column("slots", Integer),
    Column("cores", Integer),
    Column("gpus", Integer),
    Column("memory_mb", Integer),
    Column("held_from_at", Float),
    Column("held_to_at", Float),  # when it was given back, lost, or the allocation ended
    Column("busy_s", Float),  # slot-seconds of evaluations, divided by its slots
    Column("reason", Text),
)

evaluation = Table(
    "evaluation",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("configuration", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("proposed_at", Float, nullable=False),
    Column("attempt", Integer, nullable=False),  # the latest one; 0 before the first
    Column("failures", Integer, nullable=False),  # attempts that count towards the budget of attempts
    Column("allocation", Integer),
    Column("node", Text),
    Column("slot", Integer),
    Column("nodes", Text),  # all of them, with commas between, where there are several; node is the first
    Column("slots", Integer),  # how many it takes, on all its nodes; slot is the first
    Column("started_at", Float),
    Column("ended_at", Float),
    Column("duration_s", Float),
    Column("objective", Float),
    Column("metadata", Text),
    Column("error_kind", Text),
    Column("error_message", Text),
    Column("traceback", Text),
    Column("gathered_at", Float),  # when its end was recorded; NULL while another attempt may come
)

attempt = Table(
    "attempt",
    metadata,
    Column("evaluation", Integer, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("allocation", Integer, nullable=False),
    Column("token", Text, nullable=False),  # the lease under which it was recorded
    Column("node", Text, nullable=False),
    Column("slot", Integer),
    Column("nodes", Text),
    Column("slots", Integer),
    Column("state", Text, nullable=False),
    Column("started_at", Float),
    Column("ended_at", Float),
    Column("error_kind", Text),
    Column("error_message", Text),
    sqlite_with_rowid=False,
)

event = Table(
    "event",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("evaluation", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("allocation", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("at", Float, nullable=False),
)

report = Table(
    "report",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("evaluation", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("step", Float),
    Column("at", Float, nullable=False),
    Column("metrics", Text, nullable=False),
)

lease = Table(
    "lease",
    metadata,
    Column("id", Integer, primary_key=True),  # one row, id 1
    Column("token", Text),  # NULL: free
    Column("allocation", Integer),
    Column("host", Text),
    Column("pid", Integer),
    Column("counter", Integer, nullable=False),  # grows with every commit of the holder
    Column("beat_at", Float),  # when that was, by the holder's clock: for people to read
    Column("period_s", Float, nullable=False),  # the holder commits at least this often
)
