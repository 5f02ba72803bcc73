"""15 or 18 characters -> the canonical 18-character id; a counter -> a new id."""

import re
from functools import lru_cache

_SUFFIX = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_FORM = re.compile(r"[0-9A-Za-z]{15}(?:[0-9A-Za-z]{3})?", re.ASCII)


def checksum(id15: str) -> str:
    groups = (id15[0:5], id15[5:10], id15[10:15])
    return "".join(_SUFFIX[sum(1 << bit for bit, char in enumerate(group) if "A" <= char <= "Z")] for group in groups)


@lru_cache(maxsize=4096)
def canonical(text: str) -> str | None:
    """None for what is not an id: a wrong length, a wrong character, a wrong checksum."""
    if not _FORM.fullmatch(text):
        return None
    whole = text[:15] + checksum(text[:15])
    return whole if text in (text[:15], whole) else None


def make(prefix: str, number: int) -> str:
    """Deterministic: the same story gives the same ids. The letters tell a made id from one that a fixture gave."""
    id15 = f"{prefix}Sb{number:010d}"
    return id15 + checksum(id15)
