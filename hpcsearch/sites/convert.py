"""Tables of a site file to the classes of model.py and back, by the fields' own types.

There is one converter per type; the keys that a table may have are the fields of its class.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from hpcsearch.errors import SiteError
from hpcsearch.sites.duration import format_duration, parse_duration
from hpcsearch.sites.lines import line_of
from hpcsearch.sites.model import did_you_mean

_T = TypeVar("_T")
_Table = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where in which file a value stands, for messages. ``keys`` are the names from the top of the file."""

    file: str
    text: str = ""
    keys: tuple[str, ...] = ()

    def at(self, key: str) -> Place:
        return dataclasses.replace(self, keys=(*self.keys, key))

    def error(self, message: str, hint: str = "") -> SiteError:
        line = line_of(self.text, self.keys)
        return SiteError(f"{self.file}{f', line {line}' if line else ''}: {message}", hint)

    @property
    def table(self) -> str:
        return f"[{'.'.join(self.keys)}]" if self.keys else "the top of the file"


def build(cls: type[_T], table: Any, place: Place) -> _T:
    """An instance of ``cls`` from its table; raises SiteError for an unknown key, a wrong type or a missing key."""
    values = check(cls, table, place)
    missing = [field.name for field in dataclasses.fields(cls) if _required(field) and field.name not in values]  # type: ignore[arg-type]  # every class here is a dataclass
    if missing:
        raise place.error(f"{place.table} needs the key {missing[0]!r}")
    return cls(**values)


def check(cls: Any, table: Any, place: Place) -> dict[str, Any]:
    """The converted values of a table that may be incomplete; raises SiteError as ``build`` does."""
    if not isinstance(table, dict):
        raise place.error(f"{place.table} must be a table, not {table!r}")
    converters = _converters(cls)
    values = {}
    for key, value in table.items():
        if key not in converters:
            raise place.at(key).error(
                f"unknown key {key!r} in {place.table}{did_you_mean(key, converters)}",
                f"Known keys: {', '.join(converters)}.",
            )
        name, convert = converters[key]
        values[name] = convert(value, place.at(key))
    return values


def to_table(value: Any) -> Any:
    """What ``build`` would read to give ``value`` again, made of what JSON can hold; defaults are left out."""
    if not dataclasses.is_dataclass(value):
        return value
    table: _Table = {}
    for field in dataclasses.fields(value):
        item = getattr(value, field.name)
        if not _required(field) and item == _default(field):
            continue
        table[_key(field)] = format_duration(item) if field.metadata.get("duration") else _plain(item)
    return table


def _plain(item: Any) -> Any:
    if isinstance(item, tuple) and item and dataclasses.is_dataclass(item[0]):
        if hasattr(item[0], "name"):
            return {each.name: {key: value for key, value in to_table(each).items() if key != "name"} for each in item}
        return [to_table(each) for each in item]
    if isinstance(item, tuple):
        return list(item)
    if isinstance(item, datetime.date):
        return item.isoformat()
    return to_table(item)


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _key(field: dataclasses.Field[Any]) -> str:
    return field.name.removesuffix("_s") if field.metadata.get("duration") else field.name


_Convert = Callable[[Any, Place], Any]


@functools.cache
def _converters(cls: Any) -> Mapping[str, tuple[str, _Convert]]:
    """Key in the file -> name of the field and its converter."""
    hints = get_type_hints(cls)
    return {
        _key(field): (field.name, _duration if field.metadata.get("duration") else _converter(hints[field.name]))
        for field in dataclasses.fields(cls)
    }


def _converter(kind: Any) -> _Convert:
    if kind in _SIMPLE:
        return _SIMPLE[kind]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Literal, Union):
        return functools.partial(_choice, arguments)
    if origin is tuple and dataclasses.is_dataclass(arguments[0]):
        return functools.partial(_many, cast(type[Any], arguments[0]))
    if origin is tuple:
        return functools.partial(_list, _converter(arguments[0]))
    if origin is not None and issubclass(origin, Mapping):
        return _texts
    return functools.partial(build, kind)


def _exactly(kind: type, words: str, value: Any, place: Place) -> Any:
    if type(value) is not kind:
        raise place.error(f"{place.keys[-1]} must be {words}, not {value!r}")
    return value


def _text(value: Any, place: Place) -> Any:
    _exactly(str, "a text in quotes", value, place)
    if "\n" in value or "\0" in value:
        raise place.error(f"{place.keys[-1]} must be one line, not {value!r}")
    return value


def _count(value: Any, place: Place) -> Any:
    if _exactly(int, "a whole number", value, place) < 0:
        raise place.error(f"{place.keys[-1]} must not be negative, but is {value}")
    return value


def _number(value: Any, place: Place) -> float:
    if type(value) not in (int, float) or not 0 <= value < float("inf"):
        raise place.error(f"{place.keys[-1]} must be a number, not negative, and is {value!r}")
    return float(value)


def _date(value: Any, place: Place) -> datetime.date:
    try:
        return value if isinstance(value, datetime.date) else datetime.date.fromisoformat(value)
    except (TypeError, ValueError):
        raise place.error(f"{place.keys[-1]} must be a date like 2026-08-19, not {value!r}") from None


def _duration(value: Any, place: Place) -> int:
    try:
        return parse_duration(value)
    except (ValueError, AttributeError):
        raise place.error(f'{place.keys[-1]} must be a duration like "1:30:00", not {value!r}') from None


def _choice(allowed: tuple[str, ...], value: Any, place: Place) -> Any:
    if value not in allowed:
        words = ", ".join(repr(word) for word in allowed)
        raise place.error(f"{place.keys[-1]} must be one of {words}, not {value!r}")
    return value


def _list(convert: _Convert, value: Any, place: Place) -> tuple[Any, ...]:
    _exactly(list, "a list in brackets", value, place)
    return tuple(convert(item, place) for item in value)


def _texts(value: Any, place: Place) -> dict[str, str]:
    _exactly(dict, "a table of texts", value, place)
    return {key: _text(item, place.at(key)) for key, item in value.items()}


def _many(cls: type[Any], value: Any, place: Place) -> tuple[Any, ...]:
    """A list of tables, or a table of tables by name."""
    if isinstance(value, list):
        return tuple(build(cls, item, place) for item in value)
    _exactly(dict, "a table of tables", value, place)
    return tuple(
        build(cls, {"name": name, **item} if isinstance(item, dict) else item, place.at(name))
        for name, item in value.items()
    )


_SIMPLE: Mapping[Any, _Convert] = {
    str: _text,
    int: _count,
    float: _number,
    bool: functools.partial(_exactly, bool, "true or false"),
    datetime.date: _date,
}
