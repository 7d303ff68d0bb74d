"""Alerts arrive at real receivers on this machine; what goes wrong is said without a secret."""

import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from eventstore.alerts import channels as channels_module
from eventstore.alerts.channels import MAIL, WEBHOOK, Channel, channels, send_in_time
from eventstore.alerts.errors import NotDeliveredError
from eventstore.alerts.message import payload, text
from eventstore.alerts.problems import Item, Problem
from eventstore.server.errors import ServerError
from tests.alerts.receivers import Hook, mail_server

SECRETS = ("53cret", "pa55word")


def item(what: str = "begins", number: int = 1, said: str = "it broke", title: str = "run of x") -> Item:
    problem = Problem(
        key=f"k{number}",
        kind="run",
        severity="error",
        title=title,
        text=said,
        link="http://d/runs/1",
        runbook="docs/r.md#x",
    )
    return Item(what=what, problem=problem, since=1e9, at=1e9 + 60)  # type: ignore[arg-type]


def only() -> Channel:
    [channel] = channels()
    return channel


def refusal(items: Sequence[Item] = ()) -> str:
    with pytest.raises(NotDeliveredError) as raised:
        only().send(items or [item()])
    said = str(raised.value)
    assert "\n" not in said
    assert not any(secret in said for secret in SECRETS)
    assert raised.value.__cause__ is None
    return said


def write(home: Path, **keys: str) -> None:
    (home / "eventstore.toml").write_text("".join(f'{name} = "{value}"\n' for name, value in keys.items()))


def test_without_settings_there_is_no_channel(home: Path) -> None:
    assert channels() == []


