"""The head of a Ray cluster as this project asks it: with an end to waiting, and one word for its absence."""

from typing import Any, NamedTuple

import requests
from ray.job_submission import JobSubmissionClient

_WAIT_S = (5, 20)  # to be connected, and to be answered


class HeadAwayError(Exception):
    """The head cannot be reached, or is not what it must be; later it may be."""


class Room(NamedTuple):
    """Processors that the nodes offer, and those that are free."""

    cpus: float
    free: float


class Head(JobSubmissionClient):  # type: ignore[misc, unused-ignore]
    """Ray's own client. Where that would wait for ever for a silent head, this one raises."""

    def __init__(self, address: str, headers: dict[str, Any] | None = None) -> None:
        try:
            super().__init__(address, headers=headers)
        except HeadAwayError:
            raise
        except Exception as error:  # a wrong token, another version: each has an exception of its own
            raise HeadAwayError(_first_line(error)) from None

    def _do_request(self, method: str, endpoint: str, **options: Any) -> requests.Response:
        try:
            response: requests.Response = super()._do_request(
                method, endpoint, **{"timeout": _WAIT_S, **options}
            )
        except requests.RequestException:
            raise HeadAwayError("it cannot be reached") from None
        except Exception as error:
            raise HeadAwayError(_first_line(error)) from None
        return response

    def room(self) -> Room | None:
        """How much room the nodes have; None where the head does not say."""
        try:
            answer = self._do_request("GET", "/api/cluster_status").json()
            usage = answer["data"]["clusterStatus"]["loadMetricsReport"]["usage"]
            used, cpus = usage.get("CPU", (0, 0))  # a head that has just begun has no nodes yet
            return Room(float(cpus), float(cpus) - float(used))
        except (ValueError, LookupError, TypeError, AttributeError):
            return None

    def node_addresses(self) -> list[str]:
        """The IP addresses of the living nodes."""
        try:
            answer = self._do_request("GET", "/api/v0/nodes").json()
            nodes = answer["data"]["result"]["result"]
            return [str(node["node_ip"]) for node in nodes if node["state"] == "ALIVE"]
        except (ValueError, LookupError, TypeError):
            return []


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
