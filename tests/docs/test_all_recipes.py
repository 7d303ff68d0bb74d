"""All recipes of docs/extending.md, one after the other: they apply, and the tests of what they touch pass.

These are some of the tests, the quick ones that were hurt once; `make recipes` runs them all.
"""

from pathlib import Path

from tests.docs.with_recipes import all_recipes, run

_SOME = (
    "tests/engine/test_orders_projection.py",
    "tests/engine/test_rules.py",
    "tests/face/test_promotion_cli.py",
    "tests/face/test_show.py",
    "tests/pipelines/test_catalogue.py",
    "tests/pipelines/test_definitions.py",
)


def test_after_all_recipes_the_tests_of_what_they_touch_pass(tmp_path: Path) -> None:
    done = run(all_recipes(tmp_path), "pytest", "-q", "-p", "no:xdist", "--tb=short", *_SOME, quiet=True)
    assert done.returncode == 0, done.stdout
