"""SOQL text -> a frozen tree that remembers where everything stood; what does not parse -> MALFORMED_QUERY with its position.

What the grammar knows and the org does not evaluate (date functions, WITH ...) ends in 501.
"""

import re
from functools import lru_cache
from typing import Literal as OneOf

from connector.sandbox import periods
from connector.sandbox.errors import ApiError, not_emulated
from connector.sandbox.reader import Reader
from connector.sandbox.schema import words
from connector.sandbox.tokens import malformed, tokens, unescaped
from connector.sandbox.tree import (
    AGGREGATES,
    FUNCTIONS,
    Aliased,
    Compare,
    Condition,
    Fields,
    Function,
    Group,
    In,
    Includes,
    Item,
    Not,
    Order,
    Path,
    Select,
    Subject,
    TypeOf,
    Value,
)

MAX_QUERY = 100_000
MAX_DEPTH = 50  # [U] the org's own guard against absurd nesting; a real limit is not published

_CLAUSES = words("where with group having order limit offset for using all")
_NO_ALIAS = _CLAUSES | words(
    "and asc desc excludes false first from in includes last like not null nulls or select true"
)
_SCOPES = words(
    "delegated everything mine mine_and_my_groups my_territory my_team_territory queue_owned scopingrule team"
)
# Functions of SOQL that the org does not evaluate, and those over dates, which begin like this.
_OTHER_FUNCTIONS = words("converttimezone distance grouping geolocation")
_DATE_FUNCTIONS = ("calendar_", "day_", "fiscal_", "hour_", "week_")


@lru_cache(maxsize=256)
def parse(query: str) -> Select:
    if len(query) > MAX_QUERY:
        # [U] wording: the limit is documented, its message was not found
        raise ApiError(400, "QUERY_TOO_COMPLICATED", f"SOQL statements cannot be longer than {MAX_QUERY} characters")
    if not query.strip():
        raise ApiError(400, "MALFORMED_QUERY", "SOQL statements cannot be empty or null")
    parser = _Parser(query, tokens(query))
    select = parser.select(0)
    parser.expect_end()
    return select


