"""What a database's error means, and who can act on it. Neither SQL nor passwords get into the sentences."""

from __future__ import annotations

import re

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, StatementError

from connector.endpoints.sql.columns import UNFIT
from connector.endpoints.sql.tables import Table
from connector.errors import ConnectorError, Drifted, Rejected, SetupError, Unauthorized, Unavailable

_ROW = "22|23|54|P0|SQLITE_CONSTRAINT|SQLITE_MISMATCH|SQLITE_TOOBIG"
"""Codes that blame the row: data, constraints, limits, a trigger that refuses. SQLSTATE, or SQLite's own."""
_KINDS: tuple[tuple[str, type[ConnectorError], str], ...] = (
    ("53100|SQLITE_FULL", SetupError, ": the disk is full, make room"),
    ("25006|SQLITE_READONLY", SetupError, ": the database cannot be written, give this program's user the right to"),
    ("28|3D|SQLITE_(CANTOPEN|NOTADB|CORRUPT|PERM)", SetupError, ": check `url`"),
    (".*(authentication failed|no password|no pg_hba|(database|role) .* does not exist)", SetupError, ": check `url`"),
    ("42501", Unauthorized, ""),
    ("42P01|42703|.*(no such (table|column)|has no column)", Drifted, ""),
    (_ROW, SetupError, ""),  # outside of a row's own statement: an index over doubles
    ("", Unavailable, ""),
)
"""The beginning of code and message -> who can act, and how. The first that fits."""


def failure(error: Exception, doing: str) -> ConnectorError:
    """Of a whole call."""
    said = f"{_code(error)} {first_line(error)}"
    kind, hint = next((kind, hint) for begins, kind, hint in _KINDS if re.match(begins, said))
    return kind(f"{doing}: {first_line(error)}{hint}")


def refusal(error: Exception, table: Table) -> Rejected | None:
    """Of one row, if it is the row's fault."""
    code, line = _code(error), first_line(error)
    unsent = isinstance(error, StatementError) and not isinstance(error, DBAPIError)  # a value that the driver refused
    if not (unsent or isinstance(error, (IntegrityError, DataError, *UNFIT)) or re.match(_ROW, code)):
        return None
    diag = getattr(getattr(error, "orig", None), "diag", None)
    said = f"{line} {getattr(diag, 'column_name', '')} {str(getattr(diag, 'message_detail', '')).partition('=')[0]}"
    named = tuple(column for column in table.codecs if re.search(rf"\b{re.escape(column)}\b", said))
    return Rejected(f"{table.label}: {line}", code or "INVALID_VALUE", named)


def first_line(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).strip().partition("\n")[0]


def _code(error: Exception) -> str:
    cause = getattr(error, "orig", None)
    return str(getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", None) or "")
