"""Files at URLs, by fsspec: found without being downloaded, read as a stream, moved where that is possible.

Their version is size, time and, in the digits below a second, the entity tag: of a store that keeps whole
seconds only, two objects of one second differ. What a message says is in words of ours, or has lost whatever
may be a secret.
"""

import hashlib
import importlib
import time
from collections.abc import Container, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, BinaryIO, NamedTuple, cast

from eventstore.ingestion.addresses import (
    EXTRAS,
    asked_for,
    checked,
    is_http,
    quoted,
    scheme_of,
    shown,
    without_secrets,
)
from eventstore.ingestion.files import (
    MAX_PATH,
    FileVersion,
    Found,
    InputFileError,
    Look,
    NotRead,
    printable,
)
from eventstore.ingestion.formats import by_suffix, suffix_of
from eventstore.ingestion.moving import REASON, names
from eventstore.kernel.incoming import Format

_BLOCK = 4 << 20
_SECOND = 10**9
_PACKAGES = {"s3": "s3fs", "gcs": "gcsfs", "azure": "adlfs", "http": "aiohttp"}
_CONNECT_S, _READ_S = 10, 60
_STATUS = {401: "no permission", 403: "no permission", 404: "no such file", 410: "no such file"}
_UNREACHABLE = ("connect", "timeout", "gaierror", "disconnected", "payload", "dns")


class RemoteFile:
    """A file at a URL, as it was found."""

    def __init__(self, files: Any, key: str, address: str, version: FileVersion, sized: bool) -> None:
        self.files, self.key, self.address = files, key, address
        self._version, self._sized = version, sized

    @property
    def name(self) -> str:
        return self.address.rpartition("/")[2]

    @property
    def folder(self) -> str:
        return self.address.rpartition("/")[0]

    def __fspath__(self) -> str:
        return self.address

    def is_there(self) -> bool:
        """Whether it is, and is still the same."""
        try:
            self.files.invalidate_cache()
            return _version(self.address, self.key, self.files.info(self.key)) == self._version
        except FileNotFoundError:
            return False

    def open(self) -> tuple[BinaryIO, FileVersion]:
        """Raises InputFileError, or FileNotFoundError, if it is not there any more."""
        options: dict[str, Any] = (
            {"block_size": 0} if is_http(self.address) else {"block_size": _BLOCK, "cache_type": "readahead"}
        )
        try:
            stream = self.files.open(self.key, "rb", **options)
        except FileNotFoundError:
            raise
        except Exception as error:
            raise _failed(self.address, error) from None
        size = self._version.size if self._sized else None
        return cast(BinaryIO, _Stream(stream, self.address, size)), self._version


class Gone(NamedTuple):
    """Where a file went; neither a place nor a problem: there is another one by now, or none."""

    to: str | None = None
    problem: str | None = None


class _Stream:
    """A file that is read once, from its beginning; only the first bytes can be read again."""

    def __init__(self, stream: Any, address: str, size: int | None) -> None:
        self._stream, self._address, self._size = stream, address, size
        self._at = 0
        self._first = b""

    def read(self, size: int, /) -> bytes:
        if self._at < len(self._first):
            block = self._first[self._at : self._at + size]
        else:
            block = self._read(size)
            if self._at < 16:
                self._first += block
        self._at += len(block)
        if not block and self._size is not None and self._at < self._size:
            raise InputFileError(f"{self._address}: it broke off after {self._at} of {self._size} bytes")
        return block

    def seek(self, offset: int, /) -> int:
        if offset or self._at != len(self._first):
            raise ValueError("a stream cannot be read again")
        self._at = 0
        return 0

    def tell(self) -> int:
        return self._at

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> "_Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, size: int) -> bytes:
        try:
            return cast(bytes, self._stream.read(size))
        except Exception as error:
            raise _failed(self._address, error) from None


