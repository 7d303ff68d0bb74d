"""CloudEvents 1.0 in JSON, one in a line."""

import codecs
import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from uuid import UUID

import msgspec

from eventstore.ingestion.limits import MAX_DEPTH
from eventstore.kernel.incoming import Line, Proposed, RefusedError
from eventstore.kernel.shown import shown

_NOTHING = msgspec.Raw(b"")


class _Envelope(msgspec.Struct, gc=False):
    """The attributes that have a meaning here. Absent and null mean the same."""

    specversion: str | None = None
    id: str | None = None
    source: str | None = None
    type: str | None = None
    subject: UUID | None = None
    time: datetime | None = None
    datacontenttype: str | None = None
    schemaversion: int | str | None = None
    data: msgspec.Raw = _NOTHING


class _AnyEnvelope(_Envelope):
    """One whose subject or time is not what it should be."""

    subject: msgspec.Raw = _NOTHING  # type: ignore[assignment]
    time: msgspec.Raw = _NOTHING  # type: ignore[assignment]


Attributes = dict[str, msgspec.Raw]
_envelope = msgspec.json.Decoder(_Envelope)
_any_envelope = msgspec.json.Decoder(_AnyEnvelope)
_attributes: msgspec.json.Decoder[Attributes] = msgspec.json.Decoder(Attributes)
_text: msgspec.json.Decoder[str | None] = msgspec.json.Decoder(str | None)
_anything: msgspec.json.Decoder[object] = msgspec.json.Decoder()
_MEANINGFUL = frozenset(_Envelope.__struct_fields__)


class CloudEvents:
    """The format of files of CloudEvents."""

    name = "cloudevents"
    description = "newline-delimited CloudEvents 1.0 JSON"
    suffixes = (".ndjson", ".jsonl")

    def records(self, lines: Iterator[Line]) -> Iterator[Line]:
        return lines

    def propose(self, record: Line) -> Proposed:
        line = record.raw.removeprefix(codecs.BOM_UTF8) if record.number == 1 else record.raw
        try:
            if not line.isascii():
                line.decode()
            envelope, subject, time = _read(line)
            others = _others(_attributes.decode(line))
        except UnicodeDecodeError as error:
            raise RefusedError("not_utf8", f"{error.reason} at byte {error.start}") from None
        except msgspec.ValidationError as error:
            raise RefusedError("not_an_event", str(error)) from None
        except (msgspec.DecodeError, RecursionError) as error:
            raise _malformed(line, error) from None
        if envelope.specversion != "1.0":
            raise RefusedError(
                "not_an_event", f'specversion must be "1.0", found {shown(envelope.specversion)}'
            )
        if envelope.datacontenttype not in (None, "application/json"):
            others["datacontenttype"] = _json_type(envelope.datacontenttype)
        return Proposed(
            envelope.type,
            envelope.source,
            envelope.id,
            subject,
            time,
            bytes(envelope.data),
            envelope.schemaversion,
            others,
        )


CLOUD_EVENTS = CloudEvents()


def _read(line: bytes) -> tuple[_Envelope, object, object]:
    """The attributes, subject and time apart: what these are if they are not what they should be."""
    try:
        envelope = _envelope.decode(line)
    except msgspec.ValidationError:
        odd = _any_envelope.decode(line)
        return odd, _text_or_other(odd.subject), _text_or_other(odd.time)
    return envelope, envelope.subject, envelope.time


def _text_or_other(value: msgspec.Raw) -> str | msgspec.Raw | None:
    try:
        return _text.decode(value) if bytes(value) else None
    except msgspec.ValidationError:
        return value


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


def _json_type(content_type: str) -> msgspec.Raw:
    media_type = content_type.partition(";")[0].strip().lower()
    if not media_type.endswith(("/json", "+json")):
        raise RefusedError("not_json_data", f"datacontenttype is {shown(content_type)}, not JSON")
    return msgspec.Raw(msgspec.json.encode(content_type))
