"""The ways on which alerts go out, as this machine is told."""

from collections.abc import Callable, Sequence
from threading import Thread
from typing import NamedTuple

from eventstore.alerts import mail, message, webhook
from eventstore.alerts.errors import NotDeliveredError
from eventstore.alerts.problems import Item
from eventstore.server import settings
from eventstore.server.errors import ServerError

WEBHOOK, MAIL = "webhook", "mail"
Send = Callable[[Sequence[Item]], None]


#: A receiver that answers byte by byte may not hold up the others, nor the tick that notes what was told.
LONGEST_S = 20


class Channel(NamedTuple):
    """One way; ``send`` raises NotDeliveredError. Its name goes into the state of what waits."""

    name: str
    send: Send


def send_in_time(channel: Channel, items: Sequence[Item]) -> None:
    """Send, and raise NotDeliveredError where it takes too long; it may arrive later, and then once more."""
    failure: list[BaseException] = []

    def run() -> None:
        try:
            channel.send(items)
        except BaseException as error:  # raised below, in the thread that asked
            failure.append(error)

    thread = Thread(target=run, name=f"alerts by {channel.name}", daemon=True)
    thread.start()
    thread.join(LONGEST_S)
    if thread.is_alive():
        raise NotDeliveredError(f"no answer within {LONGEST_S} s")
    if failure:
        raise failure[0]


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
