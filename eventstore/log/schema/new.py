"""Write a revision to be filled in: ``make revision NAME="who carries the parcel"``.

It follows the newest one, by the next number; where two came last, it follows both and brings them together.
"""

import argparse
import re
import sys
from pathlib import Path

from alembic.script import ScriptDirectory

from eventstore.log.schema import migrate

_NAME = re.compile(r"\w[\w ,.'-]{0,59}", re.ASCII)
_ID = re.compile(r"\w{1,32}", re.ASCII)  # the width of Alembic's column
_SQL = """\
-- {name}.
-- Tables change here. Functions stand in files by topic: the log's in functions/, those of orders in
-- eventstore/orders/functions; they are created anew after the last revision. A function that a table or a
-- trigger of this revision needs is created here too, with an empty body.
"""


def new_revision(name: str, schema: Path = migrate.SCHEMA, revision: str | None = None) -> list[Path]:
    """Write the files of a revision into ``schema`` and return them. Its id is the next number, if not given.

    Raises ValueError for a name or an id that cannot be one, FileExistsError where the revision is there.
    """
    config = migrate.configuration(schema)
    config.cmd_opts = argparse.Namespace(quiet=True)
    script = ScriptDirectory.from_config(config)
    known = [each.revision for each in script.walk_revisions()]
    if revision is None:
        revision = f"{max((int(each) for each in known if each.isdecimal()), default=0) + 1:04}"
    name = name.strip().rstrip(".")
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} cannot be its name: say in up to 60 letters, digits and spaces what it brings"
        )
    if not _ID.fullmatch(revision) or revision in {"base", "current", "head", "heads"}:
        raise ValueError(f"{revision!r} cannot be its id: give up to 32 letters, digits and underscores")
    if revision in known:
        raise FileExistsError(f"there is a revision {revision} already")
    slug = "_".join(re.findall(r"\w+", name)).lower()
    config.set_main_option("file_template", f"{revision}_{slug}")
    config.set_main_option("truncate_slug_length", "200")
    heads = script.get_heads()
    made = ScriptDirectory.from_config(config).generate_revision(revision, name, head=heads)
    assert made is not None
    written = [Path(made.path)]
    if len(heads) < 2:
        statements = schema / "sql" / revision / f"{slug}.sql"
        statements.parent.mkdir(parents=True, exist_ok=True)
        statements.write_text(_SQL.format(name=name[0].upper() + name[1:]), encoding="utf-8")
        written.append(statements)
    return written


def main() -> int:
    parser = argparse.ArgumentParser(prog="make revision", description=__doc__)
    parser.add_argument("name", help="what it brings, in a few words")
    parser.add_argument(
        "--id", dest="revision", help="instead of the next number, for a revision of your team"
    )
    given = parser.parse_args()
    try:
        for path in new_revision(given.name, revision=given.revision):
            print(path)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
