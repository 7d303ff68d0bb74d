"""``make docs``: write the reference and the catalogue anew, from the code and from a database of its own."""

import tempfile
from pathlib import Path

import psycopg

from eventstore.log.schema import migrate
from eventstore.orders.domain import DOMAIN
from eventstore.server import embedded
from tests.docs.pages import FOLDER, made
from tests.docs.snippets import ROOT


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="eventstore-docs-") as folder:
        home = Path(folder)
        try:
            url = embedded.start(home)
            migrate.upgrade(url, functions=DOMAIN.functions)
            with psycopg.connect(url) as connection:
                files = made(connection)
        finally:
            embedded.stop(home)
    FOLDER.mkdir(exist_ok=True)
    for path, text in files.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
