"""What releases have shipped of the schema: revisions by digest, and the functions as each release had them.

``python -m tests.log.releases`` records what is new: run it when a release is made, commit what it writes.
"""

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from eventstore.log.schema import functions, migrate
from eventstore.orders.domain import DOMAIN
from tests.parsing import parsed

_RECORDED = Path(__file__).parent / "released"
_SUMS = "SHA256SUMS"
_LIVING = "eventstore"
_FROZEN = "eventstore.log.schema.frozen"


def released() -> list[str]:
    """The revisions that databases may have, by their folders of SQL, oldest first."""
    return sorted({Path(file).parent.name for file in _recorded() if file.startswith("sql/")})


def changed(schema: Path = migrate.SCHEMA) -> list[str]:
    """What is not any more as it was released, a sentence each."""
    recorded = _recorded()
    found = [
        f"{file} is released and was changed"
        if (schema / file).exists()
        else f"{file} is released and is gone"
        for file, digest in recorded.items()
        if not (schema / file).exists() or _digest(schema / file) != digest
    ]
    return found + [
        f"{file} was added to a released revision"
        for revision in released()
        for file in _files_of(schema, revision)
        if file not in recorded
    ]


def living_imports(schema: Path = migrate.SCHEMA) -> list[str]:
    """The modules of ours, other than the frozen one, that released revisions import."""
    return [
        f"{file} imports {module}"
        for file in _recorded()
        if file.endswith(".py")
        for module in _imports((schema / file).read_text(encoding="utf-8"))
        if module.startswith((_LIVING, ".")) and module != _FROZEN
    ]


def give_functions(connection: psycopg.Connection[Any], revision: str, recorded: Path = _RECORDED) -> bool:
    """Bring a database of this revision to the functions of its release; False where there was none."""
    file = recorded / f"functions_{revision}.sql"
    if not file.exists():
        return False
    (columns,) = connection.execute(
        "SELECT string_agg(format('h.%I', attname), ', ' ORDER BY attnum) FROM pg_attribute "
        "WHERE attrelid = 'orders'::regclass AND attnum > 0 AND NOT attisdropped"
    ).fetchone() or ("",)
    body = file.read_text(encoding="utf-8").replace("/* columns of orders */", columns)
    connection.execute(body.encode())
    return True


def record(recorded: Path = _RECORDED) -> None:
    """Record all revisions and functions that there are as released."""
    schema, domain = migrate.SCHEMA, DOMAIN.functions
    assert domain is not None
    files = ["frozen.py", *(file for each in migrate.revisions() for file in _files_of(schema, each))]
    (recorded / _SUMS).write_text("".join(f"{_digest(schema / file)}  {file}\n" for file in files))
    created = [*functions.of_the_log(), *functions.of_a_domain(domain)]
    bodies = [file.read_text(encoding="utf-8") for file in created]
    file = recorded / f"functions_{migrate.revisions()[-1]}.sql"
    file.write_text("\n".join(bodies), encoding="utf-8")


def _recorded() -> dict[str, str]:
    """Digests by file, as ``sha256sum`` writes them."""
    lines = (_RECORDED / _SUMS).read_text().splitlines()
    return {file: digest for digest, _, file in (line.partition("  ") for line in lines)}


def _files_of(schema: Path, revision: str) -> Iterator[str]:
    for pattern in (f"versions/{revision}_*.py", f"sql/{revision}/*"):
        yield from sorted(file.relative_to(schema).as_posix() for file in schema.glob(pattern))


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _imports(source: str) -> Iterator[str]:
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


if __name__ == "__main__":
    if changes := changed() + living_imports():
        raise SystemExit("\n".join(changes))
    record()
