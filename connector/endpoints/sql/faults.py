"""What a database's error means, and who can act on it. Neither SQL nor passwords get into the sentences."""

from __future__ import annotations

import re

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, StatementError

from connector.endpoints.sql.tables import Table
from connector.errors import ConnectorError, Drifted, Rejected, SetupError, Unauthorized, Unavailable

_SIGN_IN = re.compile(r"authentication failed|no password supplied|(database|role) \S+ does not exist|no pg_hba.conf")
_ROWS = ("22", "23", "54", "P0")
"""SQLSTATE classes that blame the row: data, constraints, limits, a trigger that refuses."""


def failure(error: Exception, doing: str) -> ConnectorError:
    """Of a whole call."""
    code, line = _code(error), f"{doing}: {first_line(error)}"
    if code in ("SQLITE_FULL", "53100"):
        return SetupError(f"{line}: the disk is full, make room")
    if code.startswith("SQLITE_READONLY") or code == "25006":
        return SetupError(f"{line}: the database cannot be written, give this program's user the right to")
    if code.startswith(("SQLITE_CANTOPEN", "SQLITE_NOTADB", "SQLITE_CORRUPT", "SQLITE_PERM")) or code[:2] in (
        "28",
        "3D",
    ):
        return SetupError(f"{line}: check `url`")
    if code == "42501":
        return Unauthorized(line)
    if code in ("42P01", "42703") or "no such table" in line or "no such column" in line or "has no column" in line:
        return Drifted(line)
    if code[:2] in _ROWS or isinstance(
        error, IntegrityError
    ):  # outside of a row's own statement: an index over doubles
        return SetupError(line)
    return SetupError(f"{line}: check `url`") if _SIGN_IN.search(line) else Unavailable(line)


def refusal(error: Exception, table: Table) -> Rejected | None:
    """Of one row, if it is the row's fault."""
    code = _code(error)
    to_blame = isinstance(error, IntegrityError | DataError | ValueError | ArithmeticError) or code[:2] in _ROWS
    unsent = isinstance(error, StatementError) and not isinstance(error, DBAPIError)  # a value that the driver refused
    if not to_blame and not unsent:
        return None
    line, diag = first_line(error), getattr(getattr(error, "orig", None), "diag", None)
    said = f"{line} {getattr(diag, 'column_name', '')} {str(getattr(diag, 'message_detail', '')).partition('=')[0]}"
    named = tuple(column for column in table.codecs if re.search(rf"\b{re.escape(column)}\b", said))
    return Rejected(f"{table.label}: {line}", code or "INVALID_VALUE", named)


def first_line(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).strip().partition("\n")[0]


def _code(error: Exception) -> str:
    cause = getattr(error, "orig", None)
    return str(getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", None) or "")
