"""The reference says what the code says now."""

from typing import Any

import psycopg

from tests.docs.pages import FOLDER, made
from tests.docs.snippets import ROOT


def test_the_reference_is_what_the_code_says(connection: psycopg.Connection[Any]) -> None:
    files = made(connection)
    pages = {path for path in files if path.parent == FOLDER}
    assert set(FOLDER.iterdir()) == pages
    for path, text in files.items():
        kept = path.read_text(encoding="utf-8")
        assert kept == text, f"{path.relative_to(ROOT)} is out of date: run `make docs`"
