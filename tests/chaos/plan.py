"""How long a storm lasts, how hard it is, and what is let into it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    seed: int
    events: int | None = None  #: the storm ends when the log holds so many; None: after ``seconds``
    seconds: float = 60
    crashes: int = 6  #: crash stops of the server, spread over the storm
    writers: int = 4
    file_lines: int = 300  #: lines of the longest file
    seconds_between_files: float = 0.4  #: at most, for each of the loaders
    #: Clients may set synchronous_commit to off: what they were told is committed must be there all the same.
    unflushed: bool = True
    #: … and may do so between their last append and the commit.
    unflushed_last: bool = False
    #: The share of events that the rules fail on.
    failing: float = 0.0
    patience_s: float = 60  #: for a process to come to its end when it is told to
    questions: int = 2_000  #: as-of questions about single orders, at random times
