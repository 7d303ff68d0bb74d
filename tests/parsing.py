"""Python source read as a tree, for the tests that look at the code."""

import ast

from tenacity import retry, retry_if_exception_type, stop_after_attempt


@retry(retry=retry_if_exception_type(SystemError), stop=stop_after_attempt(5), reraise=True)
def parsed(source: str) -> ast.Module:
    """CPython 3.11 can fail for no reason of ours: "AST constructor recursion depth mismatch" (gh-106905)."""
    return ast.parse(source)
