"""The buckets of the log, each order in one of them: how many there can be, and what they are called."""

DEFAULT = 16
MOST = 256
POSSIBLE = "a power of two from 1 to 256"


def is_possible(number: int) -> bool:
    return 1 <= number <= MOST and number & (number - 1) == 0


def label(bucket: int, of: int) -> str:
    """The bucket as the names of tables, and the partitions of Dagster, say it: names sort as numbers do."""
    return f"{bucket:0{2 if of <= 100 else 3}d}"


def table_of(parent: str, bucket: int, of: int) -> str:
    """The table that holds the rows of a bucket."""
    return f"{parent}_{label(bucket, of)}"
