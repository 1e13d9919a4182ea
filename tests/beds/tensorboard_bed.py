"""Event files as frameworks write them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util import tensor_util

BEGIN_AT = 1_700_000_000.0


def write(folder: Path, tag: str, values: Sequence[float], *, as_tensors: bool = False, at: float = BEGIN_AT) -> Path:
    """One more event file with a scalar: simple values as PyTorch has them, tensors as TensorFlow 2 has them."""
    writer = EventFileWriter(str(folder), filename_suffix=f".{len(list(folder.glob('*')))}")
    for step, value in enumerate(values):
        one = Summary.Value(tag=tag, simple_value=value)
        if as_tensors:
            plugin = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"))
            one = Summary.Value(tag=tag, tensor=tensor_util.make_tensor_proto(value), metadata=plugin)
        writer.add_event(Event(wall_time=at + step, step=step, summary=Summary(value=[one])))
    writer.close()
    return max(folder.glob("*tfevents*"), key=lambda path: path.name.rpartition(".")[2])
