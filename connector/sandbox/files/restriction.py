"""Links of files are found by what they link only: any other query of ContentDocumentLink is refused."""

from connector.sandbox import tree
from connector.sandbox.errors import ApiError

_ENDS = ("contentdocumentid", "linkedentityid")
_SENTENCE = (
    "Implementation restriction: ContentDocumentLink requires a filter by a single Id on ContentDocumentId or LinkedEntityId "
    "using the equals operator or multiple Id's using the IN operator."
)


def restrict(select: tree.Select) -> None:
    if select.source.names[-1].lower() == "contentdocumentlink" and not _filtered(select.where):
        raise ApiError(400, "MALFORMED_QUERY", _SENTENCE)  # [U] code; the sentence beyond its beginning


def _filtered(where: tree.Condition | None) -> bool:
    match where:
        case tree.Group("AND", parts):
            return any(_filtered(part) for part in parts)
        case tree.Compare(tree.Path(names), "=", tree.Value("text")) | tree.In(tree.Path(names), False, _):
            return names[-1].lower() in _ENDS
    return False
