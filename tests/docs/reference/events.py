"""The event types and their fields, from the codec of the domain."""

import inspect
import re
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from eventstore.kernel.events import Event
from eventstore.orders.domain import DOMAIN
from tests.docs.reference.markdown import MADE, table

_JSON = {
    "Decimal": "decimal string",
    "UUID": "UUID",
    "datetime": "time, ISO 8601",
    "str": "string",
    "int": "whole number",
    "float": "number",
    "date": "date, ISO 8601",
    "bool": "true or false",
}


def page() -> str:
    codec = DOMAIN.events
    parts = [
        "# Event types\n",
        MADE,
        "The name of a type is its `type` in a file, in SQL and in the log; in Python it is a class of "
        "`eventstore`. `data` has these fields; it may have more, the log stores all of them. Payloads are "
        f"written in version {codec.payload_version}; those of older versions are converted when they are "
        "read. What the log takes of any event: [limits](../limits.md).\n",
    ]
    for name, cls in codec.types.items():
        parts.append(f"## {name}\n")
        parts.append(f"{(inspect.getdoc(cls) or '').replace('``', '`')}\n")
        rows = [_row(cls, field) for field in msgspec.structs.fields(cls)]
        parts.append(table(("field", "is", ""), rows) if rows else "No fields.\n")
    return "\n".join(parts)


def _row(cls: type[Event], field: msgspec.structs.FieldInfo) -> tuple[str, str, str]:
    required = "" if field.required else f"optional{_default(field.default)}"
    about = "; ".join(filter(None, (comment(cls, field.name), required)))
    return f"`{field.encode_name}`", type_of(field.type), about


def _default(default: Any) -> str:
    return "" if default is None or default is msgspec.NODEFAULT else f", else `{default}`"


def type_of(annotation: Any) -> str:
    """In words; what JSON has no word for is named as Python names it."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_of(args[0])
    if origin in (Union, UnionType):
        return " or ".join(type_of(each) for each in args if each is not NoneType)
    if origin is Literal:
        return " or ".join(f'"{each}"' for each in args)
    if origin in (list, tuple, set, frozenset):
        return f"list of {type_of(args[0])}"
    name = str(getattr(annotation, "__name__", annotation))
    return _JSON.get(name, name)


def comment(cls: type[Event], name: str) -> str:
    """What the source says behind the field, after ``#:``."""
    for base in cls.__mro__:
        if name in inspect.get_annotations(base):
            found = re.search(rf"^ +{name}\b.*#: (.+)$", inspect.getsource(base), re.MULTILINE)
            return found[1] if found else ""
    return ""
