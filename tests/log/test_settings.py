"""The settings of a store are typed, documented, bounded, and the same for everybody."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from eventstore.log.settings import Policy, SettingError, change_setting, policy, settings

Connection = psycopg.Connection[Any]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("max_hold", "soon", "invalid input syntax"),
        ("max_hold", "1 second", "is between 10 seconds and 1 day"),
        ("max_hold", "2 days", "is between 10 seconds and 1 day"),
        ("max_hold", "", "invalid input syntax"),
        ("max_lag", "-1 minute", "is between 1 second and 1 day"),
        ("max_file_wait", "31 days", "is between 1 second and 30 days"),
        ("max_odd_share", "1.1", "is between 0 and 1"),
        ("max_odd_share", "NaN", "is between 0 and 1"),
        ("max_odd_share", "10 %", "invalid input syntax"),
        ("only_row", "f", "there is no setting 'only_row'; there are: max_hold, "),
        ("max_holds", "1 minute", "there is no setting 'max_holds'"),
        ("max_hold = '1 hour', max_lag", "1 minute", "there is no setting"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_in_words(
    connection: Connection, name: str, value: str, says: str
) -> None:
    before = policy(connection)
    with pytest.raises(SettingError, match=says):
        change_setting(connection, name, value)
    assert policy(connection) == before


def test_a_setting_is_changed_for_everybody(connection: Connection, database_url: str) -> None:
    change_setting(connection, "max_hold", "10 minutes")
    change_setting(connection, "max_odd_share", "0.25")
    with psycopg.connect(database_url) as other:
        now = policy(other)
    assert (now.max_hold, now.max_odd_share) == (timedelta(minutes=10), Decimal("0.25"))


def test_code_reads_every_setting_that_there_is(connection: Connection) -> None:
    assert list(Policy.__struct_fields__) == [setting.name for setting in settings(connection)]


def test_every_setting_is_documented_and_bounded_where_it_is_defined(connection: Connection) -> None:
    for setting in settings(connection):
        assert len(setting.description) > 40, setting.name
        assert setting.demand, setting.name


def test_the_defaults_are_those_of_the_schema(connection: Connection) -> None:
    assert [(setting.value, setting.default) for setting in settings(connection)] == [
        (setting.default, setting.default) for setting in settings(connection)
    ]
    change_setting(connection, "max_lag", "1 hour")
    [lag] = [setting for setting in settings(connection) if setting.name == "max_lag"]
    assert (lag.value, lag.default) == ("01:00:00", "00:02:00")


def test_readers_see_the_settings_and_only_the_owner_changes_them(connection: Connection) -> None:
    for role in ("eventstore_reader", "eventstore_projector"):
        with connection.transaction(force_rollback=True):
            connection.execute(f"SET LOCAL ROLE {role}")
            assert policy(connection).max_lag == timedelta(minutes=2)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                change_setting(connection, "max_lag", "1 hour")
