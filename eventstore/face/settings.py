"""All settings of a store, each with its value, where that comes from, and what it means.

Policy is set for everybody, in the database. Facts of a machine stand in its ``eventstore.toml``, or in the
environment. What each means is said once, where it is defined.
"""

import os
from typing import Any

import msgspec

from eventstore.engine.domain import Domain
from eventstore.engine.projection import Projection
from eventstore.engine.promote import promotion_policy, set_promotion_policy
from eventstore.log import settings as store
from eventstore.log.connection import Connection
from eventstore.log.settings import SettingError
from eventstore.server import settings as here
from eventstore.server.machine import FILE, Machine, read_file
from eventstore.server.urls import without_password

PROMOTION = "promotion."
#: Variables that say what a key of the file says too.
_VARIABLES = {"port": "PORT", "ray_address": "EVENTSTORE_RAY_ADDRESS", "buckets": "EVENTSTORE_BUCKETS"}
_OF_KEYS = {"DATABASE_URL", "DATABASE_URL_FILE", *_VARIABLES.values()}


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One setting as it is now."""

    name: str
    value: str
    source: str  #: default, database, the name of the file, or of a variable of the environment
    description: str


def policies(connection: Connection, domain: Domain[Any]) -> list[Setting]:
    """What the store is told, for everybody: `change_policy` sets it."""
    found = [
        Setting(
            name=each.name,
            value=each.value,
            source="default" if each.value == each.default else "database",
            description=each.description,
        )
        for each in store.settings(connection)
    ]
    return found + [_promotion(connection, projection) for projection in domain.projections]


def change_policy(connection: Connection, domain: Domain[Any], name: str, value: str) -> None:
    """Raises SettingError for a value that cannot be, and for a name that is set elsewhere or nowhere."""
    if name in Machine.__struct_fields__:
        raise SettingError(
            f"{name} is a fact of this machine: write it into {here.file()}, as in "
            f"{as_toml(name, here.machine())}"
        )
    if name in here.VARIABLES:
        raise SettingError(f"{name} is a variable of the environment: set it there")
    promotions = {PROMOTION + projection.name: projection for projection in domain.projections}
    if name in promotions:
        try:
            set_promotion_policy(connection, promotions[name], value)
        except ValueError as error:
            raise SettingError(str(error)) from None
        return
    known = [each.name for each in store.settings(connection)]
    if name not in known:
        raise SettingError(
            f"there is no setting {name!r}; there are: {', '.join([*known, *promotions])}; "
            f"and of this machine: {', '.join(Machine.__struct_fields__)}"
        )
    store.change_setting(connection, name, value)


def facts() -> list[Setting]:
    """What this machine is told. Raises ServerError where the file or a variable says what it may not."""
    machine, said = here.machine(), read_file(here.home())
    given = here.given_url()
    now = {
        "database_url": without_password(given.value) if given else "none",
        "landing": str(here.landing_place()),
        "checkpoints": str(here.checkpoints()),
        "port": str(here.port()),
        "concurrent_runs": str(here.concurrent_runs()),
        "replay_runs": str(here.replay_runs()),
        "buckets": str(here.buckets()),
        "buckets_per_run": str(here.buckets_per_run()),
        "ray_address": here.ray_address() or "none",
    }
    found = []
    for field in msgspec.structs.fields(Machine):
        value = getattr(machine, field.name)
        source = FILE if field.name in said else "default"
        variable = _VARIABLES.get(field.name, "")
        if os.environ.get(variable, "").strip():
            source = variable
        if field.name == "database_url" and given:
            source = given.where
        found.append(
            Setting(
                name=field.name,
                value=now.get(field.name) or _in_toml(value),
                source=source,
                description=description(field.type),
            )
        )
    return found + [_variable(name) for name in here.VARIABLES if name not in _OF_KEYS]


def as_toml(name: str, machine: Machine) -> str:
    """A key of the file with its value, as it is written there."""
    value = getattr(machine, name)
    return f"{name} = {_in_toml(_example(name) if value is None else value)}"


def _example(name: str) -> object:
    """Of a key that says nothing by default."""
    [field] = [each for each in msgspec.structs.fields(Machine) if each.name == name]
    [meta] = field.type.__metadata__
    return (meta.extra or {}).get("example", "postgresql://user@host/database")


def description(annotated: Any) -> str:
    """What the definition of a key says that it means."""
    [meta] = annotated.__metadata__
    return str(meta.description)


def promotion_meaning(connection: Connection) -> str:
    """What the definition of the column says that a policy of promotion means."""
    (meaning,) = connection.execute(
        "SELECT col_description('projections'::regclass, attnum) FROM pg_attribute "
        "WHERE attrelid = 'projections'::regclass AND attname = 'promotion'"
    ).fetchone() or ("",)
    return str(meaning)


def _variable(name: str) -> Setting:
    """Of what may be a secret it is only said whether it is given."""
    is_given = bool(os.environ.get(name, "").strip())
    shown = str(here.home()) if name == "EVENTSTORE_HOME" else "given" if is_given else "none"
    return Setting(
        name=name,
        value=shown,
        source=name if is_given else "default",
        description=here.VARIABLES[name],
    )


def _in_toml(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _promotion(connection: Connection, projection: Projection[Any]) -> Setting:
    value = promotion_policy(connection, projection)
    return Setting(
        name=PROMOTION + projection.name,
        value=value,
        source="default" if value == "auto" else "database",
        description=promotion_meaning(connection),
    )
