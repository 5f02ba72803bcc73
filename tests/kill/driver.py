"""Processes that run `connector run kill` and kill themselves, with SIGKILL, at a point that is asked for.

Started once, it has everything imported and has no threads; each line on stdin is a job (JSON), done in a process of its
own that is forked for it. So a run costs what it does, and not half a second of imports. What a job says:

    folder   the project; the connection is `kill`
    now      the moment at which the run starts
    kill     the number of the point at which the process dies; 0 never
    stop     the number of the point at which it is stopped (SIGSTOP); the answer then is its pid, and a job with that
             as `resume` wakes it and is answered when it has ended
    state    the URL of the store, if it is not the folder's own
    name     what its files are called, for two at once
    mutant   a known-bad engine, by its name in MUTANTS
    ahead    whether pages are read ahead in a thread, as the command does; without, points come in one order

Points lie before and after every commit, of the store and of the target database; in every request, when its last byte
was sent and the first one of its answer is not read; and before and after each request that writes. The answer is one
line (JSON): how the process ended, the points it passed, and the printed result.

Time is simulated: `sleep` moves the org's clock and our own by what was asked for, and takes a hundredth of a second.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import threading
import traceback
import urllib.request
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from time import sleep
from typing import Any

import connector.report  # noqa: F401
from connector import cli, engine, lint, project, spec
from connector.endpoints import sql, wire
from connector.endpoints.salesforce import Salesforce
from connector.state import Batch, Store

POINTS, SAID = "points.txt", "out.txt"


def writes(address: str, body: Any) -> bool:
    """Whether a request writes, alone or inside a composite: what other requests do leaves no trace."""
    parts = body.get("compositeRequest", ()) if isinstance(body, dict) else ()
    return address.endswith("/composite/sobjects") or any(part["method"] != "GET" for part in parts)


class Points:
    """Counts, writes down, and dies. The file is there for the one who asks why; it is not synced, for only we are killed."""

    def __init__(self, file: Path, deadly: dict[int, signal.Signals]) -> None:
        self.count, self.deadly, self.lock = 0, deadly, threading.Lock()
        self.file = file.open("w", encoding="utf-8")

    def __call__(self, name: str) -> None:
        with self.lock:
            self.count += 1
            self.file.write(f"{name}\n")
            self.file.flush()
            if sent := self.deadly.get(self.count):
                os.kill(os.getpid(), sent)


class Clock:
    def __init__(self, start: datetime, url: str) -> None:
        self.at, self.url = start, url

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        body = json.dumps({"now": self.at.isoformat()}).encode()
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/sandbox/clock", body)).read()
        sleep(0.01)


def watch(point: Points) -> None:
    """Points around everything that leaves a trace outside of the process."""
    writing, send, commit = Store.writing, wire.Wire.send, sql.Sql._commit
    read, sent = wire._Stream.read, wire._Stream.write
    flying = threading.local()

    @contextmanager
    def watched_writing(self, lease=None):
        with writing(self, lease) as tx:
            yield tx
            point("store: before the commit")
        point("store: after the commit")

    def watched_send(self, method, address, **more):
        flying.name = f"{method} {address.partition('?')[0]}"
        if not writes(address, more.get("json")):
            return send(self, method, address, **more)
        point(f"request: before {flying.name}")
        answer = send(self, method, address, **more)
        point(f"request: after {flying.name}")
        return answer

    def watched_read(self, *given, **more):
        if getattr(flying, "written", False):  # all of it is with the server, nothing of the answer is here
            flying.written = False
            point(f"request: under way {flying.name}")
        return read(self, *given, **more)

    def watched_sent(self, *given, **more):
        sent(self, *given, **more)
        flying.written = True

    def watched_commit(self, db):
        point("target: before the commit")
        commit(self, db)
        point("target: after the commit")

    Store.writing, wire.Wire.send, sql.Sql._commit = watched_writing, watched_send, watched_commit
    wire._Stream.read, wire._Stream.write = watched_read, watched_sent


# ---- known-bad engines: what must be noticed ------------------------------------------------------------------


def cursor_first(point: Points) -> None:
    """The cursor is stored before the outcomes of its page."""
    page = engine._Work.page

    def moved(self, asked, rows, cursor, gone=None):
        self.world.store.commit(self.lease, self.run_id, Batch(), cursor, self.world.clock.now(), engine.LEASE)
        point("mutant: the cursor has moved")
        page(self, asked, rows, cursor, gone)

    engine._Work.page = moved


def no_intent(_point: Points) -> None:
    """Creates that no key could find again are made without being journalled first."""
    Store.journal = lambda *_given: None


def no_joined_set(_point: Points) -> None:
    """What was joined is known to the process, and not stored with the page."""
    commit, versions = Store.commit, Store.versions
    known = []

    def forgetful(self, lease, run_id, batch, cursor, now, ttl):
        known.extend((one, cursor.open.id) for one in batch.versions if one.carrier != one.read)
        batch.versions = [one for one in batch.versions if one.carrier == one.read]
        commit(self, lease, run_id, batch, cursor, now, ttl)

    def remembering(self, stream_id, read, records):
        here = [(one, by) for one, by in known if one.read == read and one.record in records]
        return versions(self, stream_id, read, records) + here

    Store.commit, Store.versions = forgetful, remembering


MUTANTS = {"cursor-first": cursor_first, "no-intent": no_intent, "no-joined-set": no_joined_set}


# ---- one job --------------------------------------------------------------------------------------------------


def at(job, file: str) -> Path:
    return Path(job["folder"]) / (job.get("name", "") + file)


def run(job) -> None:
    """In the forked process: the command itself, on a clock of ours."""
    folder = Path(job["folder"])
    os.chdir(folder)
    os.environ |= {
        "I360_CLIENT_ID": "sandbox",
        "I360_CLIENT_SECRET": "sandbox",
        "CONNECTOR_STATE": job.get("state", ""),
    }
    clock = Clock(datetime.fromisoformat(job["now"]), job["url"])
    project.SystemClock = lambda: clock
    if not job.get("ahead"):
        project.prefetch = lambda pages: pages
    sql.PAGE = 2  # so that what is pushed has page boundaries, too
    Salesforce.settle = 10.0  # to wait moves the clock of this world: it has to fit into LATER
    point = Points(at(job, POINTS), {job.get("stop", 0): signal.SIGSTOP, job.get("kill", 0): signal.SIGKILL})
    watch(point)
    if job.get("mutant"):
        MUTANTS[job["mutant"]](point)
    with at(job, SAID).open("w", encoding="utf-8") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    sys.argv = ["connector", "run", "kill", "--json"]
    cli.main()


def warm() -> None:
    """The mapping is linted and parsed here once: it is the same in every run, and is not what is tested."""
    file = spec.mapping_file("i360_classic", Path())
    check, read, shapes = lint.check, project.read, project.shape.load
    findings, source, described = check(file), read(file), shapes(file.parent / "shapes")
    lint.check = lambda asked, **more: findings if asked == file else check(asked, **more)
    project.read = lambda asked: source if asked == file else read(asked)
    project.shape.load = lambda folder: described if folder == file.parent / "shapes" else shapes(folder)
    gc.disable()  # a process of a second has nothing to collect


def serve() -> None:
    warm()
    stopped = {}
    for line in sys.stdin:
        job = json.loads(line)
        if pid := job.get("resume"):
            job = stopped.pop(pid)
            os.kill(pid, signal.SIGCONT)
        else:
            pid = started(job)
        _, status = os.waitpid(pid, os.WUNTRACED)
        if os.WIFSTOPPED(status):
            stopped[pid] = job
            answer = {"stopped": pid}
        else:
            points, said = (
                file.read_text("utf-8") if file.exists() else "" for file in (at(job, POINTS), at(job, SAID))
            )
            answer = {"code": os.waitstatus_to_exitcode(status), "points": points.splitlines(), "said": said}
        print(json.dumps(answer), flush=True)


def started(job) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            run(job)
        except SystemExit as end:
            sys.stdout.flush()
            os._exit(int(end.code or 0))
        except BaseException:  # noqa: BLE001 - a fault of the tests: said, not swallowed
            traceback.print_exc()
            os._exit(70)
    return pid


if __name__ == "__main__":
    serve()
