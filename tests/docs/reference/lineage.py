"""Which column is made of what, found by experiment: change one thing, and see which columns follow.

What a statement selects from tables that are there is asked of sqlglot.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import psycopg
import sqlglot
from msgspec import inspect as kinds
from sqlglot import exp
from sqlglot.lineage import lineage

from eventstore.engine.derived import Derived
from eventstore.engine.domain import Domain
from eventstore.engine.projection import Projection
from eventstore.kernel.folding import advance
from eventstore.kernel.recorded import UndecodedEvent

Connection = psycopg.Connection[Any]
#: By table and column: a table with a column of it, or with a field of an event, such as OrderPaid.amount.
Lineage = dict[str, dict[str, list[tuple[str, str]]]]

LOG = "order_events"
_ORDER = UUID(int=1)
_HOUR = 3_600_000
_UNKNOWN = "SomethingElse"
#: Values that a field of a type may have, as JSON: the first two that a field takes. The words are also
#: currencies. Whoever constrains a field more says two in ``Meta(examples=[…])``.
_VALUES: dict[type[kinds.Type], tuple[Any, ...]] = {
    kinds.DecimalType: ("12.00", "17.00"),
    kinds.UUIDType: (str(UUID(int=7)), str(UUID(int=8))),
    kinds.StrType: ("EUR", "USD"),
    kinds.IntType: (3, 4, 30, 40, 3000, 4000, 0, -3, -4),
    kinds.FloatType: (3.5, 4.5, 0.25, 0.5, 3000.5, 4000.5, -3.5, -4.5),
    kinds.BoolType: (False, True),
    kinds.DateTimeType: ("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"),
    kinds.DateType: ("2026-03-01", "2026-03-02"),
    kinds.TimeType: ("10:00:00", "11:00:00"),
    kinds.TimeDeltaType: ("PT1H", "PT2H"),
    kinds.AnyType: ("one", "another"),
}
#: The same in SQL, as JSON.
_SQL_VALUES: dict[str, tuple[Any, Any]] = {
    "uuid": (str(UUID(int=7)), str(UUID(int=8))),
    "numeric": ("12.00", "17.00"),
    "text": ("EUR", "USD"),
    "character varying": ("EUR", "USD"),
    "smallint": (3, 4),
    "integer": (3, 4),
    "bigint": (3, 4),
    "real": (3.5, 4.5),
    "double precision": (3.5, 4.5),
    "boolean": (False, True),
    "date": ("2026-03-01", "2026-03-02"),
    "timestamp with time zone": ("2026-03-01T10:00:00Z", "2026-03-02T11:00:00Z"),
    "time without time zone": ("10:00", "11:00"),
    "interval": ("1 hour", "2 hours"),
    "text[]": (["one"], ["another"]),
    "jsonb": ({"one": 1}, {"another": 2}),
}
_PLACEHOLDER = re.compile(r"%\(\w+\)s")
#: Columns that tables have beside the fields of a state: what of the log they tell.
_BESIDE_STATES = {
    "valid_from": "created_at",
    "valid_to": "created_at",
    "recorded_from": "id",
    "recorded_to": "id",
    "day": "created_at",
    "until_at": "created_at",
    "until_version": "version",
    "events": "version",
}


class _Change(NamedTuple):
    """An event in which one thing is another than before."""

    of: str  #: a column of the log, or a field of the event as `OrderPaid.amount`
    events: list[UndecodedEvent]


def lineages(connection: Connection, domain: Domain[Any], snapshots: str) -> Lineage:
    """The lineage of every table that is made from the log."""
    found: Lineage = {}
    for projection in domain.projections:
        found[projection.name] = found[f"{projection.name}_candidate"] = of_projection(projection)
    beside = ("day", "until_at", "until_version", "events")
    found[snapshots] = {
        **_of_states(domain.states),
        **{name: [(LOG, _BESIDE_STATES[name])] for name in beside},
    }
    for derived in domain.derived:
        found[derived.name] = _of_derived(connection, derived)
    return found


def of_projection(projection: Projection[Any]) -> dict[str, list[tuple[str, str]]]:
    """Which columns of its table are made of what."""
    beside = {
        name: [(LOG, _BESIDE_STATES[name])] for name in projection.layout.columns if name in _BESIDE_STATES
    }
    return {**_of_states(projection), **beside}


def _of_states(projection: Projection[Any]) -> dict[str, list[tuple[str, str]]]:
    """Change one thing of one event at a time, and see which columns follow."""
    follow: dict[str, set[str]] = {name: set() for name in projection.columns}
    for events in _stories(projection):
        before = _folded(projection, events)
        for change in _changes(projection, events):
            after = _folded(projection, change.events)
            for name, of in follow.items():
                if before[name] != after[name]:
                    of.add(change.of)
        for number, event in enumerate(events):
            other = msgspec.structs.replace(event, event_type=_UNKNOWN)
            after = _folded(projection, [*events[:number], other, *events[number + 1 :]])
            for name, of in follow.items():
                if before[name] != after[name] and not any(
                    each.startswith(f"{event.event_type}.") for each in of
                ):
                    of.add("event_type")
    return {name: [(LOG, each) for each in sorted(of)] for name, of in follow.items() if of}


def _folded(projection: Projection[Any], events: Sequence[UndecodedEvent]) -> dict[str, Any]:
    state = projection.initial(events[0].order_id if events else _ORDER)
    for event in events:
        advance(projection.current, state, event)
    return {name: getattr(state, name) for name in projection.columns}


def _stories(projection: Projection[Any]) -> Iterator[list[UndecodedEvent]]:
    """Each type of event alone, and all of them in some orders."""
    names = list(projection.events.types)
    for story in (names, names[::-1], *([name] for name in names)):
        yield [_event(projection, name, number) for number, name in enumerate(story, 1)]


def _event(projection: Projection[Any], name: str, version: int) -> UndecodedEvent:
    data = {field.encode_name: values[0] for field, values in _fields(projection, name)}
    event = projection.events.fold_event(
        name, UUID(int=version), _ORDER, version, version * _HOUR, _written(projection), _json(data)
    )
    try:
        assert event.event is not None
    except (msgspec.ValidationError, ValueError) as error:
        raise ValueError(
            f"no {name} could be made to see which columns follow from it ({error}): say values that its "
            "fields may have, as in Annotated[str, msgspec.Meta(examples=['one', 'another'])]"
        ) from None
    return event


def _changes(projection: Projection[Any], events: list[UndecodedEvent]) -> Iterator[_Change]:
    for number, event in enumerate(events):
        variants = [
            ("created_at", msgspec.structs.replace(event, created_at=event.created_at + 1)),
            ("id", msgspec.structs.replace(event, id=UUID(int=event.id.int + 1000))),
            ("version", msgspec.structs.replace(event, version=event.version + 1000)),
        ]
        for field, values in _fields(projection, event.event_type):
            data = msgspec.json.decode(event.data) | {field.encode_name: values[-1]}
            changed = msgspec.structs.replace(event, data=_json(data))
            variants.append((f"{event.event_type}.{field.encode_name}", changed))
        for of, variant in variants:
            yield _Change(of, [*events[:number], variant, *events[number + 1 :]])
    other = [msgspec.structs.replace(event, order_id=UUID(int=2)) for event in events]
    yield _Change("order_id", other)


def _fields(projection: Projection[Any], name: str) -> Iterator[tuple[msgspec.structs.FieldInfo, list[Any]]]:
    """Those of which values are known, with one or two of these."""
    for field in msgspec.structs.fields(projection.events.types[name]):
        values = [each for each in _values(kinds.type_info(field.type)) if _takes(field, each)]
        if values:
            yield field, values[:2]


def _values(kind: kinds.Type) -> Sequence[Any]:
    """Values that a field of this type may have, or some more."""
    found: Sequence[Any] = _VALUES.get(type(kind), ())
    match kind:
        case kinds.Metadata(type=of, extra_json_schema=said):
            found = (said or {}).get("examples") or _values(of)
        case kinds.UnionType(types=types):
            found = next((values for each in types if (values := _values(each))), ())
        case kinds.LiteralType(values=values):
            found = values
        case kinds.EnumType(cls=cls):
            found = [each.value for each in cls]
        case kinds.ListType() | kinds.VarTupleType() | kinds.SetType() | kinds.FrozenSetType():
            found = [[value] for value in _values(kind.item_type)]
        case kinds.DictType(value_type=of):
            found = [{"one": value} for value in _values(of)]
    return found


def _takes(field: msgspec.structs.FieldInfo, value: Any) -> bool:
    with suppress(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(value), type=field.type)
        return True
    return False


def _written(projection: Projection[Any]) -> str:
    return str(projection.events.payload_version)


def _json(data: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(data))


def _of_derived(connection: Connection, derived: Derived) -> dict[str, list[tuple[str, str]]]:
    """What a row of the source adds, by experiment; what a statement makes besides is asked of sqlglot."""
    columns = _columns(connection, derived.name)
    found = _by_experiment(connection, derived)
    for file in (derived.statement, derived.also):
        if file is not None:
            query = _selected(file.read_text(encoding="utf-8"))
            tables = (derived.source.name, derived.name, LOG, "quarantine")
            schema = {name: _columns(connection, name) for name in tables}
            for name in columns.keys() - found.keys():
                leaves = _leaves(name, query, schema)
                found[name] = {leaf for leaf in leaves if leaf[0] in (derived.source.name, LOG)}
    return {name: sorted(found[name]) for name in columns if found.get(name)}


def _by_experiment(connection: Connection, derived: Derived) -> dict[str, set[tuple[str, str]]]:
    source = derived.source.name
    noted = connection.execute(
        "SELECT adds, key, sums FROM change_queues WHERE name = %s", (derived.name,)
    ).fetchone()
    assert noted is not None, derived.name
    adds, key, sums = noted
    types = _columns(connection, source)
    row = {name: _SQL_VALUES[kind][0] for name, kind in types.items() if kind in _SQL_VALUES}
    shown = [f"array_agg(DISTINCT {name}::text ORDER BY {name}::text)" for name in key]
    shown += [f"sum({name})" for name in sums]
    query = (
        f"WITH changed AS (SELECT * FROM jsonb_populate_record(NULL::{source}, %s::jsonb)) "
        f"SELECT {', '.join(shown)} FROM ({adds}) AS added WHERE num_nulls({', '.join(key)}) = 0"
    )

    def added(of: dict[str, Any]) -> dict[str, Any]:
        values = connection.execute(query.encode(), (msgspec.json.encode(of).decode(),)).fetchone()
        return dict(zip((*key, *sums), values or (), strict=True))

    before = added(row)
    found: dict[str, set[tuple[str, str]]] = {}
    for variant in (1, None):  # another value; and where that shows nothing, none
        follow: dict[str, set[tuple[str, str]]] = {}
        for name in row:
            other = None if variant is None else _SQL_VALUES[types[name]][variant]
            after = added(row | {name: other})
            for column in (*key, *sums):
                if before[column] != after[column]:
                    follow.setdefault(column, set()).add((source, name))
        found = follow | found
    return found


def _selected(statement: str) -> str:
    """The query in it; of one that inserts, with the names of the columns that it fills."""
    parsed = sqlglot.parse_one(_PLACEHOLDER.sub("NULL", statement), dialect="postgres")
    if not isinstance(parsed, exp.Insert):
        return parsed.sql("postgres")
    query = parsed.expression.copy()
    names = [column.name for column in parsed.this.expressions]
    aliased = [exp.alias_(each, name) for each, name in zip(query.expressions, names, strict=True)]
    query.set("expressions", aliased)
    for cte in parsed.ctes:
        if isinstance(cte.this, exp.Query):
            query = query.with_(cte.alias, as_=cte.this)
    return str(query.sql("postgres"))


def _leaves(column: str, query: str, schema: dict[str, dict[str, str]]) -> Iterator[tuple[str, str]]:
    for node in lineage(column, query, schema=schema, dialect="postgres").walk():
        if not node.downstream and isinstance(node.expression, exp.Table):
            yield node.expression.name, node.name.rpartition(".")[2]


def _columns(connection: Connection, table: str) -> dict[str, str]:
    return dict(
        connection.execute(
            "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute "
            "WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            (table,),
        ).fetchall()
    )
