"""Alerts by mail (SMTP). The password is a secret: no error shows it, and it never goes out in the clear."""

import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from ipaddress import ip_address
from typing import Literal

import msgspec

from eventstore.alerts.errors import NotDeliveredError

_TIMEOUT_S = 15
_PORTS = {"starttls": 587, "tls": 465, "none": 25}


class MailServer(msgspec.Struct, frozen=True, kw_only=True):
    """Where mail goes, from whom, to whom."""

    host: str
    port: int
    security: Literal["starttls", "tls", "none"]
    user: str
    sender: str
    to: tuple[str, ...]


def host_and_port(address: str, security: str) -> tuple[str, int]:
    """``mail.example.com`` or ``mail.example.com:2525``; an IPv6 address in brackets."""
    host, colon, port = address.rpartition(":")
    if not colon or address.endswith("]"):
        host, port = address, str(_PORTS[security])
    if not (host and port.isascii() and port.isdecimal() and 0 < int(port[:6]) <= 65535):
        raise NotDeliveredError("smtp_server is no HOST or HOST:PORT")
    return host.strip("[]"), int(port)


def send(server: MailServer, password: str, subject: str, text: str) -> None:
    """Raises NotDeliveredError unless the server took the mail for everybody it is for."""
    if server.user and server.security == "none" and not _is_loopback(server.host):
        raise NotDeliveredError('with smtp_security = "none" the password would go out in the clear')
    try:
        message = EmailMessage()
        message["Subject"], message["From"], message["To"] = subject, server.sender, ", ".join(server.to)
        message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain="eventstore.invalid")
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text)
        refused = _send(server, password, message)
    except smtplib.SMTPResponseException as error:
        raise NotDeliveredError(f"the mail server answered {error.smtp_code}{_meaning(error)}") from None
    except smtplib.SMTPRecipientsRefused as error:
        raise NotDeliveredError(f"the mail server refused {', '.join(sorted(error.recipients))}") from None
    except ssl.SSLCertVerificationError:
        raise NotDeliveredError("the certificate of the mail server is not trusted") from None
    except (smtplib.SMTPException, OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else None
        raise NotDeliveredError(f"cannot send mail ({said or type(error).__name__})") from None
    if refused:
        raise NotDeliveredError(f"the mail server refused {', '.join(sorted(refused))}")


def _send(server: MailServer, password: str, message: EmailMessage) -> list[str]:
    context = ssl.create_default_context()
    with (
        smtplib.SMTP_SSL(server.host, server.port, timeout=_TIMEOUT_S, context=context)
        if server.security == "tls"
        else smtplib.SMTP(server.host, server.port, timeout=_TIMEOUT_S)
    ) as connection:
        if server.security == "starttls":
            connection.starttls(context=context)
        if server.user:
            connection.login(server.user, password)
        return list(connection.send_message(message))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _meaning(error: smtplib.SMTPResponseException) -> str:
    return (
        ": smtp_user or SMTP_PASSWORD is wrong" if isinstance(error, smtplib.SMTPAuthenticationError) else ""
    )
