"""Which of some formats a file or a reject is of. The formats that are shipped have a module each."""

from collections.abc import Iterable

from eventstore.kernel.incoming import Format

_GZIP = ".gz"


def by_suffix(formats: Iterable[Format]) -> dict[str, Format]:
    """How the names of their files end, plain and gzip.

    Raises ValueError for what no name can end with, and where two claim the same names.
    """
    found: dict[str, Format] = {}
    for packed in ("", _GZIP):
        for each in formats:
            for suffix in each.suffixes:
                if not suffix.startswith(".") or suffix != suffix.lower():
                    raise ValueError(f"{each.name}: {suffix!r} is no ending in small letters after a dot")
                if found.setdefault(suffix + packed, each) is not each:
                    raise ValueError(f"{suffix} is claimed by {found[suffix].name} and {each.name}")
    return found


def suffix_of(name: str, suffixes: Iterable[str]) -> str:
    """The longest of the ``suffixes`` that a name ends with; "" where it ends with none of them."""
    lower = name.lower()
    return max((suffix for suffix in suffixes if lower.endswith(suffix)), key=len, default="")


def by_name(formats: Iterable[Format]) -> dict[str, Format]:
    """Raises ValueError where two have the same name."""
    found: dict[str, Format] = {}
    for each in formats:
        if found.setdefault(each.name, each) is not each:
            raise ValueError(f"two formats are called {each.name}")
    return found


def in_words(formats: Iterable[Format]) -> str:
    """What files there are to read, for people."""
    return "; ".join(f"{each.description} ({', '.join(each.suffixes)})" for each in formats)
