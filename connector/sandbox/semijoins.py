"""The rules of semi-joins: at most two, not under OR, not nested, both sides of one object."""

from collections.abc import Iterator

from connector.sandbox import tree
from connector.sandbox.errors import ApiError
from connector.sandbox.schema import Field, Object
from connector.sandbox.tokens import layout, malformed

MAX_SEMIJOINS = 2


def check_semijoins(query: str, where: tree.Condition | None) -> None:
    """[U] rules and sentences as commonly seen; the code of the first is in the facts."""
    found = list(_semijoins(where, under_or=False)) if where else []
    for inner, under_or in found:
        if under_or:
            raise malformed(query, inner.at, "Semi join sub-selects are not allowed with the 'OR' operator")
        if inner.where and next(_semijoins(inner.where, under_or=False), None):
            raise malformed(query, inner.at, "Nesting of semi join sub-selects is not supported")
    if len(found) > MAX_SEMIJOINS:
        sentence = f"Maximum {MAX_SEMIJOINS} semi join sub-selects are allowed"
        message = layout(query, found[MAX_SEMIJOINS][0].at, sentence)
        raise ApiError(400, "EXCEEDED_MAX_SEMIJOIN_SUBSELECTS", message)


def _semijoins(condition: tree.Condition, *, under_or: bool) -> Iterator[tuple[tree.Select, bool]]:
    match condition:
        case tree.Group(operator, parts):
            for part in parts:
                yield from _semijoins(part, under_or=under_or or (operator == "OR" and len(parts) > 1))
        case tree.Not(part):
            yield from _semijoins(part, under_or=under_or)
        case tree.In(_, _, tree.Select() as inner):
            yield inner, under_or


def check_sides(query: str, at: int, outer: tuple[Object, Field], inner: tuple[Object, Field]) -> None:
    if _leads_to(*outer).isdisjoint(_leads_to(*inner)):
        sentence = (
            f"The selected field '{inner[1].name}' in the subquery and the left operand field '{outer[1].name}' in the where "
            "expression in the outer query should point to the same object type"
        )
        raise malformed(query, at, sentence)  # [U] as commonly seen


def _leads_to(shape: Object, field: Field) -> set[str]:
    return {shape.name} if field.type == "id" else set(field.reference_to)
