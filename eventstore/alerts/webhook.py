"""Alerts to a URL, as JSON by POST. The URL is a secret: no error shows it."""

import json
import ssl
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from eventstore.alerts.errors import NotDeliveredError

_TIMEOUT_S = 10


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would turn the POST into a GET elsewhere, and the alert would be lost."""

    def redirect_request(self, *_: Any) -> None:
        return None


def post(url: str, payload: dict[str, Any]) -> None:
    """Raises NotDeliveredError unless the answer is a success."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable:
        raise NotDeliveredError("ALERT_WEBHOOK_URL is no http:// or https:// URL")
    headers = {"Content-Type": "application/json", "User-Agent": "eventstore"}
    try:
        request = urllib.request.Request(url, json.dumps(payload).encode(), headers, method="POST")  # noqa: S310
        opener = urllib.request.build_opener(_NoRedirect)
        with opener.open(request, timeout=_TIMEOUT_S):
            pass
    except urllib.error.HTTPError as error:
        error.close()
        raise NotDeliveredError(f"the webhook answered {error.code}") from None
    except urllib.error.URLError as error:
        raise NotDeliveredError(f"cannot reach the host of the webhook ({_reason(error.reason)})") from None
    except (OSError, HTTPException, ValueError) as error:
        raise NotDeliveredError(f"the webhook did not answer ({_reason(error)})") from None


def _reason(error: object) -> str:
    """Words of the operating system, or the name of the error: never its text, which may hold the URL."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "its certificate is not trusted"
    said = error.strerror if isinstance(error, OSError) else None
    return said or type(error).__name__
