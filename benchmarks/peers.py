"""The engine beside other tools: each as near to the job as it lets one, from the same server. Says which could not be installed.

    peers.py [N]      10,000 records

dlt merges the mapped rows into SQLite, airbyte-cdk and singer-sdk print them, simple-salesforce and jsforce fetch and parse only. Each has an
environment of its own under .venv-peers, with the versions that requirements/ pins.
"""

import json
import shutil
import subprocess
import sys
import venv

import bench
from bench import HERE, OUT, by_hand, first, folder, org, run

VENVS = HERE.parent / ".venv-peers"
JSFORCE = "jsforce@3.10.16"
PEERS = (
    ("dlt, to SQLite", "dlt", ["peers/dlt_job.py", "{n}", "sqlite", "{url}"]),
    ("airbyte-cdk, AddFields, to stdout", "airbyte", ["peers/airbyte_job.py", "{n}", "keep", "{url}"]),
    ("airbyte-cdk, fetch only", "airbyte", ["peers/airbyte_job.py", "{n}", "raw", "{url}"]),
    ("singer-sdk, tap to stdout", "singer", ["peers/singer_tap.py", "{n}", "{url}"]),
    ("simple-salesforce, fetch only", "simple", ["peers/sf_fetch.py", "{n}", "{url}"]),
    ("jsforce, fetch only", "node", ["peers/jsforce_fetch.js", "{n}", "{url}", str(VENVS / "node")]),
)


def installed(name):
    """What runs a peer's script; None, and a line that says why, when it cannot be installed."""
    place = VENVS / name
    ready = place / "ready"
    python = place / "bin" / "python"
    if name == "node":
        install, runs = ["npm", "install", "--silent", "--prefix", str(place), JSFORCE], shutil.which("node")
    else:
        install, runs = [str(python), "-m", "pip", "install", "--quiet", "-r", f"requirements/{name}.txt"], str(python)
    if not ready.exists():
        place.mkdir(parents=True, exist_ok=True)
        if name != "node":
            venv.create(place, with_pip=True)
        elif not (runs and shutil.which("npm")):
            print(f"{name}: node and npm are not installed, so jsforce is left out")
            return None
        done = subprocess.run(install, cwd=HERE, capture_output=True, text=True, check=False)
        if done.returncode:
            print(
                f"{name} could not be installed: {(done.stderr.strip() or done.stdout.strip()).splitlines()[-1][:200]}"
            )
            return None
        ready.touch()
    return runs


def main(count=10_000):
    OUT.mkdir(exist_ok=True)
    with_what = {name: installed(name) for _, name, _ in PEERS}
    results = {}
    with org(count, 0) as url:
        results["engine"] = first(folder(url), count)
        results["by hand"] = by_hand(url, count)
        for label, name, command in PEERS:
            if with_what[name]:
                given = [part.format(n=count, url=url) for part in command]
                results[label], _ = run([with_what[name], *given], HERE)
    print(f"\n{'':36}{'CPU s':>9}{'wall s':>9}{'MB':>7}{'CPU, engine = 1':>18}")
    for label, taken in results.items():
        cpu, wall, mb = (taken[key] for key in bench.KEYS)
        print(f"{label:36}{cpu:9.2f}{wall:9.2f}{mb:7.0f}{cpu / results['engine']['cpu']:18.2f}")
    (HERE / "peers.json").write_text(json.dumps({"records": count, "results": results}, indent=1), "utf-8")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
