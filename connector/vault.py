"""Tokens at rest: texts in the store's cache, encrypted with a key that lies outside the data.

The key is CONNECTOR_KEY, or stands in the file that CONNECTOR_KEY_FILE names; `connector auth key` makes one. Of several, with
a blank between them, the first encrypts and all decrypt. Each text has a key of its own, derived (HKDF) from these for its
connection, system and label: a row that is copied to another place cannot be read there.
"""

from __future__ import annotations

import os
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from connector.errors import SetupError
from connector.model import Clock

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

LEASE = timedelta(seconds=150)
"""Longer than the deadline of the one call that is made while a lock is held."""
_MAKE = "make one with connector auth key, and keep it outside the data"


class Texts(Protocol):
    """What a vault keeps its texts in: `state.Cache`."""

    def get(self, key: str, /) -> str | None: ...
    def __setitem__(self, key: str, value: str, /) -> None: ...
    def pop(self, key: str, default: None, /) -> str | None: ...
    def swap(self, key: str, old: str | None, new: str) -> bool: ...


class Vault:
    """The secrets of one system of one connection. Raises SetupError where a key is missing, no key, or another one."""

    def __init__(self, texts: Texts, connection: str, system: str, clock: Clock, environ: Mapping[str, str]) -> None:
        self.connection, self._texts, self._clock, self._environ = connection, texts, clock, environ
        self._place = f"{connection}/{system}"

    def ready(self) -> None:
        """Raises SetupError unless there is a key: said before anybody is asked for something to keep."""
        _keys(self._environ)

    def get(self, label: str) -> str | None:
        from cryptography.fernet import InvalidToken  # noqa: PLC0415 - slow, and only who signs a person in needs it

        kept = self._texts.get(label)
        if kept is None:
            return None
        try:
            return self._cipher(label).decrypt(kept).decode()
        except InvalidToken:
            right = f"set the key that it was kept with, or sign in again: connector auth login {self.connection}"
            raise SetupError(f"CONNECTOR_KEY does not open what is kept for {self._place}; {right}") from None

    def put(self, label: str, text: str) -> None:
        self._texts[label] = self._cipher(label).encrypt(text.encode()).decode()

    def drop(self, label: str) -> None:
        self._texts.pop(label, None)

    @contextmanager
    def alone(self, label: str) -> Iterator[None]:
        """One worker at a time, across threads, processes and machines: the lock is a row, taken by compare-and-set.

        No transaction is held meanwhile. The lock of a worker that died is free after LEASE.
        """
        row, mine = f"{label} lock", ""
        while not mine:
            held, now = self._texts.get(row), self._clock.now()
            if held and now.timestamp() < float(held.partition(" ")[0]):
                self._clock.sleep(0.1)
                continue
            wanted = f"{(now + LEASE).timestamp()} {secrets.token_hex(8)}"
            mine = wanted if self._texts.swap(row, held, wanted) else ""
        try:
            yield
        finally:
            self._texts.swap(row, mine, "")

    def _cipher(self, label: str) -> MultiFernet:
        from cryptography.fernet import Fernet, MultiFernet  # noqa: PLC0415
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415

        about = f"connector {self._place} {label}".encode()
        own = (HKDF(SHA256(), 32, None, about).derive(key) for key in _keys(self._environ))
        return MultiFernet([Fernet(urlsafe_b64encode(key)) for key in own])


def new_key() -> str:
    return urlsafe_b64encode(secrets.token_bytes(32)).decode()


def _keys(environ: Mapping[str, str]) -> list[bytes]:
    text, file = environ.get("CONNECTOR_KEY", ""), environ.get("CONNECTOR_KEY_FILE", "")
    name = "CONNECTOR_KEY" if text else file
    words = re.split(r"[\s,]+", (text or (private(Path(file)) if file else "")).strip())
    if words == [""]:
        raise SetupError(f"{name or 'CONNECTOR_KEY'} holds no key: tokens are kept encrypted; {_MAKE}")
    try:
        keys = [urlsafe_b64decode(word) for word in words]
    except ValueError:
        keys = []
    if {len(key) for key in keys} != {32}:
        raise SetupError(f"{name} holds something that is no key; {_MAKE}")
    return keys


def private(file: Path) -> str:
    """The text of a file that nobody else may read."""
    try:
        with file.open(encoding="utf-8") as opened:
            mode, text = os.fstat(opened.fileno()).st_mode, opened.read()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise SetupError(f"the key file {file} cannot be read: {reason}") from None
    if os.name == "posix" and mode & 0o077:
        raise SetupError(f"the key file {file} is open to others; chmod 600 {file}")
    return text
