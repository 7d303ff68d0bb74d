"""The reference says what the code says now."""

from typing import Any

import psycopg

from tests.docs.pages import FOLDER, pages


def test_the_reference_is_what_the_code_says(connection: psycopg.Connection[Any]) -> None:
    made = pages(connection)
    kept = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert kept.keys() == made.keys()
    for name, text in made.items():
        assert kept[name] == text, f"docs/reference/{name} is out of date: run `make docs`"
