"""One line of a file as an event for the log, or the reason why it is none. Pure."""

import codecs
import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from eventstore.ingestion.limits import MAX_DEPTH, MAX_NUMBER, is_too_deep, long_number
from eventstore.ingestion.lines import MAX_LINE, Line
from eventstore.kernel.codec import UNMARKED_VERSION, Codec, PayloadError
from eventstore.kernel.recorded import to_ms
from eventstore.kernel.shown import shown

#: Bytes of source and id together: both are in an index, whose entries PostgreSQL limits to 2,704 bytes.
MAX_IDENTITY = 2000

_EARLIEST = to_ms(datetime(1, 1, 1, tzinfo=UTC))
_LATEST = to_ms(datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC))

_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")  # "\\u0000" is a backslash and five letters
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_LEAP_SECOND = re.compile(rb'^("[^"]{10}.[0-9]{2}:[0-9]{2}):60')


class _Envelope(msgspec.Struct):
    """The attributes that have a meaning here. Absent and null mean the same."""

    specversion: str | None = None
    id: str | None = None
    source: str | None = None
    type: str | None = None
    subject: UUID | None = None
    time: datetime | None = None
    datacontenttype: str | None = None
    schemaversion: int | str | None = None
    data: msgspec.Raw = msgspec.Raw(b"")


Attributes = dict[str, msgspec.Raw]
_envelope = msgspec.json.Decoder(_Envelope)
_attributes: msgspec.json.Decoder[Attributes] = msgspec.json.Decoder(Attributes)
_anything: msgspec.json.Decoder[object] = msgspec.json.Decoder()
_MEANINGFUL = frozenset(_Envelope.__struct_fields__)


class StagedEvent(msgspec.Struct, frozen=True, gc=False):
    """An event ready for the log."""

    order_id: str
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


def parse_line(line: Line, codec: Codec) -> StagedEvent:
    """The event in a line of a file. Raises RefusedError where there is none for the log."""
    if line.size > MAX_LINE:
        raise RefusedError("too_long", f"{line.size} bytes, more than {MAX_LINE}")
    return parse(line.raw.removeprefix(codecs.BOM_UTF8) if line.number == 1 else line.raw, codec)


def parse(line: bytes, codec: Codec) -> StagedEvent:
    """The event that ``line``, a CloudEvent 1.0 in JSON, stands for.

    Raises RefusedError where it cannot be an event of the log.
    """
    try:
        envelope, others = _decode(line)
    except msgspec.ValidationError as error:
        return _with_leap_second(line, codec, str(error))
    if envelope.specversion != "1.0":
        raise RefusedError("not_an_event", f'specversion must be "1.0", found {shown(envelope.specversion)}')
    event_type, source, source_id = envelope.type, envelope.source, envelope.id
    if not (event_type and source and source_id):
        raise RefusedError("not_an_event", "type, source and id must be there and not empty")
    if len(source) + len(source_id) > MAX_IDENTITY // 4:  # no character takes more than 4 bytes
        length = len(source.encode()) + len(source_id.encode())
        if length > MAX_IDENTITY:
            raise RefusedError("not_an_event", f"source and id have {length} bytes, more than {MAX_IDENTITY}")
    if event_type not in codec.types:
        raise RefusedError("unknown_type", f"{shown(event_type)}; known: {', '.join(codec.types)}")
    if envelope.subject is None:
        raise RefusedError("bad_subject", "subject must be the id of the order, a UUID; it is missing")
    created_at = None if envelope.time is None else _ms(envelope.time)
    if envelope.datacontenttype not in (None, "application/json"):
        others["datacontenttype"] = _json_type(envelope.datacontenttype)
    version = UNMARKED_VERSION
    if envelope.schemaversion is not None:
        version = _version(envelope.schemaversion)
        others["schema_version"] = msgspec.Raw(b"%d" % version)
    data = bytes(envelope.data)
    if not data:
        raise RefusedError("bad_payload", "data is missing")
    try:
        codec.check(event_type, data, version)
    except PayloadError as error:
        raise RefusedError("bad_payload", str(error)) from None
    metadata = msgspec.json.encode(others).decode() if others else "{}"
    return StagedEvent(
        str(envelope.subject), event_type, data.decode(), created_at, source, source_id, metadata
    )


