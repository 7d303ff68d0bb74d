"""The Python API."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID, uuid4

import pytest

import eventstore
from eventstore import Fact, OrderCancelled, OrderCreated, OrderPaid, OrderShipped, Store
from eventstore.kernel.codec import PayloadError

CUSTOMER = UUID(int=7)
CREATED = OrderCreated(customer_id=CUSTOMER, amount=Decimal("12.50"), currency="EUR")
PAID = OrderPaid(amount=Decimal("12.50"), currency="EUR")


def test_append_returns_what_was_recorded(store: Store) -> None:
    order, before = uuid4(), datetime.now(UTC)
    created, paid = store.append(order, [CREATED, PAID])
    assert (created.version, paid.version) == (1, 2)
    assert created.id < paid.id
    assert created.event == CREATED
    assert abs((created.recorded_at - before).total_seconds()) < 60
    assert [event.event for event in store.stream(order)] == [CREATED, PAID]


def test_current_holds_every_append_that_has_returned(store: Store) -> None:
    order = uuid4()
    assert store.current(order) is None
    store.append(order, CREATED)
    state = store.current(str(order))
    assert state is not None
    assert (state.customer_id, state.amount, state.status, state.version) == (
        CUSTOMER,
        Decimal("12.50"),
        "Created",
        1,
    )
    store.append(order, [PAID, OrderShipped()])
    state = store.current(order)
    assert state is not None
    assert (state.status, state.version) == ("Shipped", 3)


def test_a_wrong_expected_version_names_the_version_found(store: Store) -> None:
    order = uuid4()
    store.append(order, [CREATED], expected_version=0)
    with pytest.raises(eventstore.ConcurrencyError, match="is at version 1, expected 0") as caught:
        store.append(order, [PAID], expected_version=0)
    assert (caught.value.found, caught.value.expected, caught.value.order_id) == (1, 0, order)
    assert len(store.stream(order)) == 1


def test_of_concurrent_writers_that_expect_the_same_version_one_wins(store: Store) -> None:
    order = uuid4()
    store.append(order, CREATED)

    def pay(_: int) -> bool:
        try:
            store.append(order, PAID, expected_version=1)
        except eventstore.ConcurrencyError:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(pay, range(16))) == 1
    assert [event.version for event in store.stream(order)] == [1, 2]


def test_a_retry_with_the_same_identity_returns_the_first_recording(store: Store) -> None:
    order, fact = uuid4(), Fact(PAID, source="/shop", source_id="42", metadata={"actor": "ann"})
    (first,) = store.append(order, fact)
    (again,) = store.append(order, fact)
    (later,) = store.append(order, fact, expected_version=0)
    assert first == again == later
    assert first.metadata == {"actor": "ann"}
    assert len(store.stream(order)) == 1


def test_a_fact_says_when_it_happened(store: Store) -> None:
    order, at = uuid4(), datetime(2026, 3, 3, 12, 0, 0, 123_999, tzinfo=UTC)
    (recorded,) = store.append(order, Fact(PAID, at=at))
    assert recorded.happened_at == datetime(2026, 3, 3, 12, 0, 0, 123_000, tzinfo=UTC)


def test_details_are_kept_with_the_payload(store: Store) -> None:
    order = uuid4()
    (recorded,) = store.append(order, Fact(CREATED, details={"items": [{"sku": "a1", "quantity": 2}]}))
    assert recorded.event == CREATED
    assert recorded.data == {
        "items": [{"sku": "a1", "quantity": 2}],
        "customer_id": str(CUSTOMER),
        "amount": "12.50",
        "currency": "EUR",
    }


def test_the_feed_is_read_page_by_page_without_gaps(store: Store) -> None:
    appended = [store.append(uuid4(), PAID)[0].id for _ in range(25)]
    seen: list[UUID] = []
    after = None
    while page := store.read(after, limit=10):
        seen += [event.id for event in page]
        after = seen[-1]
    assert seen == sorted(appended)


@pytest.mark.parametrize("amount", ["12.345", "100000000.00", "NaN", "Infinity", "abc", ""])
def test_an_amount_that_does_not_fit_is_refused_when_the_event_is_made(amount: str) -> None:
    with pytest.raises(ValueError, match=r"does not fit DECIMAL\(10,2\)"):
        OrderPaid(amount=amount, currency="EUR")  # type: ignore[arg-type]


def test_a_float_is_refused() -> None:
    with pytest.raises(TypeError, match="decimal string"):
        OrderPaid(amount=12.5, currency="EUR")  # type: ignore[arg-type]


def test_a_wrong_field_is_refused_and_nothing_is_appended(store: Store) -> None:
    order = uuid4()
    for currency in ("euro", "eur", "EU1", "ÉUR", "", None):
        with pytest.raises(ValueError, match="three capital letters"):
            OrderPaid(amount=Decimal(1), currency=currency)  # type: ignore[arg-type]
    with pytest.raises(PayloadError, match="reason"):
        store.append(order, [CREATED, OrderCancelled(reason=5)])  # type: ignore[arg-type]
    with pytest.raises(PayloadError, match="customer_id"):
        store.append(order, OrderCreated(customer_id="c1", amount=Decimal(1), currency="EUR"))  # type: ignore[arg-type]
    assert store.stream(order) == []


def test_an_order_id_that_is_no_uuid_is_named(store: Store) -> None:
    with pytest.raises(ValueError, match='"order-1" is not a UUID'):
        store.current("order-1")


def test_connect_says_what_is_missing(new_database: Callable[..., str]) -> None:
    with pytest.raises(eventstore.DatabaseUnavailableError, match="eventstore init"):
        eventstore.connect(new_database(migrated=False))
    with pytest.raises(eventstore.DatabaseUnavailableError, match="cannot connect"):
        eventstore.connect("postgresql://nobody@localhost:1/nothing")
