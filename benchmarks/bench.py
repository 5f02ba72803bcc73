"""The engine against a loop written by hand: same org, same records, same rows. Whole processes, run in turn, medians.

    bench.py            10,000 records, a few minutes
    BENCH=full bench.py and 100,000

CPU is user + system of the process as wait4 tells it, start-up included. A ratio is that of two medians of runs that took turns on one
machine; it is printed only after the rows were compared. Everything goes into results.json, too.
"""

import json
import os
import platform
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path

HERE = Path(__file__).parent
OUT = HERE / "out"
KEYS = ("cpu", "wall", "mb")
PAGE = 2000
RUNS = ("engine", "engine, all as new", "engine, looking back", "engine, all again")
"""A first run, and one to which the org gives all records again as if they were new: it maps and compares them. A first run
of a connection that looks back, which remembers the versions of what it can read again, and its next one, which knows them.
"""
ENV = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""Modules are compiled once and kept, as those of an installed package are."""
CONNECTION = """
connection: bench
mapping: {job}
enabled: true
systems:
  home: {{adapter: sql, url: "sqlite:///home.db", create_tables: true}}
  org:
    adapter: salesforce
    login: {url}
    auth: {{grant: client_credentials, client_id: "${{env:BENCH_CLIENT}}", client_secret: "${{env:BENCH_CLIENT}}"}}
