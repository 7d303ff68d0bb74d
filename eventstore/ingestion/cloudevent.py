"""One line of a file as an event for the log, or the reason why it is none. Pure."""

import codecs
import json
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec

from eventstore.domain.events import EVENT_TYPES
from eventstore.domain.payload import PayloadError, check
from eventstore.domain.recorded import to_ms
from eventstore.domain.upcasters import UNMARKED_VERSION
from eventstore.ingestion.lines import MAX_LINE, Line

#: Deeper JSON is refused: what reads the event later may have less stack left than there is here.
MAX_DEPTH = 100
#: Bytes of source and id together: both are in an index, whose entries PostgreSQL limits to 2,704 bytes.
MAX_IDENTITY = 2000

_EARLIEST = to_ms(datetime(1, 1, 1, tzinfo=UTC))
_LATEST = to_ms(datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC))

Attributes = dict[str, msgspec.Raw]
_attributes: msgspec.json.Decoder[Attributes] = msgspec.json.Decoder(Attributes)
_text: msgspec.json.Decoder[str | None] = msgspec.json.Decoder(str | None)
_uuid: msgspec.json.Decoder[UUID | None] = msgspec.json.Decoder(UUID | None)
_time: msgspec.json.Decoder[datetime | None] = msgspec.json.Decoder(datetime | None)
_anything: msgspec.json.Decoder[object] = msgspec.json.Decoder()

_NULL = msgspec.Raw(b"null")
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")  # "\\u0000" is a backslash and five letters
_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[][{}]')
_INTEGER = re.compile(rb'"?([1-9][0-9]{0,8})"?')  # CloudEvents: a number, or the same as a string
_LEAP_SECOND = re.compile(rb'^("[^"]{10}.[0-9]{2}:[0-9]{2}):60')


class StagedEvent(NamedTuple):
    """An event ready for the log."""

    order_id: UUID
    event_type: str
    data: str  #: the payload as it came
    created_at: int | None  #: business time, ms since 1970; None lets the database stamp it
    source: str
    source_id: str
    metadata: str  #: JSON of the attributes that have no column


