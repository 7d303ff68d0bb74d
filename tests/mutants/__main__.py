"""``make mutants``, or ``python -m tests.mutants --only hold_horizon``."""

if __name__ == "__main__":
    from tests.mutants.command import run

    run()