def expand_address(address: str, formats: Sequence[Format]) -> Look:
    """The file at a URL, or the files of the folder there. Raises InputFileError where there is none."""
    address = checked(address)
    suffixes = by_suffix(formats)
    suffix = suffix_of(shown(address).rpartition("/")[2], suffixes)
    if is_http(address) and not suffix:
        return look_address(address, formats)
    files, key = _open(address)
    try:
        info = files.info(key)
    except Exception as error:
        raise _failed(address, error) from None
    if info.get("type") == "directory":
        return look_address(address, formats)
    if not suffix:
        raise InputFileError(f"{shown(address)}: the name must end with one of {', '.join(suffixes)}")
    return Look([_found(files, key, shown(address), info, suffixes[suffix])], [])


def look_address(address: str, formats: Sequence[Format], *, without: Container[FileVersion] = ()) -> Look:
    """The files of a folder at a URL, by name; nothing is downloaded. Raises InputFileError.

    A bucket has no folders: where no name begins so, there is no file.
    """
    address = checked(address)
    files, folder = _open(address)
    try:
        entries = _entries(files, folder, is_http(address))
    except FileNotFoundError as error:
        if is_http(address) or not _is_bucket(files, folder):
            raise _failed(address, error) from None
        entries = {}
    except Exception as error:
        raise _failed(address, error) from None
    suffixes, seen = by_suffix(formats), Look([], [])
    where = shown(address).rstrip("/")
    for name, (key, info) in sorted(entries.items()):
        suffix = suffix_of(name, suffixes)
        if not suffix or name.startswith(".") or info["type"] == "directory":
            continue
        try:
            known = files.info(key) if is_http(address) else info
        except Exception as error:
            seen.skipped.append(NotRead(f"{where}/{quoted(name)}", _in_words(error)))
            continue
        found = _found(files, key, f"{where}/{quoted(name)}", known, suffixes[suffix])
        if len(found.version.file.encode()) > MAX_PATH:
            reason = f"its path has more than {MAX_PATH} bytes"
            seen.skipped.append(NotRead(printable(found.version.file), reason))
        elif found.version not in without:
            seen.files.append(found)
    return seen


def move_remote(file: RemoteFile, folder: str, sha256: bytes, reason: str | None) -> Gone:
    """Copy a file to the first free name in ``folder`` beside it, then delete it, if it is still the same."""
    root, _, name = file.key.rpartition("/")
    try:
        if not file.is_there():
            return Gone()
        for candidate in names(name, sha256.hex()[:8], len(REASON)):
            to = f"{root}/{folder}/{candidate}"
            if not file.files.exists(to):
                if reason is not None:
                    file.files.pipe_file(to + REASON, reason.encode())
                file.files.cp_file(file.key, to)
            elif not _is_copy(file.files, file.key, to):
                continue
            break
        if not file.is_there():
            file.files.rm_file(to)
            return Gone()
        file.files.rm_file(file.key)
    except Exception as error:
        return Gone(problem=_in_words(error))
    return Gone(f"{file.folder}/{folder}/{quoted(candidate)}")


def _open(address: str) -> tuple[Any, str]:
    """What reads such URLs, and what it calls this one."""
    extra = EXTRAS[scheme_of(address)]
    try:
        importlib.import_module(_PACKAGES[extra])
        import fsspec  # noqa: PLC0415
    except ImportError:
        raise InputFileError(
            f"{scheme_of(address)}:// needs what is not installed: pip install 'eventstore[{extra}]'"
        ) from None
    try:
        files = fsspec.filesystem(scheme_of(address), **_options(extra))
        files.invalidate_cache()
        key = address if is_http(address) else str(files._strip_protocol(address))
    except Exception as error:
        raise _failed(address, error) from None
    return files, key