def _decode(line: bytes) -> tuple[_Envelope, Attributes]:
    """The attributes of ``line``, which is then known to be UTF-8, well formed, and fit for jsonb.

    Raises RefusedError, or ValidationError where an attribute is not of its type.
    """
    try:
        if not line.isascii():
            line.decode()
        envelope = _envelope.decode(line)
        attributes = _attributes.decode(line)
        others = _others(attributes)
    except UnicodeDecodeError as error:
        raise RefusedError("not_utf8", f"{error.reason} at byte {error.start}") from None
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, RecursionError) as error:
        raise _malformed(line, error) from None
    if is_too_deep(line):
        raise RefusedError("too_deep", f"nested deeper than {MAX_DEPTH} levels")
    if number := long_number(line):
        raise RefusedError(
            "bad_payload", f"the number {number[:20]}… has over {MAX_NUMBER} digits, or is no double"
        )
    if b"\\" in line and b"\\u0000" in line and _NUL.search(line):
        raise RefusedError("nul_character", "\\u0000 in a string, which PostgreSQL cannot store")
    return envelope, others


def _others(attributes: Attributes) -> Attributes:
    """The attributes that have no meaning here: kept as metadata, so that nothing of an event is lost."""
    others = {name: value for name, value in attributes.items() if name not in _MEANINGFUL}
    if not others:
        return others
    if "data_base64" in others:
        raise RefusedError("not_json_data", "the payload must be JSON in data, not data_base64")
    if "schema_version" in others:
        raise RefusedError("not_an_event", "schema_version is no CloudEvents name: call it schemaversion")
    for name, value in list(others.items()):
        try:
            if _anything.decode(value) is None:
                del others[name]
        except msgspec.ValidationError as error:
            raise RefusedError("not_an_event", f"{shown(name)}: {error}") from None
    return others


def _malformed(line: bytes, error: Exception) -> RefusedError:
    if isinstance(error, RecursionError):
        return RefusedError("too_deep", f"nested deeper than {MAX_DEPTH} levels")
    if _has_lone_surrogate(line):
        return RefusedError("lone_surrogate", "half of a surrogate pair in a string")
    return RefusedError("not_json", str(error))


def _has_lone_surrogate(line: bytes) -> bool:
    with suppress(ValueError, RecursionError):
        text = json.dumps(json.loads(line), ensure_ascii=False)  # json lets them pass
        return any("\ud800" <= character <= "\udfff" for character in text)
    return False


def _ms(at: datetime) -> int:
    ms = to_ms(at)
    if at.tzinfo is None or not _EARLIEST <= ms <= _LATEST:
        raise _bad_time(shown(str(at)))
    return ms


def _bad_time(given: str) -> RefusedError:
    return RefusedError("bad_time", f'{given} is not RFC 3339, such as "2026-03-03T12:00:00Z"')


def _with_leap_second(line: bytes, codec: Codec, problem: str) -> StagedEvent:
    """The event of a line that has a problem with its envelope, if that is only a leap second.

    RFC 3339 has the 60th second of some minutes, Python has not: it is the first of the next minute.
    """
    if not problem.endswith("`$.time`"):
        reason = "bad_subject" if problem.endswith("`$.subject`") else "not_an_event"
        raise RefusedError(reason, problem)
    try:
        attributes = _attributes.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:  # what comes after the time was not read yet
        raise _malformed(line, error) from None
    time = bytes(attributes["time"])
    earlier, found = _LEAP_SECOND.subn(rb"\1:59", time)
    if found:
        attributes["time"] = msgspec.Raw(earlier)
        event = parse(msgspec.json.encode(attributes), codec)
        if event.created_at is not None and event.created_at + 1000 <= _LATEST:
            return msgspec.structs.replace(event, created_at=event.created_at + 1000)
    raise _bad_time(shown(time))


def _json_type(content_type: str) -> msgspec.Raw:
    media_type = content_type.partition(";")[0].strip().lower()
    if not media_type.endswith(("/json", "+json")):
        raise RefusedError("not_json_data", f"datacontenttype is {shown(content_type)}, not JSON")
    return msgspec.Raw(msgspec.json.encode(content_type))


def _version(given: int | str) -> int:
    """CloudEvents lets integers be given as a number or as a string."""
    if not _VERSION.fullmatch(str(given)):
        raise RefusedError("bad_payload", f"schemaversion must be a positive integer, found {shown(given)}")
    return int(given)
