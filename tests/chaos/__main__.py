"""``make chaos``, or ``python -m tests.chaos --events 100000 --crashes 20``."""

if __name__ == "__main__":
    from tests.chaos.command import run

    run()
