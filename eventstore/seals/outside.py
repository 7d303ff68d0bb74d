"""What seals need outside of the database: the private key, and the folder of checkpoints."""

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from eventstore.seals.errors import KeyMissingError, SealError
from eventstore.seals.folder import CheckpointFolder
from eventstore.seals.keyring import read_key_note
from eventstore.seals.note import (
    NoteError,
    SigningKey,
    VerifierKey,
    new_key,
    read_signing_key,
    read_verifier_key,
)
from eventstore.seals.timestamps import Authority
from eventstore.server import settings
from eventstore.server.settings import made

KEY_VARIABLE = "EVENTSTORE_SEAL_KEY"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_LARGEST = 10_000


class Outside:
    """The home folder, and what the environment says instead of it."""

    def __init__(self, home: Path, environment: Mapping[str, str], checkpoints: Path | None = None) -> None:
        self.home = home
        self.folder = CheckpointFolder(checkpoints or home / "checkpoints")
        self.authority = Authority.configured(environment)
        self.key_file = home / "seal.key"
        self.next_key_file = home / "seal.key.next"
        self._given = environment.get(KEY_VARIABLE, "").strip()

    @property
    def key_is_given(self) -> bool:
        """Whether the environment holds the private key, and not a file."""
        return bool(self._given)

    def signing_key(self) -> SigningKey | None:
        """The private key; None where there is none. Raises SealError for one that others could read."""
        if self._given:
            return _key(self._given, KEY_VARIABLE)
        return _read_private(self.key_file)

    def next_signing_key(self) -> SigningKey | None:
        """The key that a change of keys has made, until it takes the place of the one before."""
        return _read_private(self.next_key_file)

    def make_key(self) -> SigningKey:
        """A new key in its file, under a new name of a log; the one of another process that was faster."""
        self.keep_key(new_key(f"eventstore/{uuid4()}"), self.key_file)
        key = self.signing_key()
        assert key is not None
        return key

    def keep_key(self, key: SigningKey, file: Path) -> bool:
        """Write a private key into a file that nobody else may read; False where there is one already."""
        part = made(self.home) / f".{file.name}.{uuid4().hex}"
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:
                opened.write(f"{key.secret}\n")
                opened.flush()
                os.fsync(opened.fileno())
            os.link(part, file)  # whole, and never in the place of another key
        except OSError:
            if file.exists():
                return False
            if not part.exists():
                raise
            part.replace(file)  # a file system without links
        finally:
            part.unlink(missing_ok=True)
        return True

    def put_next_key_in_place(self) -> None:
        """The key before is gone for good then: nobody can sign with it any more."""
        self.next_key_file.replace(self.key_file)

    def trusted(self) -> list[VerifierKey]:
        """The keys that this home vouches for: that of its private key, else those in its folder."""
        with suppress(KeyMissingError):  # who verifies may be another user than who seals
            key = self.signing_key()
            if key is not None:
                return [key.verifier]
        introduced = []
        for written in self.folder.key_notes():
            with suppress(NoteError):
                introduced.append(read_key_note(written)[0].key)
        return introduced


def outside(environment: Mapping[str, str] | None = None) -> Outside:
    """What this machine has of it."""
    return Outside(
        settings.home(), os.environ if environment is None else environment, settings.checkpoints()
    )


def read_trusted(text: str) -> VerifierKey:
    """A public key as somebody gave it. Raises SealError."""
    try:
        return read_verifier_key(text)
    except NoteError as error:
        raise SealError(f"this is not a public key as `eventstore seal-key` prints it: {error}") from None


def _read_private(file: Path) -> SigningKey | None:
    try:
        descriptor = os.open(file, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeyMissingError(f"cannot read the private key {file}: {error.strerror}") from None
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise KeyMissingError(f"cannot read the private key {file}: it is a folder")
    with os.fdopen(descriptor) as opened:
        if os.name == "posix" and os.fstat(descriptor).st_mode & _OTHERS:
            raise KeyMissingError(f"others may read the private key: chmod 600 {file}")
        try:
            text = opened.read(_LARGEST)
        except UnicodeDecodeError:
            text = ""
    return _key(text, str(file))


def _key(text: str, where: str) -> SigningKey:
    try:
        return read_signing_key(text)
    except NoteError as error:
        raise KeyMissingError(f"what {where} holds is not a key that can sign: {error}") from None
