"""Some seconds of the storm; ``make chaos`` is for more."""

from pathlib import Path

from tests.chaos.plan import Plan
from tests.chaos.storm import storm


def test_whatever_happens_the_log_keeps_its_promises_and_every_read_model_follows_from_it(
    tmp_path: Path,
) -> None:
    plan = Plan(seed=1, seconds=12, crashes=3, questions=600)
    findings = storm(plan, tmp_path)
    assert not findings, f"{findings}\nSeed {plan.seed}; the data is in {tmp_path}"