class RefusedError(ValueError):
    """A line that cannot be appended: a short stable code for the reason, and what is wrong in words."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def parse_line(line: Line) -> StagedEvent:
    """The event in a line of a file. Raises RefusedError where there is none for the log."""
    if line.size > MAX_LINE:
        raise RefusedError("too_long", f"{line.size} bytes, more than {MAX_LINE}")
    return parse(line.raw.removeprefix(codecs.BOM_UTF8) if line.number == 1 else line.raw)


def parse(line: bytes) -> StagedEvent:
    """The event that ``line``, a CloudEvent 1.0 in JSON, stands for.

    Raises RefusedError where it cannot be an event of the log.
    """
    attributes = _decode(line)
    if _take(attributes, "specversion") != "1.0":
        raise RefusedError("not_an_event", 'specversion must be "1.0"')
    event_type = _required(attributes, "type")
    source = _required(attributes, "source")
    source_id = _required(attributes, "id")
    if len(source) + len(source_id) > MAX_IDENTITY // 4:  # no character takes more than 4 bytes
        length = len(source.encode()) + len(source_id.encode())
        if length > MAX_IDENTITY:
            raise RefusedError("not_an_event", f"source and id have {length} bytes, more than {MAX_IDENTITY}")
    if event_type not in EVENT_TYPES:
        raise RefusedError("unknown_type", f"{event_type[:100]!r}; known: {', '.join(EVENT_TYPES)}")
    order_id = _order_id(attributes)
    created_at = _created_at(attributes)
    data = _data(attributes)
    schema_version = _schema_version(attributes)
    metadata = _metadata(attributes) if attributes else "{}"
    try:
        check(event_type, data, UNMARKED_VERSION if schema_version is None else schema_version)
    except PayloadError as error:
        raise RefusedError("bad_payload", str(error)) from None
    return StagedEvent(order_id, event_type, data.decode(), created_at, source, source_id, metadata)


def _decode(line: bytes) -> Attributes:
    """The attributes of ``line``, which is then known to be UTF-8, well formed, and fit for jsonb."""
    try:
        if not line.isascii():
            line.decode()
        attributes = _attributes.decode(line)
    except UnicodeDecodeError as error:
        raise RefusedError("not_utf8", f"{error.reason} at byte {error.start}") from None
    except RecursionError:
        raise RefusedError("too_deep", f"nested deeper than {MAX_DEPTH} levels") from None
    except msgspec.ValidationError:
        raise RefusedError("not_an_event", "a CloudEvent is a JSON object") from None
    except msgspec.DecodeError as error:
        if _has_lone_surrogate(line):
            raise RefusedError("lone_surrogate", "half of a surrogate pair in a string") from None
        raise RefusedError("not_json", str(error)) from None
    if line.count(b"[") + line.count(b"{") > MAX_DEPTH and _depth(line) > MAX_DEPTH:
        raise RefusedError("too_deep", f"nested deeper than {MAX_DEPTH} levels")
    if b"\\u0000" in line and _NUL.search(line):
        raise RefusedError("nul_character", "\\u0000 in a string, which PostgreSQL cannot store")
    return attributes


def _has_lone_surrogate(line: bytes) -> bool:
    with suppress(ValueError, RecursionError):
        text = json.dumps(json.loads(line), ensure_ascii=False)  # json lets them pass
        return any("\ud800" <= character <= "\udfff" for character in text)
    return False


def _depth(line: bytes) -> int:
    deepest = depth = 0
    for token in _STRING_OR_BRACKET.findall(line):
        if token in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif token in b"]}":
            depth -= 1
    return deepest


def _take(attributes: Attributes, name: str) -> str | None:
    """Remove an attribute of text; None where it is absent or null, which mean the same."""
    try:
        return _text.decode(attributes.pop(name, _NULL))
    except msgspec.ValidationError:
        raise RefusedError("not_an_event", f"{name} must be a string") from None


def _required(attributes: Attributes, name: str) -> str:
    value = _take(attributes, name)
    if not value:
        raise RefusedError("not_an_event", f"{name} is {'missing' if value is None else 'empty'}")
    return value


def _order_id(attributes: Attributes) -> UUID:
    try:
        order_id = _uuid.decode(attributes.pop("subject", _NULL))
    except msgspec.ValidationError:
        order_id = None
    if order_id is None:
        raise RefusedError("bad_subject", "subject must be the id of the order, a UUID")
    return order_id


def _created_at(attributes: Attributes) -> int | None:
    given = attributes.pop("time", _NULL)
    try:
        at = _time.decode(given)
    except msgspec.ValidationError:
        at = _leap_second(bytes(given))
    if at is None:
        return None
    if at.tzinfo is not None:
        ms = to_ms(at)
        if _EARLIEST <= ms <= _LATEST:
            return ms
    raise _bad_time(bytes(given))


def _leap_second(given: bytes) -> datetime:
    """RFC 3339 has the 60th second of some minutes, Python has not: it is the first of the next one."""
    earlier, found = _LEAP_SECOND.subn(rb"\1:59", given)
    try:
        if found and (at := _time.decode(earlier)):
            return at + timedelta(seconds=1)
    except (msgspec.ValidationError, OverflowError):
        pass
    raise _bad_time(given)


def _bad_time(given: bytes) -> RefusedError:
    return RefusedError(
        "bad_time", f'{given[:60].decode(errors="replace")} is not RFC 3339, such as "2026-03-03T12:00:00Z"'
    )


def _data(attributes: Attributes) -> bytes:
    """The payload as it came. ``datacontenttype`` stays if it says more than that this is JSON."""
    if "data_base64" in attributes:
        raise RefusedError("not_json_data", "the payload must be JSON in data, not data_base64")
    content_type = _take(attributes, "datacontenttype")
    if content_type not in (None, "application/json"):
        media_type = content_type.partition(";")[0].strip().lower()
        if not media_type.endswith(("/json", "+json")):
            raise RefusedError("not_json_data", f"datacontenttype is {content_type[:100]!r}, not JSON")
        attributes["datacontenttype"] = msgspec.Raw(msgspec.json.encode(content_type))
    if "data" not in attributes:
        raise RefusedError("bad_payload", "data is missing")
    return bytes(attributes.pop("data"))


def _schema_version(attributes: Attributes) -> int | None:
    """The version of the payload; it becomes ``schema_version`` of the metadata, an integer."""
    if "schema_version" in attributes:
        raise RefusedError("not_an_event", "schema_version is no CloudEvents name: call it schemaversion")
    given = bytes(attributes.pop("schemaversion", _NULL))
    if given == b"null":
        return None
    integer = _INTEGER.fullmatch(given)
    if integer is None:
        raise RefusedError("bad_payload", "schemaversion must be a positive integer")
    attributes["schema_version"] = msgspec.Raw(integer[1])
    return int(integer[1])


def _metadata(attributes: Attributes) -> str:
    """What is left of the attributes, as JSON, so that nothing of an event is lost."""
    kept = {name: value for name, value in attributes.items() if bytes(value) != b"null"}
    for name, value in kept.items():
        try:
            _anything.decode(value)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            raise RefusedError("not_an_event", f"{name[:100]}: {error}") from None
    return msgspec.json.encode(kept).decode()