class _Parser(Reader):
    """Recursive descent; every method reads one thing and leaves the position behind it."""

    # -- clauses

    def select(self, depth: int) -> Select:
        if depth > MAX_DEPTH:
            raise self.too_complicated()
        at = self.next.at
        self.expect("select")
        counts = self.accept("count", "(", ")")
        items = () if counts else self.items(depth)
        self.expect("from")
        source = self.path()
        alias = self.source_alias()
        several = False
        while self.accept(","):
            self.path()
            self.source_alias()
            several = True
        if several and (self.next.kind == "end" or self.next.text.lower() in _CLAUSES):
            raise not_emulated("A FROM list with several objects")
        scope = self.scope() if self.accept("using") else None
        where = self.condition(depth) if self.accept("where") else None
        if self.accept("with"):
            raise self.with_clause()
        group = self.group() if self.accept("group") else ()
        if self.sees("having") and not group:
            raise malformed(self.query, self.next.at, "HAVING needs GROUP BY")  # [U] wording
        having = self.condition(depth) if self.accept("having") else None
        order = self.order() if self.accept("order") else ()
        limit = self.whole_number() if self.accept("limit") else None
        offset = self.whole_number() if self.accept("offset") else 0
        while depth == 0 and self.accept("for"):  # what was looked at is not kept: nothing to do
            if self.sees("update"):
                raise not_emulated("FOR UPDATE")
            if not (self.accept("view") or self.accept("reference")):
                raise self.unexpected()
        if self.sees("all", "rows"):  # Apex only
            raise self.unexpected()
        return Select(items, source, counts, alias, scope, where, group, having, order, limit, offset, at)

    def with_clause(self) -> ApiError:
        """The modes of Apex are refused over REST; the sentence is that of the release notes of Summer '24."""
        if self.next.text.lower() in ("security_enforced", "user_mode", "system_mode"):
            sentence = (
                "rule soqlWithIdentifierClause failed predicate: "
                "{this.helper.allowApexSyntax() && this.helper.hasApexContext()}?"
            )
            return malformed(self.query, self.next.at, sentence)
        return not_emulated(f"WITH {self.next.text}")

    def source_alias(self) -> str | None:
        named = self.next.kind == "word" and self.next.text.lower() not in _NO_ALIAS
        return self.take().text if named else None

    def scope(self) -> Path:
        self.expect("scope")
        scope = self.path()
        if ".".join(scope.names).lower() not in _SCOPES:
            raise malformed(self.query, scope.at, f"filter scope '{'.'.join(scope.names)}' is not supported")  # [U]
        return scope

    def items(self, depth: int) -> tuple[Item, ...]:
        found = [self.item(depth)]
        while self.accept(","):
            found.append(self.item(depth))
        return tuple(found)

    def item(self, depth: int) -> Item:
        token = self.next
        if self.accept("("):
            inner = self.select(depth + 1)
            self.expect(")")
            return inner
        if self.accept("typeof"):
            return self.type_of()
        if token.kind != "word" or token.text.lower() == "from":
            raise self.unexpected()
        path = self.path()
        if self.sees("("):
            return self.function(path, aliased=True)
        at = self.next.at
        alias = self.alias()
        return path if alias is None else Aliased(path, alias, at)

    def alias(self) -> str | None:
        if self.next.kind != "word" or self.sees("from"):
            return None
        behind = self.tokens[self.position + 1].text.lower()
        if "." in self.next.text or behind not in (",", "from"):
            raise self.unexpected()
        return self.take().text

    def function(self, path: Path, *, aliased: bool = False) -> Fields | Function:
        name = path.names[0].lower()
        if name in _OTHER_FUNCTIONS or name.startswith(_DATE_FUNCTIONS):
            raise not_emulated(f"{path.names[0]}()")
        if len(path.names) > 1 or name not in AGGREGATES | FUNCTIONS | {"fields"}:
            raise malformed(self.query, path.at, f"unexpected token: '{path.names[0]}'")
        self.expect("(")
        if name == "fields":
            if not aliased or self.next.text.lower() not in ("all", "standard", "custom"):
                raise self.unexpected()
            found: Fields | Function = Fields(self.take().text.lower(), path.at)
            self.expect(")")
            return found
        inner = self.path()
        if self.sees("(") and name == "format":
            raise not_emulated(f"{inner.names[0]}() inside FORMAT()")
        self.expect(")")
        return Function(name, inner, self.alias() if aliased else None, path.at)

    def subject(self) -> Subject:
        path = self.path()
        if not self.sees("("):
            return path
        found = self.function(path)
        if isinstance(found, Fields):
            raise self.unexpected()
        return found

    def type_of(self) -> TypeOf:
        path, whens = self.path(), []
        while self.accept("when"):
            kind = self.path()
            self.expect("then")
            whens.append((kind, self.paths()))
        if not whens:
            raise self.unexpected()
        otherwise = self.paths() if self.accept("else") else ()
        self.expect("end")
        return TypeOf(path, tuple(whens), otherwise)

    def paths(self) -> tuple[Path, ...]:
        found = [self.path()]
        while self.accept(","):
            found.append(self.path())
        return tuple(found)

    def group(self) -> tuple[Path, ...]:
        self.expect("by")
        found = []
        while True:
            path = self.path()
            if self.sees("("):
                raise not_emulated(f"GROUP BY {path.names[0]}()")
            found.append(path)
            if not self.accept(","):
                return tuple(found)

    def order(self) -> tuple[Order, ...]:
        self.expect("by")
        found = [self.order_item()]
        while self.accept(","):
            found.append(self.order_item())
        return tuple(found)

    def order_item(self) -> Order:
        path = self.subject()
        if isinstance(path, Function) and path.name not in AGGREGATES:
            raise malformed(self.query, path.at, f"unexpected token: '{path.name}'")
        descending = self.accept("desc") or (self.accept("asc") and False)
        nulls_last = False  # nulls come first in either direction
        if self.accept("nulls"):
            nulls_last = self.accept("last")
            if not nulls_last:
                self.expect("first")
        return Order(path, descending, nulls_last)

    # -- conditions

    def condition(self, depth: int) -> Condition:
        if depth > MAX_DEPTH:
            raise self.too_complicated()
        parts = [self.factor(depth)]
        operator: OneOf["AND", "OR"] = "OR" if self.sees("or") else "AND"
        # AND and OR do not mix without parentheses, and a bare NOT stands alone in its group [U].
        while not isinstance(parts[-1], Not) and self.accept(operator):
            parts.append(self.factor(depth))
        if self.sees("and") or self.sees("or"):
            raise self.unexpected()
        return parts[0] if len(parts) == 1 else Group(operator, tuple(parts))

    def factor(self, depth: int) -> Condition:
        if depth > MAX_DEPTH:
            raise self.too_complicated()
        if self.accept("not"):
            return Not(self.factor(depth + 1))
        if self.accept("("):
            inner = self.condition(depth + 1)
            self.expect(")")
            return Group("AND", (inner,))
        return self.test(depth)

    def test(self, depth: int) -> Condition:
        path = self.subject()
        negated = self.accept("not")
        if self.accept("in"):
            return In(path, negated, self.members(depth))
        if negated:
            raise self.unexpected()
        for word in ("includes", "excludes"):
            if self.accept(word):
                return Includes(path, word == "excludes", self.value_list())
        token = self.next
        if token.text.lower() not in ("=", "!=", "<>", "<", "<=", ">", ">=", "like"):
            raise self.unexpected()
        operator = self.take().text.lower().replace("<>", "!=")
        return Compare(path, operator, self.value(pattern=operator == "like"))

    def members(self, depth: int) -> "tuple[Value, ...] | Select":
        if self.sees("(", "select"):
            self.expect("(")
            inner = self.select(depth + 1)
            self.expect(")")
            return inner
        return self.value_list()

    def value_list(self) -> tuple[Value, ...]:
        if self.sees(":"):
            raise self.bind()
        self.expect("(")
        found = [self.value()]
        while self.accept(","):
            found.append(self.value())
        self.expect(")")
        return tuple(found)

    def value(self, *, pattern: bool = False) -> Value:
        token = self.next
        lower = token.text.lower()
        if token.kind == "text":
            self.take()
            return Value("text", unescaped(self.query, token, pattern=pattern), token.at)
        if token.kind in ("number", "date", "datetime"):
            self.take()
            return Value(token.kind, token.text, token.at)  # type: ignore[arg-type]  # the three kinds just named
        if token.kind == "word" and lower in ("true", "false", "null"):
            self.take()
            return Value("null" if lower == "null" else "boolean", lower, token.at)
        if (token.kind == "word" and lower in periods.NAMES) or (
            token.kind == "period" and lower.split(":")[0] in periods.COUNTED
        ):
            self.take()
            return Value("period", lower, token.at)
        if self.sees(":"):
            raise self.bind()
        if re.match(r"[A-Za-z]{3}[-+]?\d", self.query[token.at :]):
            raise not_emulated("A currency literal")
        raise self.unexpected()

    def bind(self) -> ApiError:
        return malformed(self.query, self.next.at, "Bind variables only allowed in Apex code")

    def too_complicated(self) -> ApiError:
        return ApiError(
            400,
            "QUERY_TOO_COMPLICATED",
            "Query is either selecting too many fields or the filter conditions are too complicated.",
        )
