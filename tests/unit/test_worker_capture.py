"""What evaluations print: to the right file, and no more than the limit."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hpcsearch.worker.capture import Capture, marker

#: Output that looks like a marker, or a part of one, more often than chance would have it.
NOISE = st.lists(
    st.sampled_from([b"\x00", b"\x01", b"\x00\x01", b"\x00\x01hpcsearch evaluation ", b"7", b"\x01\x00", b"text\n"])
    | st.binary(max_size=8),
    max_size=6,
).map(b"".join)

_WHOLE_MARKER = re.compile(rb"\x00\x01hpcsearch evaluation (\d+)\x01\x00")


def logs(folder: Path) -> dict[int, bytes]:
    return {int(path.parent.name): path.read_bytes() for path in folder.glob("*/log")}


@settings(max_examples=150)
@given(st.lists(NOISE, min_size=1, max_size=4), st.data())
@example([b"a\x00", b"\x00", b"\x00\x01hpcsearch evaluation 12"], None)
def test_each_log_holds_what_came_behind_its_marker(texts: list[bytes], data: st.DataObject | None) -> None:
    whole = b"".join(marker(number) + text for number, text in enumerate(texts, start=1))
    if [int(number) for number in _WHOLE_MARKER.findall(whole)] != list(range(1, len(texts) + 1)):
        return  # noise that became a marker by itself
    cuts = sorted(data.draw(st.sets(st.integers(0, len(whole)), max_size=8))) if data else range(len(whole))
    with tempfile.TemporaryDirectory() as folder:
        capture = Capture(Path(folder), 1000)
        for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
            capture.feed(whole[start:end])
        capture.close()
        assert logs(Path(folder)) == {number: text for number, text in enumerate(texts, start=1) if text}


@settings(max_examples=100)
@given(
    st.lists(st.binary(min_size=1, max_size=40).map(lambda b: b.replace(b"\x00", b".")), max_size=12),
    st.integers(2, 60),
)
def test_head_and_tail_are_kept_and_what_is_left_out_is_counted(pieces: list[bytes], limit: int) -> None:
    whole = b"".join(pieces)
    half = limit // 2
    with tempfile.TemporaryDirectory() as folder:
        capture = Capture(Path(folder), limit)
        capture.feed(marker(5))
        for piece in pieces:
            capture.feed(piece)
        capture.settle(5)
        if not whole:
            assert logs(Path(folder)) == {}
            return
        left_out = len(whole) - 2 * half
        expected = whole
        if left_out > 0:
            expected = whole[:half] + b"\n[... %d bytes left out ...]\n" % left_out + whole[-half:]
        assert logs(Path(folder)) == {5: expected}


def test_a_flood_takes_no_memory(tmp_path: Path) -> None:
    capture = Capture(tmp_path, 1_000_000)
    capture.feed(marker(1))
    block = b"flood " * 10_000
    for _ in range(200):
        capture.feed(block)
    assert capture._log is not None and capture._log._tail_bytes < 1_000_000
    capture.close()
    assert 1_000_000 < (tmp_path / "1" / "log").stat().st_size < 1_000_100


def test_output_appears_while_the_evaluation_runs(tmp_path: Path) -> None:
    capture = Capture(tmp_path, 1000)
    capture.feed(marker(3) + b"epoch 1\n")
    assert logs(tmp_path) == {3: b"epoch 1\n"}
    capture.feed(b"epoch 2\n")
    assert logs(tmp_path) == {3: b"epoch 1\nepoch 2\n"}
    capture.close()


def test_output_before_any_marker_belongs_to_nobody(tmp_path: Path) -> None:
    capture = Capture(tmp_path, 1000)
    capture.feed(b"while importing\n")
    capture.close()
    assert logs(tmp_path) == {}


def test_another_attempt_is_added_to_the_same_log(tmp_path: Path) -> None:
    for text in (b"first\n", b"second\n"):
        capture = Capture(tmp_path, 1000)
        capture.feed(marker(4) + text)
        capture.close()
    assert logs(tmp_path) == {4: b"first\nsecond\n"}
    assert (tmp_path / "4").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "4" / "log").stat().st_mode & 0o777 == 0o600


def test_an_evaluation_that_settles_is_not_the_one_at_hand(tmp_path: Path) -> None:
    capture = Capture(tmp_path, 8)
    capture.feed(marker(1) + b"0123456789")
    capture.feed(marker(2) + b"abcdefghij")
    capture.settle(1)  # told a moment late
    assert logs(tmp_path)[2] == b"abcd"
    capture.settle(2)
    assert logs(tmp_path)[2] == b"abcd\n[... 2 bytes left out ...]\nghij"
    capture.close()


@pytest.mark.parametrize("what", ["a folder of that name", "no folder can be made"])
def test_a_log_that_cannot_be_written_ends_nothing(tmp_path: Path, what: str) -> None:
    if what == "a folder of that name":
        (tmp_path / "1" / "log").mkdir(parents=True)
    else:
        (tmp_path / "1").write_text("in the way")
    capture = Capture(tmp_path, 10)
    capture.feed(marker(1) + b"lost" * 10 + marker(2) + b"kept")
    capture.settle(2)
    capture.close()
    assert (tmp_path / "2" / "log").read_bytes() == b"kept"


def test_a_number_that_no_evaluation_has_is_output(tmp_path: Path) -> None:
    strange = b"\x00\x01hpcsearch evaluation " + b"9" * 5000 + b"\x01\x00"
    capture = Capture(tmp_path, 100_000)
    capture.feed(marker(1) + strange)
    capture.close()
    assert logs(tmp_path) == {1: strange}
