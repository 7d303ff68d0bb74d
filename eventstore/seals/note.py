"""Signed notes (c2sp.org/signed-note): a text that people can read, signed by Ed25519 keys. Pure."""

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_ED25519 = b"\x01"
_KEY_BYTES = 32
_PRIVATE = "PRIVATE+KEY+"
_LONGEST = 1_000_000


class NoteError(ValueError):
    """Text that is no signed note, or no key of one. The message never holds the text."""


class VerifierKey(NamedTuple):
    """A public key and the name that it goes by: ``name+hash+base64``."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        return sha256(f"{self.name}\n".encode() + _ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{b64encode(_ED25519 + self.public).decode()}"


class SigningKey(NamedTuple):
    """A private key. Its text is in ``secret``, which nothing but the key's file is to hold."""

    name: str
    private: Ed25519PrivateKey

    @property
    def verifier(self) -> VerifierKey:
        return VerifierKey(self.name, self.private.public_key().public_bytes_raw())

    @property
    def secret(self) -> str:
        seed = b64encode(_ED25519 + self.private.private_bytes_raw()).decode()
        return f"{_PRIVATE}{self.name}+{self.verifier.id.hex()}+{seed}"

    def __repr__(self) -> str:
        return f"SigningKey({self.verifier})"


class Note(NamedTuple):
    text: str  #: what is signed; ends with a line feed
    signatures: tuple[tuple[str, bytes], ...]  #: name of the key, id of the key and signature

    @property
    def digest(self) -> str:
        """What the text is known by: its SHA-256."""
        return sha256(self.text.encode()).hexdigest()

    def is_signed_by(self, key: VerifierKey) -> bool:
        for name, signature in self.signatures:
            if name == key.name and signature[:4] == key.id:
                try:
                    Ed25519PublicKey.from_public_bytes(key.public).verify(signature[4:], self.text.encode())
                except InvalidSignature:
                    return False
                return True
        return False

    def signer(self, keys: Iterable[VerifierKey]) -> VerifierKey | None:
        """The first of these keys that signed it."""
        return next((key for key in keys if self.is_signed_by(key)), None)


def new_key(name: str) -> SigningKey:
    return SigningKey(_checked(name), Ed25519PrivateKey.generate())


def read_signing_key(text: str) -> SigningKey:
    """A private key of the form PRIVATE+KEY+name+hash+base64, as the tools for notes write it."""
    parts = text.strip().removeprefix(_PRIVATE).split("+", 2)
    if not text.strip().startswith(_PRIVATE) or len(parts) != 3:
        raise NoteError("it is no private key of the form PRIVATE+KEY+name+hash+base64")
    key = SigningKey(_checked(parts[0]), Ed25519PrivateKey.from_private_bytes(_key_bytes(parts[2])))
    if key.verifier.id.hex() != parts[1]:
        raise NoteError("its hash does not belong to it: a part of it was changed")
    return key


def read_verifier_key(text: str) -> VerifierKey:
    """A public key of the form name+hash+base64."""
    parts = text.strip().split("+", 2)
    if len(parts) != 3 or text.startswith(_PRIVATE):
        raise NoteError("it is no public key of the form name+hash+base64")
    key = VerifierKey(_checked(parts[0]), _key_bytes(parts[2]))
    if key.id.hex() != parts[1]:
        raise NoteError("its hash does not belong to it: a part of it was changed")
    return key


def sign(text: str, *keys: SigningKey) -> str:
    """The text as a note, with a signature a key."""
    lines = [
        f"— {key.name} {b64encode(key.verifier.id + key.private.sign(text.encode())).decode()}\n"
        for key in keys
    ]
    return "".join([text, "\n", *lines])


def read_note(note: str) -> Note:
    """Raises NoteError for what is no note. Whether the signatures are right is asked of the Note."""
    if len(note) > _LONGEST or any(character < " " and character != "\n" for character in note):
        raise NoteError("it is no signed note: it is too long, or has control characters")
    text, separator, signatures = note.rpartition("\n\n")
    if not separator or not signatures.endswith("\n"):
        raise NoteError("it is no signed note: it does not end with a blank line and signatures")
    return Note(f"{text}\n", tuple(map(_signature, signatures[:-1].split("\n"))))


def _signature(line: str) -> tuple[str, bytes]:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    try:
        signature = b64decode(encoded, validate=True)
    except (Base64Error, ValueError):
        signature = b""
    if dash != "—" or not name or len(signature) < 5:
        raise NoteError("it is no signed note: a line of its signatures is malformed")
    return name, signature


def _checked(name: str) -> str:
    if not name or "+" in name or not name.isprintable() or any(map(str.isspace, name)):
        raise NoteError("the name of a key is one or more characters without spaces and plus signs")
    return name


def _key_bytes(text: str) -> bytes:
    try:
        decoded = b64decode(text, validate=True)
    except (Base64Error, ValueError):
        decoded = b""
    if len(decoded) != 1 + _KEY_BYTES or decoded[:1] != _ED25519:
        raise NoteError("it is no Ed25519 key")
    return decoded[1:]
