"""An authority of our own stamps checkpoints; a stamp of something else, or by somebody else, is none."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from eventstore.log.connection import Connection
from eventstore.seals.errors import SealError
from eventstore.seals.outside import Outside
from eventstore.seals.proving import sealed_checkpoint
from eventstore.seals.sealing import seal
from eventstore.seals.timestamps import (
    CERTIFICATES_VARIABLE,
    URL_VARIABLE,
    Authority,
    check,
    stamp,
)
from eventstore.seals.verifying import ALTERED, INTACT, verify
from tests.seals.authority import LocalAuthority, local_authority, openssl
from tests.seals.tampering import altering

Append = Callable[..., list[UUID]]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAuthority]:
    with local_authority(tmp_path_factory.mktemp("authority") / "a") as authority:
        yield authority


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAuthority]:
    with local_authority(tmp_path_factory.mktemp("authority") / "b", with_chain=True) as authority:
        yield authority


def stamping(home: Path, authority: LocalAuthority, certificates: Path | None = None) -> Outside:
    return Outside(
        home,
        {URL_VARIABLE: authority.url, CERTIFICATES_VARIABLE: str(certificates or authority.certificates)},
    )


def test_the_newest_checkpoint_is_stamped_and_openssl_agrees(
    session: Connection, append: Append, home: Path, local: LocalAuthority
) -> None:
    outside = stamping(home, local)
    append(4)
    done = seal(session, outside, step=2)
    assert done.stamped_at is not None
    assert abs(done.stamped_at - datetime.now(UTC)) < timedelta(minutes=1)
    note = home / "checkpoints" / "epoch-1" / "000000" / "000000002.note"
    assert note.with_suffix(".tsr").exists()
    assert not note.with_name("000000001.tsr").exists()
    checked = openssl("ts", "-verify", "-data", note, "-in", note.with_suffix(".tsr"), "-CAfile", local.root)
    assert "Verification: OK" in checked.stdout
    found = verify(session, outside)
    assert (found.verdict, found.stamped_at) == (INTACT, done.stamped_at)
    assert seal(session, outside).stamped_at is None  # it is stamped already
    append(1)
    assert seal(session, outside).stamped_at is not None


def test_a_stamp_of_another_checkpoint_is_found(
    session: Connection, append: Append, home: Path, local: LocalAuthority
) -> None:
    outside = stamping(home, local)
    append(1)
    seal(session, outside)
    reply = stamp(Authority(local.url, None), b"something else").reply
    with altering(session, "seal_timestamps"):
        session.execute("UPDATE seal_timestamps SET reply = %s", (reply,))
    found = verify(session, outside)
    assert found.verdict == ALTERED
    assert [problem.kind for problem in found.problems] == ["timestamp"]


def test_an_authority_that_is_away_stops_no_seal_and_is_asked_again(
    session: Connection, append: Append, home: Path, local: LocalAuthority
) -> None:
    away = Outside(home, {URL_VARIABLE: "http://user:hush@127.0.0.1:1/tsr?token=hush"})
    append(1)
    done = seal(session, away)
    assert (done.checkpoint, done.stamped_at) == (1, None)
    assert "cannot be reached" in done.warnings[0]
    assert "hush" not in " ".join(done.warnings)
    assert seal(session, stamping(home, local)).stamped_at is not None


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "nonsense", "http://[::1/"])
def test_an_address_that_is_none_is_said(url: str) -> None:
    with pytest.raises(SealError):
        stamp(Authority(url, None), b"x")


def test_a_reply_is_checked_against_the_certificates_that_are_trusted(
    local: LocalAuthority, other: LocalAuthority
) -> None:
    made = stamp(Authority(local.url, local.certificates), b"content")
    assert check(made.reply, b"content", local.root) == made.at
    for reply, content, certificates in (
        (made.reply, b"another", local.root),
        (made.reply, b"content", other.root),
        (made.reply[:-7], b"content", local.root),
        (b"", b"content", local.root),
        (made.reply, b"content", local.folder / "tsa.cnf"),
        (made.reply, b"content", local.folder / "nowhere"),
    ):
        with pytest.raises(SealError):
            check(reply, content, certificates)
    with pytest.raises(SealError):
        stamp(Authority(local.url, other.certificates), b"content")


def test_an_authority_that_sends_certificates_out_of_order_is_asked_without_them(
    other: LocalAuthority,
) -> None:
    made = stamp(Authority(other.url, None), b"content")
    assert check(made.reply, b"content", other.certificates) == made.at


def test_without_certificates_a_stamp_is_kept_and_not_vouched_for(
    session: Connection, append: Append, home: Path, local: LocalAuthority
) -> None:
    outside = Outside(home, {URL_VARIABLE: local.url})
    append(1)
    assert seal(session, outside).stamped_at is not None
    found = verify(session, outside)
    assert (found.verdict, found.stamped_at) == (INTACT, None)
    assert sealed_checkpoint(session).checkpoint.number == 1
