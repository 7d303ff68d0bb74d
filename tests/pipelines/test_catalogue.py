"""What the page of an asset shows before its first run: the comments of the database, and origins."""

from typing import Any

import dagster as dg
import psycopg
import pytest

from eventstore.server import settings
from eventstore.server.errors import ServerError
from pipelines import catalogue, metadata
from pipelines.definitions import build_defs

_WITHOUT_COMMENT = """
    SELECT c.relname || coalesce('.' || a.attname, '')
      FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
       AND NOT c.relispartition
       AND a.attname IS NOT NULL AND col_description(c.oid, a.attnum) IS NULL
    UNION ALL
    SELECT c.relname FROM pg_class c
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
       AND NOT c.relispartition
       AND obj_description(c.oid, 'pg_class') IS NULL
     ORDER BY 1"""
_COLUMNS = """
    SELECT attname, format_type(atttypid, atttypmod), col_description(attrelid, attnum) FROM pg_attribute
     WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""
Shown = list[tuple[str, str | None, str]]


@pytest.fixture(scope="module")
def specs() -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in build_defs().resolve_all_asset_specs()}


def shown(schema: dg.TableSchema) -> Shown:
    return [(column.name, column.type, column.description or "") for column in schema.columns]


def test_every_table_view_and_column_says_what_it_is(connection: psycopg.Connection[Any]) -> None:
    assert [name for (name,) in connection.execute(_WITHOUT_COMMENT)] == []


def test_the_page_of_each_asset_shows_the_columns_and_comments_of_the_database_before_and_after_a_run(
    connection: psycopg.Connection[Any], specs: dict[str, dg.AssetSpec]
) -> None:
    for name, spec in specs.items():
        assert "dagster/column_schema" in spec.metadata, f"{name}: run `make docs`"
        table = str(spec.metadata["dagster/table_name"]).removeprefix("public.")
        there = connection.execute(_COLUMNS, (table,)).fetchall()
        before = shown(spec.metadata["dagster/column_schema"])
        columns = [column for column in before if "." not in column[0]]
        assert [column[:2] for column in columns] == [row[:2] for row in there], name
        for (column, _, description), (_, _, comment) in zip(columns, there, strict=True):
            assert description.startswith(comment), (name, column)
        # A run describes the table as it is then.
        assert shown(metadata.table(connection, table)["dagster/column_schema"]) == before, name


def test_each_asset_has_links_into_the_docs_that_are_there(specs: dict[str, dg.AssetSpec]) -> None:
    for name, spec in specs.items():
        pages = [spec.metadata[key].value for key in ("docs", "see_also") if key in spec.metadata]
        assert pages, name
        for page in pages:
            assert (catalogue.ROOT / str(page)).is_file(), (name, page)


def test_the_docs_are_a_url_where_the_package_names_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Said:
        @staticmethod
        def get_all(_: str) -> list[str]:
            return ["Documentation, https://docs.example.com/eventstore/"]

    monkeypatch.setattr(catalogue, "metadata", lambda _: Said)
    assert catalogue.link("docs/seals.md") == dg.MetadataValue.url(
        "https://docs.example.com/eventstore/docs/seals.md"
    )


def made_of(spec: dg.AssetSpec, column: str) -> set[str]:
    lineage = spec.metadata["dagster/column_lineage"].deps_by_column
    return {f"{dep.asset_key.to_user_string()}.{dep.column_name}" for dep in lineage[column]}


@pytest.mark.parametrize(
    ("asset", "column", "origins"),
    [
        ("orders", "paid_amount", {"order_events.OrderPaid.amount"}),
        (
            "orders",
            "amount",
            {"order_events.OrderCreated.amount", "order_events.OrderAmountCorrected.amount"},
        ),
        ("orders", "customer_id", {"order_events.OrderCreated.customer_id"}),
        ("orders_replay", "customer_id", {"order_events.OrderCreated.customer_id"}),
        ("orders", "shipped_at", {"order_events.created_at", "order_events.event_type"}),
        ("order_history", "recorded_from", {"order_events.id"}),
        ("order_snapshots", "refunded_amount", {"order_events.OrderRefunded.amount"}),
        ("customers", "lifetime_value", {"orders.paid_amount", "orders.refunded_amount"}),
        ("customers", "last_order_at", {"orders.placed_at"}),
        ("daily_order_metrics", "shipped", {"orders.shipped_at"}),
        ("daily_order_metrics", "revenue", {"order_events.event_data", "order_events.event_type"}),
        ("order_counts", "facet", {"orders.status", "orders.anomalies", "orders.unknown_events"}),
    ],
)
def test_a_column_says_what_it_is_made_of(
    specs: dict[str, dg.AssetSpec], asset: str, column: str, origins: set[str]
) -> None:
    assert made_of(specs[asset], column) == origins
    [description] = [
        each.description or ""
        for each in specs[asset].metadata["dagster/column_schema"].columns
        if each.name == column
    ]
    for origin in origins:
        assert origin.removeprefix("order_events.") in description


def test_each_field_of_an_event_stands_among_the_columns_of_the_log(specs: dict[str, dg.AssetSpec]) -> None:
    names = {column.name for column in specs["order_events"].metadata["dagster/column_schema"].columns}
    for spec in specs.values():
        if "dagster/column_lineage" in spec.metadata:
            for column in spec.metadata["dagster/column_lineage"].deps_by_column:
                assert {
                    origin.removeprefix("order_events.")
                    for origin in made_of(spec, column)
                    if origin.startswith("order_events.")
                } <= names


def test_a_table_that_the_catalogue_does_not_know_yet_has_links_only() -> None:
    assert set(catalogue.about("not_yet_known", "docs/seals.md")) == {"docs"}
    assert catalogue.about("not_yet_known") == {}


def test_owners_are_those_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "eventstore.toml").write_text('owners = "team:shop, ann@example.com"')
    monkeypatch.setenv("EVENTSTORE_HOME", str(tmp_path))
    assert catalogue.owners() == ["team:shop", "ann@example.com"]
    (tmp_path / "eventstore.toml").write_text('owners = "somebody"')
    assert catalogue.owners()  # a file that says nonsense is complained of where it is read first
    with pytest.raises(ServerError, match="somebody"):
        settings.machine()
