"""The ways on which alerts go out, as this machine is told."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from eventstore.alerts import mail, message, webhook
from eventstore.alerts.errors import NotDeliveredError
from eventstore.alerts.problems import Item
from eventstore.server import settings
from eventstore.server.errors import ServerError

WEBHOOK, MAIL = "webhook", "mail"
Send = Callable[[Sequence[Item]], None]


class Channel(NamedTuple):
    """One way; ``send`` raises NotDeliveredError. Its name goes into the state of what waits."""

    name: str
    send: Send


def channels() -> list[Channel]:
    """Those that are configured; one that is configured wrongly takes what it is given and delivers nothing.

    Raises ServerError where ``eventstore.toml`` cannot be read.
    """
    ways = (WEBHOOK, _webhook), (MAIL, _mail)
    return [Channel(name, send) for name, make in ways if (send := _or_broken(make))]


def _or_broken(make: Callable[[], Send | None]) -> Send | None:
    settings.machine()
    try:
        return make()
    except (ServerError, NotDeliveredError) as error:
        said = str(error)

    def refuse(_: Sequence[Item]) -> None:
        raise NotDeliveredError(said)

    return refuse


def _webhook() -> Send | None:
    url = settings.secret("ALERT_WEBHOOK_URL", "the URL of the webhook")
    return (lambda items: webhook.post(url, message.payload(items))) if url else None


def _mail() -> Send | None:
    if not settings.machine().alert_mail_to:
        return None
    server = _mail_server()
    password = settings.secret("SMTP_PASSWORD", "the password of smtp_user") or ""
    if server.user and not password:
        raise ServerError("smtp_user is set and no password: set SMTP_PASSWORD or SMTP_PASSWORD_FILE")
    return lambda items: mail.send(server, password, message.subject(items), message.text(items) + "\n")


def _mail_server() -> mail.MailServer:
    machine = settings.machine()
    if not machine.smtp_server:
        raise ServerError(f"{settings.file()}: alert_mail_to is set and smtp_server is not")
    to = tuple(filter(None, (each.strip() for each in machine.alert_mail_to.split(","))))
    host, port = mail.host_and_port(machine.smtp_server, machine.smtp_security)
    return mail.MailServer(
        host=host,
        port=port,
        security=machine.smtp_security,
        user=machine.smtp_user,
        sender=machine.alert_mail_from or to[0],
        to=to,
    )