def _options(extra: str) -> dict[str, Any]:
    if extra == "s3":
        limits = {"connect_timeout": _CONNECT_S, "read_timeout": _READ_S, "retries": {"max_attempts": 3}}
        return {"config_kwargs": limits}
    if extra == "http":
        import aiohttp  # noqa: PLC0415

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_READ_S)
        return {"client_kwargs": {"timeout": timeout}, "encoded": True}
    return {}


def _entries(files: Any, folder: str, by_http: bool) -> dict[str, tuple[str, dict[str, Any]]]:
    """Of each name in a folder how it is asked for, and what is known of it."""
    found = {}
    for info in files.ls(folder.rstrip("/") + "/" if by_http else folder, detail=True):
        key = str(info["name"])
        name = (shown(key) if by_http else key).rstrip("/").rpartition("/")[2]
        found[name] = key, info
    return found


def _is_bucket(files: Any, folder: str) -> bool:
    try:
        return bool(files.exists(folder.strip("/").partition("/")[0]))
    except Exception:
        return False


def _found(files: Any, key: str, address: str, info: dict[str, Any], form: Format) -> Found:
    version = _version(address, key, info)
    path = RemoteFile(files, key, address, version, sized=info.get("size") is not None)
    changed = _time(info)
    return Found(path, form, version, changed.timestamp() if changed else time.time())


def _version(address: str, key: str, info: dict[str, Any]) -> FileVersion:
    """Of a server that tells neither time nor tag nothing is known: each time it is another version."""
    tag, changed = _tag(info), _time(info)
    if (tag or changed) and is_http(address) and (asked := asked_for(key)):
        tag += f"?{asked}"
    ns = int(changed.timestamp()) * _SECOND if changed else 0
    if tag:
        ns += int.from_bytes(hashlib.sha256(tag.encode()).digest()[:8], "big") % _SECOND
    elif changed:
        ns += changed.microsecond * 1000
    else:
        ns = time.time_ns()
    return FileVersion(address, int(info.get("size") or 0), ns)


def _tag(info: dict[str, Any]) -> str:
    return str(info.get("ETag") or info.get("etag") or "")


def _time(info: dict[str, Any]) -> datetime | None:
    for name in ("LastModified", "last_modified", "Last-Modified", "mtime", "updated"):
        said = info.get(name)
        try:
            if isinstance(said, datetime):
                return said
            if isinstance(said, str):
                return parsedate_to_datetime(said) if "," in said else datetime.fromisoformat(said)
            if isinstance(said, int | float):
                return datetime.fromtimestamp(said, UTC)
        except (ValueError, OverflowError, OSError):
            continue
    return None


def _is_copy(files: Any, key: str, other: str) -> bool:
    """Whether a move that was broken off made ``other``."""
    this, that = files.info(key), files.info(other)
    return bool(_tag(this)) and (_tag(this), this.get("size")) == (_tag(that), that.get("size"))


def _failed(address: str, error: BaseException) -> InputFileError:
    return InputFileError(f"{shown(address)}: {_in_words(error)}")


def _in_words(error: BaseException) -> str:
    """What went wrong, in one line without anything secret."""
    chain = [error]
    while (before := chain[-1].__cause__ or chain[-1].__context__) and len(chain) < 10:
        chain.append(before)
    said = without_secrets(str(error))
    kinds = " ".join(type(each).__name__.lower() for each in chain)
    statuses = [status for each in chain if isinstance(status := getattr(each, "status", None), int)]
    if statuses:
        words = _STATUS.get(statuses[0], f"the server answers {statuses[0]}")
    elif "permission" in kinds:
        words = f"no permission ({said})"
    elif "credentials" in kinds:
        words = "no credentials: give them as the tools of that store read them, such as AWS_ACCESS_KEY_ID"
    elif any(word in kinds for word in _UNREACHABLE):
        words = "it cannot be reached, or the connection broke off"
    elif isinstance(error, FileNotFoundError):
        words = "no such bucket" if "bucket does not exist" in said else "no such file or folder"
    else:
        words = f"{type(error).__name__}: {said}"
    return words
