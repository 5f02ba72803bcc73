"""Rules of connections, which may only narrow their mapping, and of example files: what they name is there."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

from connector import plan, spec
from connector.lint.file import File, Findings, Object, named, part, places
from connector.lint.findings import instead
from connector.lint.mapping import chosen
from connector.source import At
from connector.values import Problem, Value, compile_value

_ALLOWED = {
    "pull": ("pull", "disabled"),
    "push": ("push", "disabled"),
    "both": ("pull", "push", "both", "disabled"),
    "disabled": ("disabled",),
}
_SHARED_HOSTS = ("login.salesforce.com", "test.salesforce.com")
_PASSWORD = re.compile(r"://[^/?#\s]*:[^/?#\s]*@|[?&](?:password|passwd|pwd|token)=", re.IGNORECASE)
_NARROWING = ("", "connection.", "examples.*.given.connection.", "examples.*.steps.*.set.")
_OBJECTS = (
    *(f"{way}{place}" for way in _NARROWING for place in ("schedule.objects.*", "objects.*")),
    *("examples.*.object", "examples.*.steps.*.run|run_twice_at_once", "examples.*.steps.*.event.object"),
)
_LINKED = ("examples.*.given|expect.links.*.object",)
_ROWS = ("examples.*.given.remote|home.*", "examples.*.steps.*.edit.remote|home.*")
_LIKE = tuple(f"{row}.like" for row in (*_ROWS, "rows.*"))
_TABLES = (
    *(f"{row}.object" for row in (*_ROWS, "rows.*")),
    *("examples.*.expect.writes.*.create|replace|update", "examples.*.given.faults.*.object"),
    "examples.*.expect.row.*.object",
    "examples.*.expect.selected.*",
)
_CHOICES = ("settings", "objects")
_COUNTED = "examples.*.expect.rows|calls.*"
"""Keys such as `home.opportunity` and `home.opportunity.create`."""


def file_name(file: File) -> Findings:
    """The name inside is the name of the file: commands and other files find it by that."""
    name, stem = file.tree.get(file.kind), file.source.name.replace("\\", "/").rpartition("/")[2].rpartition(".")[0]
    if isinstance(name, str) and file.folder and stem != name:
        said = f"this file is called {stem}, the {file.kind} in it {name}"
        yield file.finding("wrong_file_name", (file.kind,), said, f"call both {stem} or both {name}")


# ---- names -----------------------------------------------------------------------------------------------


def names(file: File) -> Findings:
    """Every name of a thing of this file or of the mapping is the name of one."""
    objects, rows = part(file.rules, "objects"), file.tree.get("rows", {})
    if isinstance(rows, dict):
        yield from _known(file, "unknown_row", "rows holds no {}", rows, *_ROWS, *_LIKE)
    if not objects:
        return
    lookups = part(file.rules, "lookups")
    yield from _known(file, "unknown_object", "the mapping has no object {}", objects, *_OBJECTS)
    yield from _known(file, "unknown_object", "the mapping has no object {}", {**objects, **lookups}, *_LINKED)
    if file.kind == "connection":
        systems = [spec.system(each) for each in part(file.rules, "systems").values()]
        yield from _known(file, "unknown_system", "the mapping has no system {}", map(str, systems), "systems.*")
    sides = ("*.pair.home", "*.pair.remote", "*.pair.home|remote.object", "*.children.*.write")
    used = [name for _, name, _ in named(objects, "*.read.*.object", "*.write", *sides)]
    used += [str(name) for _, name in places(file.rules, "lookups.*.object")]
    used += [str(name).partition(".")[0] for _, name in places(objects, "*.read.*.picklist")]
    tables = sorted({*used, *file.shapes, *part(file.tree, "shapes")})
    said = "the mapping neither reads nor writes {}"
    yield from _known(file, "unknown_object", said, tables, *_TABLES)
    for at, place, _ in named(file.tree, _COUNTED):
        if file.clean(at) and (name := place.split(".")[1]) not in tables:
            yield file.finding("unknown_object", at, said.format(name), instead(name, tables), key=True)


def reads(file: File, thing: Object) -> Findings:
    if thing.above:
        return
    for place in ("changed", "with.*", "unless_joined_by.*") if thing.reads else ():
        said, pattern = f"{thing.name} reads nothing called {{}}", f"objects.{thing.name}.triggers.*.{place}"
        yield from _known(file, "unknown_read", said, thing.reads, pattern)


def _known(file: File, code: str, said: str, pool: Iterable[str], *patterns: str) -> Findings:
    there = list(pool)
    for at, name, key in named(file.tree, *patterns):
        if name not in there:
            yield file.finding(code, at, said.format(name), instead(name, there), key=key)


def choices(file: File) -> Findings:
    """What is chosen is a setting of the mapping, and one of its choices."""
    for way in _NARROWING if file.kind == "examples" else ("",):
        for at, node in places(file.tree, f"{way}settings"):
            yield from _chosen(file, at, node, part(file.rules, "settings"))


def _chosen(file: File, at: At, given: object, rules: dict[str, Any]) -> Findings:
    for name, value in given.items() if isinstance(given, dict) and rules else ():
        here, rule = (*at, name), rules.get(name)
        if not isinstance(rule, dict):
            said = f"the mapping has no setting {name}"
            yield file.finding("unknown_setting", here, said, instead(str(name), rules), key=True)
        elif "choose" not in rule:
            yield from _chosen(file, here, value, rule)
        else:
            listed = rule.get("many") is True and isinstance(value, list)
            shown = [spec.text(choice) for _, choice in places(rule, "choose.*")]
            what = "a list of choices" if rule.get("many") is True and not listed else "one of its choices"
            for n, one in enumerate(value if listed else [value]):
                if not chosen(rule, [one] if listed else one):
                    place = (*here, n) if listed else here
                    yield file.finding("unknown_setting", place, f"{name} takes {what}", instead(spec.text(one), shown))


def capabilities(file: File) -> Findings:
    """The calls that the mapping needs of a system, by what this connection chooses, are there. Source: I8, I17, design 20."""
    for lack in plan.lacking(*_planned(file)) if part(file.rules, "settings") and _sure(file) else ():
        yield file.finding("missing_capability", lack.at, lack.said, lack.hint)


def files(file: File) -> Findings:
    """No open flow, by what this connection chooses, writes a file to an SQL system."""
    things = file.mapping.objects if file.mapping and _sure(file) else ()
    names = dict.fromkeys(str(thing.at[1]) for thing in things if _holds_file(thing.record))
    for flow in plan.flows(*_planned(file), {}, names) if names else ():
        if part(file.tree, "systems", flow.target).get("adapter") == "sql":
            for each in (flow, *(child.flow for child in flow.children)):
                for name in (".".join(column.path) for column in each.columns if column.kind == "file"):
                    said = f"{each.object} writes a file to {name} of {each.write}, and an SQL system takes no files"
                    hint = f"map its address as text, or write objects: {{{flow.object}: {{direction: disabled}}}}"
                    yield file.finding("no_files", ("systems", flow.target, "adapter"), said, hint)


def _holds_file(value: Value) -> bool:
    return value.kind == "file" or any(map(_holds_file, value.children.values()))


def _sure(file: File) -> bool:
    """The mapping is right, and the grammar refused nothing of what this connection chooses, so that it can be planned."""
    return file.mapping is not None and not file.mapping_errors and all(file.sound((key,)) for key in _CHOICES)


def _planned(file: File) -> tuple[spec.Mapping, spec.Connection]:
    """The mapping, and what this connection chooses, nothing else of it."""
    choices = {key: part(file.tree, key) for key in _CHOICES}
    return spec.mapping(file.rules), spec.connection({"connection": "", "mapping": "", "systems": {}, **choices})


def schedule(file: File) -> Findings:
    every = part(file.tree, "schedule").get("every")
    if isinstance(every, str) and every.endswith("s") and spec.duration(every) < timedelta(seconds=30):
        said = "a run every few seconds would use up the day's calls"
        yield file.finding("schedule_out_of_range", ("schedule", "every"), said, "30s or more")


def logins(file: File) -> Findings:
    for name, system in part(file.tree, "systems").items():
        login = system.get("login") if isinstance(system, dict) else None
        host = re.sub(r"^https?://|[:/].*$", "", login.lower()) if isinstance(login, str) else ""
        if host in _SHARED_HOSTS and part(system, "auth").get("grant") == "client_credentials":
            said = f"{host} does not take client credentials"
            hint = "write the org's My Domain, such as https://acme.my.salesforce.com"
            yield file.finding("login_needs_my_domain", ("systems", name, "login"), said, hint)


# ---- against the mapping ---------------------------------------------------------------------------------


def mapping_path(file: File) -> Path | None:
    """Where the mapping lies that the file names, whether it is there or not."""
    name = file.tree.get("mapping")
    if not isinstance(name, str) or file.folder is None:
        return None
    try:
        path = spec.mapping_file(name, file.folder)
        path.is_file()
    except (OSError, ValueError):  # no system has files of such a name
        return file.folder / "no such file"
    return path


def mapping_is_there(file: File) -> Findings:
    path, name, at = mapping_path(file), str(file.tree.get("mapping")), ("mapping",)
    if path is None:
        return
    if not path.is_file():
        own = name.endswith((".yaml", ".yml"))
        near = sorted(each.name if own else each.stem for each in path.parent.glob("*.y*ml"))
        said = f"there is no mapping {name}{', looked for from the folder of this file' * own}"
        yield file.finding("mapping_not_found", at, said, instead(path.name if own else name, near))
    elif file.mapping is None or (file.mapping_errors and not file.mapping_told):
        many = f"has {file.mapping_errors} error{'s' * (file.mapping_errors > 1)} of its own"
        said = f"{name} {many if file.mapping else 'is no mapping'}"
        yield file.finding("mapping_has_errors", at, said, "run connector lint on it")


def directions(file: File) -> Findings:
    """A connection chooses a direction that the mapping allows."""
    for at, wanted in places(file.tree, *(f"{way}objects.*.direction" for way in _NARROWING)):
        most = part(file.rules, "objects", str(at[-2])).get("direction")
        choices = _ALLOWED.get(str(most), ())
        if isinstance(wanted, str) and choices and wanted not in choices:
            said = f"the mapping {f'lets {at[-2]} {most} only' if choices[1:] else f'has {at[-2]} disabled'}"
            yield file.finding("direction_widened", at, said, f"write {' or '.join(choices)}")


def systems(file: File) -> Findings:
    """Every system of the mapping is given, without a password in its address; `auth` is the grammar's business."""
    wanted, given = [*map(spec.system, part(file.rules, "systems").values())], file.tree.get("systems")
    for name in set(wanted) - given.keys() if isinstance(given, dict) and given.keys() <= set(wanted) else ():
        if isinstance(name, str):
            said = f"the mapping's system {name} is not given"
            yield file.finding("missing_system", ("systems", name), said, f"add {name}: {{adapter: ...}}")
    for at, url in places(given, "*.url", at=("systems",)):
        if isinstance(url, str) and _PASSWORD.search(url):
            said, hint = "the address holds a password", "write ${env:NAME} for the whole address"
            yield file.finding("secret_in_file", at, said, hint)


# ---- examples --------------------------------------------------------------------------------------------


def examples(file: File) -> Findings:
    """Ids are told apart, and the value of a pure value example compiles."""
    seen: dict[object, At] = {}
    for at, own in places(file.tree, "examples.*.id"):
        if isinstance(own, str) and seen.setdefault(own, at) != at:
            yield file.finding("repeated_id", at, f"{own} is the id of two examples", "give each its own")
    for at, node in places(file.tree, "examples.*.value"):
        problems: list[Problem] = []
        compile_value(node, at, problems)
        yield from (file.problem(problem) for problem in problems if file.clean(problem.at))
