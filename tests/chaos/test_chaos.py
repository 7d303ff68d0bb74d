"""Some seconds of the storm; ``make chaos`` is for more."""

import os
from pathlib import Path
from tempfile import mkdtemp

from tests.chaos.plan import Plan
from tests.chaos.storm import storm


def test_whatever_happens_the_log_keeps_its_promises_and_every_read_model_follows_from_it() -> None:
    # Of the session: another one takes away the right to pass through the folders of pytest.
    folder = Path(mkdtemp(prefix="chaos-", dir=os.environ["EVENTSTORE_TEST_FOLDER"]))
    plan = Plan(seed=1, seconds=12, crashes=3, questions=600)
    findings = storm(plan, folder)
    assert not findings, f"{findings}\nSeed {plan.seed}"
