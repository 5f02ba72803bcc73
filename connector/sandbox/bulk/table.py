"""Rows <-> CSV with the delimiter and the line ending of a job."""

import csv
import io
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from connector.sandbox.errors import ApiError

DELIMITERS = {"BACKQUOTE": "`", "CARET": "^", "COMMA": ",", "PIPE": "|", "SEMICOLON": ";", "TAB": "\t"}
ENDINGS = {"LF": "\n", "CRLF": "\r\n"}
_WIDEST = 150 * 1024 * 1024


@dataclass
class Table:
    heads: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


@dataclass(frozen=True)
class Form:
    delimiter: str = "COMMA"
    ending: str = "LF"

    def write(self, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
        out = io.StringIO()
        made = csv.writer(
            out, delimiter=DELIMITERS[self.delimiter], lineterminator=ENDINGS[self.ending], quoting=csv.QUOTE_ALL
        )
        made.writerow(heads)
        made.writerows(rows)
        return out.getvalue()

    def read(self, content: bytes) -> Table:
        """Raises ValueError that says what is wrong with it."""
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise ValueError("The CSV is not UTF-8") from None
        before = csv.field_size_limit(min(_WIDEST, sys.maxsize))
        try:
            lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=DELIMITERS[self.delimiter], strict=True))
        except csv.Error as wrong:
            raise ValueError(f"Failed to parse CSV: {wrong}") from None
        finally:
            csv.field_size_limit(before)
        lines = [line for line in lines if line]
        if not lines:
            raise ValueError("Failed to parse CSV header: there is none")
        heads, *rows = lines
        if len({head.lower() for head in heads}) < len(heads) or not all(heads):
            raise ValueError("Failed to parse CSV header: a field stands twice, or has no name")
        for place, row in enumerate(rows, 1):
            if len(row) != len(heads):
                raise ValueError(f"Row {place} has {len(row)} columns, the header has {len(heads)}")
        return Table(heads, rows)


def form(body: Mapping[str, Any]) -> Form:
    given: dict[str, str] = {}
    for name, default, known in (("columnDelimiter", "COMMA", DELIMITERS), ("lineEnding", "LF", ENDINGS)):
        value = default if body.get(name) is None else body[name]
        given[name] = value
        if not isinstance(value, str) or value not in known:
            raise ApiError(400, "INVALIDJOB", f"{name} is one of {', '.join(known)}, not {value}")  # [U]
    return Form(given["columnDelimiter"], given["lineEnding"])


def cell(value: Any, kind: str) -> str:
    """A value of the REST answer as CSV has it: instants end in Z."""
    if value is None:
        return ""
    if kind == "datetime":
        return str(value).replace("+0000", "Z")
    return value if isinstance(value, str) else json.dumps(value)
