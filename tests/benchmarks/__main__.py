"""``python -m tests.benchmarks``; light, because each process that is spawned imports it again."""

if __name__ == "__main__":
    from tests.benchmarks.command import run

    run()
