"""Time stamps (RFC 3161): what an authority that others trust says of when a checkpoint existed."""

from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit
from urllib.request import Request, urlopen

from cryptography.x509 import Certificate, load_pem_x509_certificates
from rfc3161_client import (
    TimeStampRequest,
    TimestampRequestBuilder,
    TimeStampResponse,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)
from rfc3161_client.base import HashAlgorithm

from eventstore.seals.errors import SealError

URL_VARIABLE = "EVENTSTORE_TSA_URL"
CERTIFICATES_VARIABLE = "EVENTSTORE_TSA_CERTIFICATES"

_TIMEOUT_S = 15
_LARGEST = 100_000


class Stamp(NamedTuple):
    at: datetime  #: by the clock of the authority
    reply: bytes  #: as `openssl ts -verify` takes it


class Authority(NamedTuple):
    url: str
    certificates: Path | None  #: of those that it may be signed by, and above; without, replies are only read

    @classmethod
    def configured(cls, environment: Mapping[str, str]) -> "Authority | None":
        url = environment.get(URL_VARIABLE, "").strip()
        certificates = environment.get(CERTIFICATES_VARIABLE, "").strip()
        return cls(url, Path(certificates).expanduser() if certificates else None) if url else None

    @property
    def name(self) -> str:
        """The URL without what may be a password."""
        parts = _parts(self.url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def stamp(authority: Authority, content: bytes) -> Stamp:
    """Have ``content`` stamped, and look whether the reply is about it. Raises SealError."""
    for with_certificates in (True, False):
        request = (
            TimestampRequestBuilder()
            .data(content)
            .hash_algorithm(HashAlgorithm.SHA256)
            .nonce(nonce=True)
            .cert_request(cert_request=with_certificates)
            .build()
        )
        reply = _post(authority, request.as_bytes())
        try:
            response = decode_timestamp_response(reply)
        except ValueError:
            if with_certificates:
                continue  # some authorities send their certificates out of order; they can be left out
            raise SealError(f"the time stamp authority {authority.name} sent no time stamp") from None
        return Stamp(_checked(authority, request, response, content), reply)
    raise AssertionError


def check(reply: bytes, content: bytes, certificates: Path) -> datetime:
    """When ``content`` was stamped, if the reply says so and one of the certificates stands for it.

    Raises SealError.
    """
    try:
        response = decode_timestamp_response(reply)
    except ValueError:
        raise SealError("the time stamp cannot be read") from None
    _verify(response, content, certificates, nonce=None)
    return response.tst_info.gen_time


def _checked(
    authority: Authority, request: TimeStampRequest, response: TimeStampResponse, content: bytes
) -> datetime:
    if response.status != 0:
        said = " ".join(response.status_string) or f"status {response.status}"
        raise SealError(f"the time stamp authority {authority.name} refuses: {said}")
    found = response.tst_info
    if found.nonce != request.nonce or found.message_imprint.message != request.message_imprint.message:
        raise SealError(f"the time stamp authority {authority.name} stamped something else")
    if authority.certificates is not None:
        _verify(response, content, authority.certificates, nonce=request.nonce)
    return found.gen_time


def _verify(response: TimeStampResponse, content: bytes, certificates: Path, nonce: int | None) -> None:
    try:
        given = load_pem_x509_certificates(certificates.read_bytes())
    except OSError as error:
        raise SealError(f"cannot read the certificates {certificates}: {error.strerror}") from None
    except ValueError:
        raise SealError(f"{certificates} holds no certificates in PEM form") from None
    builder = VerifierBuilder(nonce=nonce, roots=[one for one in given if _is_root(one)])
    for certificate in given:
        if not _is_root(certificate):
            builder = builder.add_intermediate_certificate(certificate)
    if not response.signed_data.certificates:
        signers = [one for one in given if _signed(response, one)]
        if not signers:
            raise SealError(f"{certificates} lacks the certificate of the authority itself")
        builder = builder.tsa_certificate(signers[0])
    try:
        builder.build().verify_message(response, content)
    except (VerificationError, ValueError) as error:
        raise SealError(f"the time stamp does not hold: {error}") from None


def _is_root(certificate: Certificate) -> bool:
    return certificate.issuer == certificate.subject


def _signed(response: TimeStampResponse, certificate: Certificate) -> bool:
    return any(
        signer.issuer == certificate.issuer and signer.serial_number == certificate.serial_number
        for signer in response.signed_data.signer_infos
    )


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise SealError(f"{URL_VARIABLE} is no http or https URL")
    return parts


def _post(authority: Authority, query: bytes) -> bytes:
    parts = _parts(authority.url)
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    request = Request(bare, query, {"Content-Type": "application/timestamp-query"})  # noqa: S310
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_header("Authorization", f"Basic {b64encode(login.encode()).decode()}")
    try:
        with urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - looked at above
            reply: bytes = answer.read(_LARGEST)
    except (URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise SealError(f"the time stamp authority {authority.name} cannot be reached: {reason}") from None
    return reply