"""
LOOKBACK = "lookback: 9125d\n"
"""Every run reads everything again, as integrations do that look back some days each time."""
WATCHED = """
CREATE TABLE written (what TEXT);
CREATE TRIGGER made AFTER INSERT ON job BEGIN INSERT INTO written VALUES ('insert'); END;
CREATE TRIGGER set_ AFTER UPDATE ON job BEGIN INSERT INTO written VALUES ('update'); END;
CREATE TRIGGER gone AFTER DELETE ON job BEGIN INSERT INTO written VALUES ('delete'); END;
"""


@contextmanager
def org(count, wait):
    """The address of a server with so many records."""
    given = [sys.executable, str(HERE / "server.py"), str(count), str(wait)]
    with subprocess.Popen(given, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def run(command, folder):
    """CPU seconds, wall seconds, highest memory in MB and the output of a process."""
    log = OUT / "last.log"
    began = time.perf_counter()
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=folder, stdout=file, stderr=file, env={**ENV, "BENCH_CLIENT": "bench"})
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - began
    said = log.read_text("utf-8", "replace")
    if process.returncode:
        sys.exit(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{said[-2000:]}")
    return dict(zip(KEYS, (used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1024), strict=True)), said


def same(file, count):
    """In a process of its own: the highest memory of one begins with that of its parent."""
    given = [sys.executable, HERE / "check.py", file, str(count)]
    done = subprocess.run(given, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"there is nothing to compare: {done.stdout}{done.stderr}")


def by_hand(url, count, *options):
    file = OUT / "hand.db"
    for old in OUT.glob("hand.db*"):
        old.unlink()
    taken, _ = run([sys.executable, HERE / "hand.py", url, file, *options], OUT)
    same(file, count)
    return taken


def folder(url, more=""):
    """A project of its own: a connection, and no state yet."""
    made = OUT / "engine"
    shutil.rmtree(made, ignore_errors=True)
    (made / "connections").mkdir(parents=True)
    (made / "connections" / "bench.yaml").write_text(CONNECTION.format(job=HERE / "job.yaml", url=url) + more, "utf-8")
    return made


def first(made, count):
    taken, said = run([sys.executable, "-m", "connector", "run", "bench"], made)
    if f"{count} created" not in said:
        sys.exit(said)
    same(made / "home.db", count)
    return taken


def again(made, count, told):
    """Everything is read once more, and the run says `told` of it. Triggers of the table tell of every write."""
    with closing(sqlite3.connect(made / "home.db")) as db:
        db.executescript(WATCHED)
    taken, said = run([sys.executable, "-m", "connector", "run", "bench"], made)
    with closing(sqlite3.connect(made / "home.db")) as db:
        (written,) = db.execute("SELECT count(*) FROM written").fetchone()
    calls = int(re.search(r"(\d+) API call", said)[1])
    if written or told not in said or calls < count / PAGE:
        sys.exit(f"a second run with nothing changed wrote {written} times: {said}")
    return taken


def measured(count, wait, times):
    """Medians by configuration. With think time the loop by hand fetches ahead, as the engine does."""
    options = ["--ahead"] if wait else []
    taken = {"hand": [], **{name: [] for name in RUNS}}
    with org(count, wait) as url:
        for _ in range(times):
            taken["hand"].append(by_hand(url, count, *options))
            made = folder(url)
            taken["engine"].append(first(made, count))
            taken["engine, all as new"].append(again(made, count, f"{count} unchanged"))
            made = folder(url, LOOKBACK)
            taken["engine, looking back"].append(first(made, count))
            taken["engine, all again"].append(again(made, count, "nothing changed"))
    return {
        "records": count,
        "wait": wait,
        "runs": times,
        **{name: {key: statistics.median(one[key] for one in some) for key in KEYS} for name, some in taken.items()},
    }


def goals(results):
    """What is promised of the ratios: (what, measured, at most)."""
    for found in results:
        hand, (engine, as_new, back, known) = found["hand"], (found[name] for name in RUNS)
        size = f"{found['records']:,} records"
        if found["wait"]:
            yield f"{size}, {found['wait']} s a page: wall, engine / by hand", engine["wall"] / hand["wall"], 1.1
        else:
            yield f"{size}: CPU, engine / by hand", engine["cpu"] / hand["cpu"], 1.5
            yield f"{size}: CPU, all again, nothing changed / first run", known["cpu"] / back["cpu"], 0.7
            yield f"{size}: CPU, all as new, nothing changed / first run", as_new["cpu"] / engine["cpu"], 0.7
    small, *_, large = quick = [found for found in results if not found["wait"]] * 2
    if len(quick) > 2:
        yield "memory, largest / smallest number of records", large["engine"]["mb"] / small["engine"]["mb"], 1.2


def main():
    full = os.environ.get("BENCH") == "full"
    plan = [(10_000, 0, 5), (10_000, 0.3, 3)] + ([(100_000, 0, 3), (100_000, 0.3, 1)] if full else [])
    OUT.mkdir(exist_ok=True)
    results, load = [], [os.getloadavg()[0]]
    print(f"{'':44}{'CPU s':>9}{'wall s':>9}{'MB':>7}{'CPU us a record':>18}")
    for count, wait, times in plan:
        results.append(found := measured(count, wait, times))
        load.append(os.getloadavg()[0])
        for name in ("hand", *RUNS):
            cpu, wall, mb = (found[name][key] for key in KEYS)
            label = f"{count:,}, {wait} s a page, {name}" if wait else f"{count:,}, {name}"
            print(f"{label:44}{cpu:9.2f}{wall:9.2f}{mb:7.0f}{cpu / count * 1e6:18.0f}", flush=True)
    print(f"\n{'goal':60}{'measured':>9}{'at most':>9}")
    told = [{"goal": what, "measured": round(ratio, 3), "at_most": most} for what, ratio, most in goals(results)]
    for one in told:
        print(
            f"{one['goal']:60}{one['measured']:9.2f}{one['at_most']:9.2f}  {'' if one['measured'] <= one['at_most'] else 'missed'}"
        )
    print("\nCPU seconds of each stage, 10,000 records, first run:", flush=True)
    with org(10_000, 0) as url:
        _, said = run([sys.executable, HERE / "stages.py", folder(url)], OUT)
    stages = json.loads(said[said.index("{") :])
    for stage, spent in stages.items():
        print(f"  {stage:40}{spent:9.2f}")
    print(
        f"\nload of the machine {min(load):.1f} to {max(load):.1f} on {os.cpu_count()} cores; rows compared: 0 differ"
    )
    machine = {
        "cpus": os.cpu_count(),
        "load": load,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }
    (HERE / "results.json").write_text(
        json.dumps({"machine": machine, "results": results, "goals": told, "stages": stages}, indent=1), "utf-8"
    )


if __name__ == "__main__":
    main()
