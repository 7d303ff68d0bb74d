"""The list of mutants keeps up with the code, or ``make mutants`` would try yesterday's."""

from collections import Counter

import pytest

from tests.mutants.entries import ROOT, Mutant, StaleError, mutants


def test_every_mutant_still_applies() -> None:
    stale = []
    for mutant in mutants():
        try:
            mutant.mutated((ROOT / mutant.file).read_text(encoding="utf-8"))
        except (StaleError, SyntaxError, FileNotFoundError) as error:
            stale.append(f"{mutant.part}: {mutant.name}: {error}")
    assert not stale, "\n".join(["tests/mutants/lists must follow the code:", *stale])


def test_every_mutant_has_a_name_of_its_own_and_tests_that_exist() -> None:
    found = mutants()
    names = Counter((mutant.part, mutant.name) for mutant in found)
    assert [name for name, times in names.items() if times > 1] == []
    assert {test for mutant in found for test in mutant.tests if not (ROOT / test).is_file()} == set()


def test_a_text_that_is_not_there_exactly_once_makes_a_mutant_stale() -> None:
    mutant = mutants()[0]
    change = mutant.changes[0]
    for text in ("", change.find * 2):
        with pytest.raises(StaleError, match=f"found {text.count(change.find)} times"):
            _one_change(mutant).mutated(text)
    assert _one_change(mutant).mutated(change.find) == change.put


def _one_change(mutant: Mutant) -> Mutant:
    return Mutant(
        part=mutant.part,
        name=mutant.name,
        promise=mutant.promise,
        file="a.sql",
        changes=mutant.changes[:1],
        tests=mutant.tests,
        explained=None,
    )
