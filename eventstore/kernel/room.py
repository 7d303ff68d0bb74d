"""A stack for deeply nested values, so that what can be decoded depends on the value alone."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def with_room(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Call; where the stack is too short for a deeply nested value, again on a stack of its own."""
    try:
        return function(*arguments, **named)
    except RecursionError:
        with ThreadPoolExecutor(1) as stack:
            return stack.submit(function, *arguments, **named).result()
