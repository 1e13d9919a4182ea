"""Site files: TOML, one over the other, to a Site."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpcsearch.errors import SiteError
from hpcsearch.sites.convert import Place, build, check, to_table
from hpcsearch.sites.model import NodeShape, Site


def load_site(*files: Path) -> Site:
    """The site that ``files`` describe, where a later file's values go before an earlier one's.

    Tables are merged key by key, lists are replaced. Raises SiteError with the file, the line and the nearest key.
    """
    merged: dict[str, Any] = {}
    for file in files:
        table = read_table(file)
        merged = merge(merged, table)
    place = Place(str(files[-1]))
    site = build(Site, merged, place)
    _check_whole(site, place)
    return dataclasses.replace(site, template=_template(site.template, files)) if site.template else site


def read_table(file: Path) -> dict[str, Any]:
    """One file's table, checked but maybe incomplete; raises SiteError."""
    try:
        text = file.read_text(encoding="utf-8")
        table = tomllib.loads(text)
    except OSError as error:
        raise SiteError(f"the site file {file} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SiteError(f"the site file {file} is no TOML: {error}") from None
    check(Site, table, Place(str(file), text))
    return table


def merge(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """``upper`` over ``lower``, tables key by key."""
    merged = dict(lower)
    for key, value in upper.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def origins(files: Sequence[Path]) -> dict[str, Path]:
    """Dotted key -> the file that its value comes from."""
    return {key: file for file in files for key in _dotted(read_table(file))}


def dump_site(site: Site) -> str:
    """The site as JSON, to be kept with an allocation so that its driver sees what its submitter saw."""
    return json.dumps(to_table(site), indent=1) + "\n"


def read_site(file: Path) -> Site:
    """The site that ``dump_site`` wrote; raises SiteError."""
    try:
        return build(Site, json.loads(file.read_text(encoding="utf-8")), Place(str(file)))
    except (OSError, json.JSONDecodeError) as error:
        raise SiteError(f"the site of this allocation, {file}, cannot be read: {error}") from None


def _dotted(table: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def _template(name: str, files: Sequence[Path]) -> str:
    for file in reversed(files):
        if (file.parent / name).is_file():
            return str((file.parent / name).absolute())
    raise SiteError(f"{files[-1]}: the template {name!r} is not beside the site file")


def _check_whole(site: Site, place: Place) -> None:
    """What no single value tells: raises SiteError where values contradict each other."""
    for queue in site.queues:
        for tier in queue.tiers:
            if tier.max_nodes and tier.max_nodes < max(1, tier.min_nodes):
                raise place.error(
                    f"queue {queue.name} has a tier from {tier.min_nodes} to {tier.max_nodes} nodes, which holds none"
                )
        if queue.requeue and not queue.preemptable:
            raise place.error(f"queue {queue.name} has requeue = true but is not preemptable")
        _check_node(queue.node, f"queue {queue.name}: ", place)
    _check_node(site.node, "", place)


def _check_node(node: NodeShape, whose: str, place: Place) -> None:
    reserved = list(node.reserved_cores)
    if node.cores and any(core >= node.cores for core in reserved):
        raise place.error(f"{whose}reserved_cores {reserved} are not all below the node's {node.cores} cores")
    if node.gpu_order and sorted(node.gpu_order) != list(range(node.gpus)):
        order = list(node.gpu_order)
        raise place.error(f"{whose}gpu_order {order} does not name each of the node's {node.gpus} GPUs once")
