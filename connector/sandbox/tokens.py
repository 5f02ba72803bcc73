"""SOQL text -> tokens that know where they stood; a position -> the layout of Salesforce's query errors."""

import re
from dataclasses import dataclass

from connector.sandbox.errors import ApiError

MAX_LITERAL = 4_000
EOF = "<EOF>"

_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<datetime>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d))
  | (?P<date>\d{4}-\d\d-\d\d)(?![\w-])
  | (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?!\w)
  | (?P<text>'(?:[^'\\]|\\.)*')
  | (?P<period>[A-Za-z_]+:\d+)
  | (?P<word>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)
  | (?P<mark><=|>=|!=|<>|[=<>(),:])
    """,
    re.VERBOSE | re.ASCII | re.DOTALL,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", '"': '"', "'": "'", "\\": "\\"}
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_WINDOW = 30


@dataclass(frozen=True)
class Token:
    kind: str
    text: str
    at: int


def tokens(query: str) -> list[Token]:
    found_tokens, at = [], 0
    while at < len(query):
        found = _TOKEN.match(query, at)
        if found is None:
            if query[at] == "'":
                raise malformed(query, at, f"line 1:{len(query)} mismatched character '{EOF}' expecting '''")  # [U]
            raise malformed(query, at, f"unexpected token: '{query[at]}'")
        kind = found.lastgroup or ""
        if kind != "space":
            found_tokens.append(Token(kind, found[0], at))
        at = found.end()
    return [*found_tokens, Token("end", EOF, len(query))]


def unescaped(query: str, token: Token, *, pattern: bool) -> str:
    """The text of a literal; a pattern of LIKE keeps its own escapes, with the backslash as escape character."""
    body = token.text[1:-1]
    if len(body) > MAX_LITERAL:
        raise malformed(query, token.at, f"String literal is longer than {MAX_LITERAL} characters")  # [U]

    def char(found: re.Match[str]) -> str:
        code = found[1]
        if pattern and code in "%_":
            return f"\\{code}"
        char = chr(int(code[1:], 16)) if len(code) == 5 else _ESCAPES.get(code)
        if char is None:
            raise malformed(query, token.at, f"Illegal character sequence '\\{code}' in string literal")  # [U] wording
        return "\\\\" if pattern and char == "\\" else char

    text = _ESCAPE.sub(char, body)
    try:  # \ud83d\ude00 is one character written as two; half of one is no text
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise malformed(query, token.at, "Illegal string literal: unpaired surrogate") from None  # [U]


def layout(query: str, at: int, sentence: str) -> str:
    """The message with excerpt, caret and position.

    A long query is cut to about 30 characters before and after, widened to whole words: derived from the published messages of
    several clients' threads, exact in all of those.
    """
    before = query[:at]
    row, start = before.count("\n") + 1, before.rfind("\n") + 1
    line = query[start:].split("\n", 1)[0]
    column = at - start
    left = max((line.rfind(sep, 0, max(column - _WINDOW, 0)) for sep in " ,"), default=-1) + 1
    left = left if column > _WINDOW else 0
    right = min((found for sep in " ," if (found := line.find(sep, column + _WINDOW)) >= 0), default=len(line))
    excerpt = line[left:right]
    indent = len(excerpt) - len(excerpt.lstrip())
    caret = " " * max(column - left - indent, 0)
    return f"\n{excerpt[indent:]}\n{caret}^\nERROR at Row:{row}:Column:{column + 1}\n{sentence}"


def malformed(query: str, at: int, sentence: str) -> ApiError:
    return ApiError(400, "MALFORMED_QUERY", layout(query, at, sentence))
