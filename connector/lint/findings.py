"""What lint says: one Finding per cause, the list of all codes, and how findings are printed."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Literal

import msgspec

from connector.source import At, Source, Span

Level = Literal["error", "warning", "note"]

CODES: dict[str, str] = {
    # the text
    "unreadable_file": "the file is not there, or is not UTF-8 text",
    "yaml_syntax": "this is not YAML",
    "empty_file": "the file says nothing",
    "file_too_large": "a file may have 256 KiB and 50,000 values",
    "nested_too_deep": "nesting goes 32 levels deep at most",
    "several_documents": "a file holds one document",
    "not_plain_yaml": "anchors, aliases, tags and merge keys are not part of the language",
    "key_not_text": "a key must be text",
    "duplicate_key": "a key is given twice",
    "number_too_long": "a number has 17 digits at most; text goes in quotes",
    "unquoted_template": "a value with {{ }} must be in quotes",
    # the grammar
    "unknown_key": "a key that is not part of the language here",
    "missing_key": "a key that must be given is not",
    "wrong_type": "a list where text is expected, text where a map is expected, and so on",
    "unknown_word": "a word that is none of the choices",
    "malformed": "text that does not have the form it needs: a name, a duration, an address",
    "out_of_range": "a number, list or text that is too small or too large",
    "unquoted_path": "a path that YAML reads as a list or a map: put it in quotes",
    "no_form": "a field that names no form (path, first, latest, template ...)",
    "two_forms": "two keys of which there can be only one",
    # names
    "wrong_file_name": "the file is not called like what it holds",
    "same_system": "home and remote are one system",
    "unknown_object": "no object has this name",
    "unknown_read": "no read has this name",
    "unknown_lookup": "no lookup has this name",
    "unknown_setting": "no setting has this name, or it has no such choice",
    "unknown_root": "a path starts with a name that is neither a read nor an item of a list",
    "not_watched": "a read that triggers has no watch, so that every run reads everything",
    "repeated_trigger": "two triggers start from the same read",
    "join_order": "a join looks at a read that is not in the row yet",
    "never_joined": "unless_joined_by names a trigger that cannot have carried the record",
    "read_not_joined": "paths use a read that no trigger brings",
    "unused_read": "a read that nothing uses",
    "many_as_row": "a list of rows is used as if it were one row",
    "row_as_many": "one row is used as if it were a list",
    "whole_row": "a whole row stands where one value is needed",
    "unknown_key_field": "a match key is no field of the record",
    "key_not_scalar": "a match key is an object, a list, or not mapped",
    "constant_key": "every record would have the same match key",
    "unstable_match_key": "a match key changes when another record is joined later",
    "not_invertible": "a row of a pair cannot flow both ways, and does not say which one",
    "written_twice": "two rows of a pair write the same field of the remote",
    # values
    "invalid_expression": "the path is not valid",
    "unknown_function": "paths have no function of this name",
    "unknown_filter": "templates have no filter of this name",
    "unknown_test": "templates have no test of this name",
    "invalid_template": "the template is not valid",
    "template_not_allowed": "the template holds something that templates may not do",
    "invalid_name": "the name of an item is already taken",
    "required_in_list": "required cannot stand in a list",
    "same_value": "two entries of a value map are the same when letter case does not count",
    "jmespath_missing": "||, not_null and max do not treat blank text as missing",
    # recorded shapes
    "no_shape": "no shape of the object is recorded, so its fields are not checked",
    "bad_shape": "a recorded shape cannot be read",
    "unknown_field": "the object has no such field",
    "below_scalar": "a step goes below a field that holds one value",
    "not_filterable": "the field cannot be used to select or order rows",
    "not_a_date": "the field is no date or time",
    "not_in_picklist": "the restricted picklist does not have this value",
    "not_a_picklist": "a field that is no picklist is read as one",
    "not_dependent": "a picklist does not depend on the one by whose values it is read",
    "nested_target": "a field that holds one value is given an object or a list of objects",
    "read_only_target": "the target field cannot be written",
    "required_field_unmapped": "a field that the target demands is never written",
    # directions and connections
    "wrong_direction": "an object reads or writes tables of the other side than its direction says",
    "mapping_not_found": "the mapping that is named is not there",
    "mapping_has_errors": "the mapping that is named has errors of its own",
    "direction_widened": "a connection wants a direction that the mapping does not allow",
    "missing_capability": "a system lacks a call that the mapping needs",
    "no_files": "a file is written to an SQL system, which takes none",
    "unknown_system": "the mapping has no system of this name",
    "missing_system": "a system of the mapping is not given",
    "secret_in_file": "a secret is written out",
    "login_needs_my_domain": "this sign-in needs the org's own address (My Domain)",
    "schedule_out_of_range": "every is shorter than 30 seconds",
    # HTTP systems
    "api_not_found": "the api file that is named is not there",
    "api_has_errors": "the api file that is named has errors of its own",
    "unknown_placeholder": "nothing stands for a placeholder where it is used",
    "missing_placeholder": "a call does not send what it has to",
    # examples
    "unknown_row": "no row has this name",
    "repeated_id": "two examples have the same id",
}
"""Every code, with one line on what it means."""

LEVELS: dict[str, Level] = {
    "unused_read": "warning",
    "not_watched": "warning",
    "unstable_match_key": "warning",
    "jmespath_missing": "warning",
    "required_field_unmapped": "warning",
    "no_shape": "note",
}
"""Codes that are not errors; a rule may say otherwise of a single finding."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong. `at` is its place in the tree, `hint` what to write instead."""

    level: Level
    code: str
    message: str
    file: str
    span: Span
    at: At = ()
    hint: str = ""

    @property
    def dotted(self) -> str:
        return ".".join(map(str, self.at))

    @property
    def order(self) -> tuple[str, int, int, str, str]:
        return (self.file, self.span.line, self.span.column, self.code, self.message)


