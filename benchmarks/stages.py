"""Where a run's CPU goes: `connector run` in this process, with the CPU time of each stage (its own, without those within it).

stages.py FOLDER [CONNECTION]     a folder as bench.py makes it
"""

import functools
import json
import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

OWN = Counter()
_STACK = threading.local()


def enter():
    stack = _STACK.__dict__.setdefault("stack", [])
    stack.append([time.thread_time(), 0.0])


def leave(stage):
    began, within = _STACK.stack.pop()
    spent = time.thread_time() - began
    OWN[stage] += spent - within
    if _STACK.stack:
        _STACK.stack[-1][1] += spent


def timed(owner, name, stage):
    function = getattr(owner, name)

    @functools.wraps(function)
    def call(*given, **named):
        enter()
        try:
            return function(*given, **named)
        finally:
            leave(stage)

    setattr(owner, name, call)


def stepped(owner, name, stage):
    """The same for a generator: each of its steps counts."""
    function = getattr(owner, name)

    @functools.wraps(function)
    def call(*given, **named):
        steps = function(*given, **named)
        while True:
            enter()
            try:
                step = next(steps, None)
            finally:
                leave(stage)
            if step is None:
                return
            yield step

    setattr(owner, name, call)


def mapping(mapper):
    """What makes the function that maps a row -> one that makes it so that its calls count."""

    def made(*given):
        holder = SimpleNamespace(mapped=mapper(*given))
        timed(holder, "mapped", "map")
        return holder.mapped

    return made


def main(folder, connection="bench"):
    os.chdir(folder)
    os.environ.setdefault("BENCH_CLIENT", "bench")
    began = time.process_time()
    from connector import engine, matching, pages, project, writing
    from connector.cli import main as command
    from connector.endpoints.salesforce.reading import Reader
    from connector.endpoints.sql import Sql
    from connector.endpoints.wire import Reply, Wire
    from connector.state import Store

    imported = time.process_time() - began
    timed(project, "opened", "load and lint the files")
    timed(Wire, "send", "read: HTTP")
    timed(Reply, "json", "read: JSON")
    stepped(Reader, "read", "read: spelling")
    timed(pages.Source, "join", "read: join, versions")
    timed(engine._Work, "fresh", "read: what is new")
    engine.mapper = mapping(engine.mapper)
    timed(Sql, "canonical", "map: as the target spells it")
    timed(matching.Target, "find", "match")
    stepped(Sql, "read", "match: SELECT")
    timed(writing.Writer, "write", "write: decide")
    timed(Sql, "write", "write: INSERT, UPDATE")
    timed(Store, "links", "write: links")
    timed(Store, "commit", "commit: log, links, cursor")
    timed(engine._Work, "page", "engine")
    sys.argv = ["connector", "run", connection]
    try:
        command()
    except SystemExit as ended:
        if ended.code:
            raise
    whole = time.process_time()
    OWN["start: interpreter, imports"] = began + imported
    OWN["everything else"] = whole - sum(OWN.values())
    print(json.dumps({stage: round(spent, 4) for stage, spent in OWN.most_common()}, indent=1), file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
