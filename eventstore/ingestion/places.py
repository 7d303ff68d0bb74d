"""Files of this machine and at URLs, alike: what there is to read in a folder, and at what people name."""

from collections.abc import Container, Sequence
from pathlib import Path

from eventstore.ingestion import files
from eventstore.ingestion.addresses import is_address, is_http
from eventstore.ingestion.files import FileVersion, Found, InputFileError, Look, NotRead
from eventstore.ingestion.remote import RemoteFile, expand_address, look_address
from eventstore.kernel.addresses import SCHEMES, beginning_of, begins_like_one
from eventstore.kernel.incoming import Format


def look(
    folder: Path | str,
    formats: Sequence[Format],
    *,
    settled: bool = False,
    without: Container[FileVersion] = (),
) -> Look:
    """The files of a folder, or of a URL, that can be ingested; what a store has got is always complete."""
    if isinstance(folder, str) and is_address(folder):
        return look_address(folder, formats, without=without)
    return files.look(Path(folder), formats, settled=settled, without=without)


def expand(paths: Sequence[Path | str], formats: Sequence[Format]) -> Look:
    """The files that paths and URLs stand for, each once. Raises InputFileError for one that is none."""
    found: dict[str, Found] = {}
    skipped: dict[NotRead, None] = {}
    for path in paths:
        at = isinstance(path, str) and is_address(path)
        if not at and begins_like_one(str(path)) and not Path(path).exists():
            raise InputFileError(
                f"{beginning_of(str(path))}: no such file, and no URL that is read: those begin with "
                f"{', '.join(f'{scheme}://' for scheme in SCHEMES)}"
            )
        seen = expand_address(str(path), formats) if at else files.expand([Path(path)], formats)
        for each in seen.files:
            key = each.path.key if isinstance(each.path, RemoteFile) else each.path.__fspath__()
            found.setdefault(key, each)
        skipped.update(dict.fromkeys(seen.skipped))
    return Look(list(found.values()), list(skipped))


def can_move(folder: Path | str) -> bool:
    """Whether there is a way to move what was read there: a web server only shows its files."""
    return not (isinstance(folder, str) and is_http(folder))
