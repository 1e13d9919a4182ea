"""JSON lines over descriptors that never block."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcsearch.worker.channel import Channel, ClosedError

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def small_pipe() -> tuple[int, int]:
    """A pipe that holds one page."""
    ends = os.pipe()
    fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, 4096)
    return ends


class Pair:
    """Both ends of a conversation."""

    def __init__(self) -> None:
        self.to_right, self.to_left = small_pipe(), small_pipe()
        self.left = Channel(self.to_left[0], self.to_right[1])
        self.right = Channel(self.to_right[0], self.to_left[1])

    def close(self) -> None:
        for channel in (self.left, self.right):
            with suppress(OSError):
                channel.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.close()


@settings(max_examples=60)
@given(st.lists(VALUES, max_size=8))
def test_what_is_sent_arrives_in_order(messages: list[Any]) -> None:
    pair = Pair()
    try:
        for message in messages:
            pair.left.send(message)
        arrived: list[Any] = []
        while not pair.left.flush():
            arrived += pair.right.receive()
        while batch := pair.right.receive():
            arrived += batch
        assert arrived == messages
    finally:
        pair.close()


@settings(max_examples=60)
@given(st.lists(VALUES, min_size=1, max_size=5), st.data())
def test_lines_may_be_cut_anywhere(messages: list[Any], data: st.DataObject) -> None:
    whole = b"".join(
        json.dumps(message, ensure_ascii=data.draw(st.booleans())).encode() + b"\n" for message in messages
    )
    cuts = sorted(data.draw(st.sets(st.integers(0, len(whole)), max_size=6)))
    read_end, write_end = os.pipe()
    other = os.open(os.devnull, os.O_WRONLY)
    channel = Channel(read_end, other)
    try:
        arrived: list[Any] = []
        for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
            os.write(write_end, whole[start:end])
            arrived += channel.receive()
        assert arrived == messages
    finally:
        channel.close()
        os.close(write_end)


def test_a_reader_that_stands_still_does_not_hold_the_writer_up(pair: Pair) -> None:
    messages = [["row", number, "x" * 3000] for number in range(100)]
    for message in messages:
        pair.left.send(message)
    assert pair.left.flush() is False
    assert pair.left.flush() is False
    arrived: list[Any] = []
    while not pair.left.flush():
        arrived += pair.right.receive()
        if len(arrived) == 50:
            pair.left.send(["late"])  # behind everything, also in the middle of sending
    while batch := pair.right.receive():
        arrived += batch
    assert [message for message in arrived if message != ["late"]] == messages
    assert arrived.count(["late"]) >= 1 and arrived[-1] == ["late"]


def test_nothing_has_arrived(pair: Pair) -> None:
    assert pair.right.receive() == []


def test_what_was_sent_before_the_end_is_received_before_it(pair: Pair) -> None:
    pair.left.send("last words")
    assert pair.left.flush()
    pair.left.close()
    assert pair.right.receive() == ["last words"]
    with pytest.raises(ClosedError):
        pair.right.receive()
    pair.right.send("too late")
    with pytest.raises(ClosedError):
        pair.right.flush()


def test_a_line_that_is_not_json_is_an_error(pair: Pair) -> None:
    os.write(pair.to_right[1], b"srun: warning\n")
    with pytest.raises(ValueError, match="Expecting value"):
        pair.right.receive()


def test_one_descriptor_for_both_directions_is_closed_once() -> None:
    read_end, write_end = os.pipe()
    Channel(read_end, read_end).close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(read_end)
    os.close(write_end)


STANDARD = """\
import ctypes, os, sys
from hpcsearch.worker.channel import standard_channel

channel = standard_channel()
print("from Python")
sys.stdout.flush()
os.write(1, b"below Python\\n")
channel.send({"stdin": sys.stdin.read()})
assert channel.flush()
"""


def test_what_a_library_prints_does_not_touch_the_protocol() -> None:
    done = subprocess.run([sys.executable, "-c", STANDARD], input=b'"an order"\n', capture_output=True, check=True)
    assert done.stdout == b'{"stdin":""}\n'
    assert done.stderr == b"from Python\nbelow Python\n"