def nearest(word: str, names: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The name that was probably meant: other case, a package prefix left out, a slip of the pen."""
    folded, pool = word.casefold(), {name.casefold(): name for name in names}
    ends = (name for name in pool if name == folded or name.endswith("__" + folded))
    near = next(ends, None) or next(iter(get_close_matches(folded, pool, 1, cutoff)), None)
    return pool[near] if near else None


def instead(word: str, names: Iterable[str]) -> str:
    """The nearest name as a question, else the first of the choices."""
    pool = [str(name) for name in names]
    if near := nearest(word, pool):
        return f"did you mean {near}?"
    return f"one of: {', '.join(pool[:5])}{' ...' * (len(pool) > 5)}" if pool else "there is none to choose from"


# ---- printing --------------------------------------------------------------------------------------------

_WIDTH = 140
_OPEN = r"""["']?(?:\$\{env:\w+\}|client_credentials|authorization_code|jwt_bearer|true|false)["']?"""
_SECRETS = re.compile(
    rf"""(?ix) (?: client_?id | secret | secrt | passw(?:or)?d | token | api_?key
        | \bkey\b (?! ["']? [ \t]* : [ \t]* "\{{ \w+ \}}" )  # a placeholder of an api file is none
        ) \w* ["']? [ \t]* : [ \t]*
        (?! {_OPEN} [ \t]* (?: [,}}#\n] | $ ) ) ( "[^"\n]*"? | '[^'\n]*'? | [\[{{|>] .* | [^\s,}}\#]+ )
      | // ( [^/?\#\s"']* : [^\s"']* @ | [^\s"']* [?&] (?: password | passwd | pwd | token ) = [^\s"']* )"""
)


def _secrets(source: Source) -> list[tuple[int, int]]:
    """Ranges of the text that are never printed: what stands under `auth`, and whatever looks like a password.

    Of a file that is no YAML there is no tree, so the text itself is searched, too.
    """
    under = [(marks.value.start, marks.value.end) for at, marks in source.marks.items() if "auth" in at[:-1]]
    written = [(start, end) for start, end in under if not re.fullmatch(_OPEN, source.text[start:end])]
    return written + [found.span(found.lastindex or 0) for found in _SECRETS.finditer(source.text)]


def _shown(text: str) -> tuple[str, int]:
    """Text for a terminal, and its width there: tabs as blanks, nothing that could steer the terminal."""
    out, width = [], 0
    for char in text:
        kind = unicodedata.category(char)
        shown = "    " if char == "\t" else "\N{REPLACEMENT CHARACTER}" if kind[0] == "C" else char
        out.append(shown)
        if kind not in ("Mn", "Me"):
            width += 2 if unicodedata.east_asian_width(char) in "WF" else len(shown)
    return "".join(out), width


def _excerpt(source: Source, span: Span, secrets: list[tuple[int, int]]) -> tuple[str, str]:
    """The line of a finding, or the part of a long one around it, and the blanks and carets that go under it."""
    cut = span.column - 41 if span.column > _WIDTH - 40 else 0
    line = source.line(span.line)[cut : cut + 2 * _WIDTH]
    first = span.column - 1 - cut
    last = max(first + 1, min(first + span.end - span.start, len(line)))
    chars, begin = [*line, " "], span.start - first
    for start, end in secrets:
        here, there = max(start - begin, 0), min(end - begin, len(line))
        if here < there:
            chars[here:there] = ["***", *[""] * (there - here - 1)]
    before, blanks = _shown("".join(["..." if cut else "", *chars[:first]]))
    under, carets = _shown("".join(chars[first:last]))
    text = (before + under + _shown("".join(chars[last:]))[0]).rstrip()
    if len(text) > _WIDTH:
        text, carets = text[:_WIDTH] + "...", min(carets, _WIDTH - len(before))
    return text, " " * blanks + "^" * max(carets, 1)


def render_text(findings: Sequence[Finding], sources: Iterable[Source]) -> str:
    """Findings for people: place, code and message, the line, a caret, and what to write instead; then how many."""
    files = {source.name: (source, _secrets(source)) for source in sources}
    blocks = []
    for finding in findings:
        number, hint = finding.span.line, _shown(finding.hint)[0]
        said = f"{finding.level} [{finding.code}] {_shown(finding.message)[0]}"
        block = f"{finding.file}:{number}:{finding.span.column}: {said}\n"
        source, secrets = files.get(finding.file, (None, []))
        if source and source.line(number).strip():
            line, carets = _excerpt(source, finding.span, secrets)
            block += f"{number} | {line}\n{' ' * len(str(number))} | {carets} {hint}".rstrip() + "\n"
        elif hint:
            block += f"  {hint}\n"
        blocks.append(block)
    return "\n".join([*blocks, _summary(findings, len({*files, *(finding.file for finding in findings)})) + "\n"])


def _summary(findings: Iterable[Finding], files: int) -> str:
    """`3 files, 0 problems`, or `2 errors, 1 warning in 1 file`; notes are no problems."""
    count = Counter(finding.level for finding in findings)
    said = [_many(count[level], level) for level in ("error", "warning", "note") if count[level]]
    if count["error"] or count["warning"]:
        return f"{', '.join(said)} in {_many(files, 'file')}"
    return ", ".join([_many(files, "file"), "0 problems", *said])


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def render_json(findings: Iterable[Finding]) -> str:
    """One JSON document: a list of findings."""
    found = [
        {key: getattr(each, key) for key in ("file", "level", "code", "message", "hint")}
        | {"line": each.span.line, "column": each.span.column, "at": each.dotted}
        | {"end_column": each.span.column + each.span.end - each.span.start}
        for each in findings
    ]
    return json.dumps(found, indent=2, ensure_ascii=False)
