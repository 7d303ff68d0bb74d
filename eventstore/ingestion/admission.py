"""What an event from outside must satisfy, whichever format brought it. Pure.

The reasons for which one is refused stand in the table ``rejects``: people look for them by name.
"""

import re
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from eventstore.ingestion.limits import MAX_DEPTH, MAX_NUMBER, has_nul, is_too_deep, long_number
from eventstore.ingestion.lines import MAX_LINE
from eventstore.kernel.codec import UNMARKED_VERSION, Codec, PayloadError
from eventstore.kernel.incoming import Format, Line, Proposed, RefusedError
from eventstore.kernel.recorded import to_ms
from eventstore.kernel.shown import shown

#: Of a payload, as the database has it.
MAX_VERSION = 999_999_999

#: Bytes of source and id together: both are in an index, whose entries PostgreSQL limits to 2,704 bytes.
MAX_IDENTITY = 2000

_EARLIEST = to_ms(datetime(1, 1, 1, tzinfo=UTC))
_LATEST = to_ms(datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC))

_VERSION = re.compile("[1-9][0-9]{0,8}")
_LEAP_SECOND = re.compile(r"^(.{10}.[0-9]{2}:[0-9]{2}):60", re.ASCII)


class StagedEvent(msgspec.Struct, frozen=True, gc=False):
    """An event that may go into the log."""

    order_id: str
    event_type: str
    data: str  #: the payload as it came
    created_at: int | None  #: business time, ms since 1970; None lets the database stamp it
    source: str
    source_id: str
    metadata: str  #: JSON of what has no column


def read_event(record: Line, form: Format, codec: Codec) -> StagedEvent:
    """The event in a record. Raises RefusedError where there is none for the log."""
    if record.size > MAX_LINE:
        raise RefusedError("too_long", f"{record.size} bytes, more than {MAX_LINE}")
    return admit(form.propose(record), codec)


def admit(given: Proposed, codec: Codec) -> StagedEvent:
    """The event ``given``, ready for the log. Raises RefusedError where it cannot be one."""
    event_type, source, source_id, data = given.type, given.source, given.id, given.data
    if not (event_type and source and source_id):
        raise RefusedError("not_an_event", "type, source and id must be there and not empty")
    identity = source + source_id
    if len(identity) > MAX_IDENTITY // 4 or "\0" in identity or not identity.isascii():
        _check_identity(identity)
    if event_type not in codec.types:
        raise RefusedError("unknown_type", f"{shown(event_type)}; known: {', '.join(codec.types)}")
    order_id = _order_id(given.subject)
    created_at = None if given.time is None else _ms(given.time)
    version = UNMARKED_VERSION if given.version is None else _version(given.version)
    if not data:
        raise RefusedError("bad_payload", "data is missing")
    metadata = b"{}"
    if given.metadata or given.version is not None:
        metadata = _metadata(given, version)
        _check_limits(data + metadata)
    else:
        _check_limits(data)
    try:
        codec.check(event_type, data, version)
    except PayloadError as error:
        raise RefusedError("bad_payload", str(error)) from None
    return StagedEvent(order_id, event_type, data.decode(), created_at, source, source_id, metadata.decode())


def _check_identity(identity: str) -> None:
    """What is rarely wrong."""
    if "\0" in identity:
        raise RefusedError("nul_character", "a NUL in source or id, which PostgreSQL cannot store")
    try:
        length = len(identity.encode())
    except UnicodeEncodeError:
        raise RefusedError("lone_surrogate", "half of a surrogate pair in source or id") from None
    if length > MAX_IDENTITY:
        raise RefusedError("not_an_event", f"source and id have {length} bytes, more than {MAX_IDENTITY}")


def _check_limits(json: bytes) -> None:
    if is_too_deep(json):
        raise RefusedError("too_deep", f"nested deeper than {MAX_DEPTH} levels")
    if number := long_number(json):
        raise RefusedError(
            "bad_payload", f"the number {number[:20]}… has over {MAX_NUMBER} digits, or is no double"
        )
    if has_nul(json):
        raise RefusedError("nul_character", "\\u0000 in a string, which PostgreSQL cannot store")


def _order_id(subject: object) -> str:
    if isinstance(subject, UUID):
        return str(subject)
    if subject is None:
        raise RefusedError("bad_subject", "subject must be the id of the order, a UUID; it is missing")
    try:
        return str(msgspec.convert(subject, UUID))
    except (msgspec.ValidationError, UnicodeEncodeError):
        raise RefusedError(
            "bad_subject", f"subject must be the id of the order, a UUID; found {shown(subject)}"
        ) from None


def _ms(time: object) -> int:
    at, leap = (time, 0) if isinstance(time, datetime) else _read_time(time)
    ms = to_ms(at) + leap
    if at.tzinfo is None or not _EARLIEST <= ms <= _LATEST:
        raise _bad_time(str(time))
    return ms


def _read_time(given: object) -> tuple[datetime, int]:
    """A time, and by how many milliseconds it is later than Python can say.

    RFC 3339 has the 60th second of some minutes, Python has not: it is the first of the next minute.
    """
    if not isinstance(given, str):
        raise _bad_time(given)
    earlier, leaps = _LEAP_SECOND.subn(r"\1:59", given, count=1)
    try:
        return msgspec.convert(earlier, datetime), 1000 * leaps
    except (msgspec.ValidationError, UnicodeEncodeError):
        raise _bad_time(given) from None


def _bad_time(given: object) -> RefusedError:
    return RefusedError("bad_time", f'{shown(given)} is not RFC 3339, such as "2026-03-03T12:00:00Z"')


def _version(given: int | str) -> int:
    """CloudEvents lets integers be given as a number or as a string; a table has only strings."""
    if not (_VERSION.fullmatch(given) if isinstance(given, str) else 1 <= given <= MAX_VERSION):
        raise RefusedError("bad_payload", f"schemaversion must be a positive integer, found {shown(given)}")
    return int(given)


def _metadata(given: Proposed, version: int) -> bytes:
    if "schema_version" in given.metadata:
        raise RefusedError("not_an_event", "schema_version is the version of the payload, no metadata")
    mark = {} if given.version is None else {"schema_version": version}
    try:
        return msgspec.json.encode({**given.metadata, **mark})
    except UnicodeEncodeError:
        raise RefusedError("lone_surrogate", "half of a surrogate pair in the metadata") from None
    except RecursionError:
        raise RefusedError("too_deep", f"nested deeper than {MAX_DEPTH} levels") from None
