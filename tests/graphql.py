"""Dagster's GraphQL, asked as its pages ask."""

import json
import urllib.request
from typing import Any


def ask(url: str, query: str, **variables: Any) -> dict[str, Any]:
    """What the web server at ``url`` answers; an error is a failure of the test."""
    request = urllib.request.Request(
        f"{url}/graphql",
        data=json.dumps({"query": query, "variables": variables}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        answer = json.load(response)
    assert not answer.get("errors"), answer["errors"]
    data: dict[str, Any] = answer["data"]
    return data


def log_of(url: str, run_id: str) -> list[dict[str, Any]]:
    """The events in the log of a run: the message of each, and the error of those that tell of one."""
    events: list[dict[str, Any]] = ask(
        url,
        "query ($run: ID!) { logsForRun(runId: $run) { ... on EventConnection { events {"
        " ... on MessageEvent { message } ... on ErrorEvent { error { message causes { message } } }"
        " } } } }",
        run=run_id,
    )["logsForRun"]["events"]
    return events