def test_a_webhook_gets_a_text_for_people_and_fields_for_programs(
    home: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALERT_WEBHOOK_URL", hook.url)
    assert only().name == WEBHOOK
    only().send([item(), item("over", 2, title="run of y")])
    [posted] = hook.posted
    first, failed, over = posted["text"].splitlines()
    assert first == "eventstore: 1 problem, 1 over: run of x, run of y"
    assert failed == "FAILED: run of x: it broke (since 2001-09-09 01:46:40 UTC) http://d/runs/1 docs/r.md#x"
    assert over == "OVER: run of y, since 2001-09-09 01:46:40 UTC"
    assert posted["total"] == 2
    assert posted["alerts"][0] == {
        "event": "begins",
        "key": "k1",
        "kind": "run",
        "severity": "error",
        "title": "run of x",
        "text": "it broke",
        "link": "http://d/runs/1",
        "runbook": "docs/r.md#x",
        "since": "2001-09-09T01:46:40+00:00",
        "at": "2001-09-09T01:47:40+00:00",
    }


def test_the_url_may_stand_in_a_file(home: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "url").write_text(f"{hook.url}\n")
    monkeypatch.setenv("ALERT_WEBHOOK_URL_FILE", str(home / "url"))
    only().send([item()])
    assert len(hook.posted) == 1


@pytest.mark.parametrize("status", [302, 307, 404, 410, 500])
def test_an_answer_that_is_no_success_is_no_delivery(
    home: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setenv("ALERT_WEBHOOK_URL", hook.url)
    hook.status = status
    assert refusal() == f"the webhook answered {status}"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/53cret",
        "http://no.such.host.invalid/53cret",
        "https://127.0.0.1:1/53cret",
        "ftp://host/53cret",
        "file:///53cret",
        "http://[53cret",
        "http://host:53cret/",
        "http://host/53cret with spaces",
        "53cret",
    ],
)
def test_no_error_of_a_webhook_shows_its_url(home: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("ALERT_WEBHOOK_URL", url)
    assert "webhook" in refusal().lower()


def test_a_secret_file_that_cannot_be_read_is_said_when_alerts_are_to_go_out(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALERT_WEBHOOK_URL_FILE", str(home / "missing"))
    assert "ALERT_WEBHOOK_URL_FILE names: No such file" in refusal()
    (home / "missing").write_text("53cret\n53cret\n")
    assert "must hold one line" in refusal()


def test_no_text_of_an_error_calls_everybody_or_shows_a_password() -> None:
    said = item(said="<!channel> postgresql://ann:pa55word@host/db\nand\x1b[31m more")
    posted = payload([said])
    assert "&lt;!channel&gt; postgresql://ann:…@host/db and\\u001b[31m more" in posted["text"]
    assert "pa55word" not in str(posted)


def test_many_alerts_are_one_message_of_a_length_that_people_read() -> None:
    many = [item(number=number, said="x" * 10_000) for number in range(1000)]
    assert len(text(many)) < 20_000
    assert text(many).splitlines()[-1] == "… and 980 more."
    assert (len(payload(many)["alerts"]), payload(many)["total"]) == (200, 1000)


def test_mail_arrives_with_the_alerts_for_everybody_named(home: Path) -> None:
    with mail_server() as box:
        write(
            home,
            alert_mail_to="ann@example.com, bob@example.com",
            alert_mail_from="store@example.com",
            smtp_server=box.address,
            smtp_security="none",
        )
        assert only().name == MAIL
        only().send([item(said="Grüße\nBcc: x@example.com")])
        [(recipients, content)] = box.mails
    assert recipients == ["ann@example.com", "bob@example.com"]
    assert "Subject: eventstore: 1 problem: run of x" in content
    assert "From: store@example.com" in content
    assert "\nBcc:" not in content


def certificate(folder: Path) -> ssl.SSLContext:
    """Of a server, localhost, that signs for itself; ``folder/ca.pem`` is what clients may trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.pem", folder / "key.pem")
    return context


@pytest.fixture
def login(home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Settings for a mail server that one logs in to."""

    def at(address: str, password: str = "pa55word", security: str = "starttls") -> None:
        write(
            home,
            alert_mail_to="ann@example.com",
            smtp_server=address,
            smtp_user="store",
            smtp_security=security,
        )
        (home / "password").write_text(password)
        monkeypatch.setenv("SMTP_PASSWORD_FILE", str(home / "password"))

    return at


def test_mail_goes_out_encrypted_with_a_login(
    home: Path, login: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = certificate(home)
    with mail_server(tls_context=context, require_starttls=True, auth_required=True) as box:
        login(box.address)
        assert "certificate of the mail server is not trusted" in refusal()
        monkeypatch.setenv("SSL_CERT_FILE", str(home / "ca.pem"))
        only().send([item()])
        assert box.logins == [("store", "pa55word")]
        login(box.address, password="pa55word wrong")
        assert "smtp_user or SMTP_PASSWORD is wrong" in refusal()
        assert len(box.mails) == 1


def test_a_server_that_offers_no_encryption_gets_no_password(home: Path, login: Any) -> None:
    with mail_server(auth_require_tls=False) as box:
        login(box.address)
        assert "cannot send mail" in refusal()
        login("mail.example.invalid:25", security="none")
        assert "in the clear" in refusal()
        assert box.logins == []


def test_a_mail_server_that_refuses_or_is_away_is_no_delivery(home: Path) -> None:
    with mail_server() as box:
        write(home, alert_mail_to="ann@example.com", smtp_server=box.address, smtp_security="none")
        box.answer = "452 later"
        assert "answered 452" in refusal()
    assert "cannot send mail (Connection refused)" in refusal()


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({}, "smtp_server is not"),
        ({"smtp_server": "host:x"}, "HOST or HOST:PORT"),
        ({"smtp_server": "host", "smtp_user": "ann"}, "set SMTP_PASSWORD or"),
    ],
)
def test_settings_of_mail_that_cannot_be_are_said_and_the_webhook_still_works(
    home: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch, keys: dict[str, str], says: str
) -> None:
    write(home, alert_mail_to="ann@example.com", **keys)
    assert says in refusal()
    monkeypatch.setenv("ALERT_WEBHOOK_URL", hook.url)
    webhook, _ = channels()
    webhook.send([item()])
    assert len(hook.posted) == 1


def test_a_key_that_cannot_be_is_refused_by_name(home: Path) -> None:
    write(home, smtp_security="ssl3")
    with pytest.raises(ServerError, match="smtp_security"):
        channels()


def test_a_receiver_that_never_ends_its_answer_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels_module, "LONGEST_S", 0.05)
    released = Event()

    def wait(_: Sequence[Item]) -> None:
        released.wait(30)

    with pytest.raises(NotDeliveredError, match="no answer within"):
        send_in_time(Channel("slow", wait), [item()])
    released.set()


def test_what_goes_wrong_on_the_way_is_what_is_raised() -> None:
    def refuse(_: Sequence[Item]) -> None:
        raise NotDeliveredError("no")

    with pytest.raises(NotDeliveredError, match="no"):
        send_in_time(Channel("bad", refuse), [item()])
    send_in_time(Channel("good", lambda _: None), [item()])
