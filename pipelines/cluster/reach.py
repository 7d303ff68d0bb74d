"""Whether nodes on other machines can reach the database at all."""

from collections.abc import Iterable

from eventstore.server import settings
from eventstore.server.urls import is_socket
from pipelines.cluster.here import is_here


def why_unreachable(nodes: Iterable[str]) -> str | None:
    """In one line why they cannot; None where they can. ``nodes`` are the IP addresses of the cluster."""
    given = settings.given_url()
    if given is not None and not is_socket(given.value):
        return None
    elsewhere = sorted({node for node in nodes if not is_here(node)})
    if not elsewhere:
        return None
    what = (
        f"{given.where} names a Unix socket" if given else "the embedded PostgreSQL listens on a Unix socket"
    )
    return (
        f"{what}, which the node {elsewhere[0]} cannot reach: set DATABASE_URL to a server and its "
        "host name, here and on the nodes"
    )
