"""An org on 127.0.0.1 that has only the pages of records.py, and gives them as fast as a socket takes them.

    server.py N [WAIT]      N records; WAIT seconds of think time before each page. Prints its address.

It answers a sign-in, the list of versions, describes, a query (whatever it asks for) and its further pages; queries and describes also
within a composite call.
"""

import json
import os
import re
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from records import DATA, PAGE, describes, pages

COUNT, WAIT = int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
PAGES = pages(COUNT)
FILE = os.open(DATA / "pages.bin", os.O_RDONLY)
BASE = "/services/data/v66.0"


def page(number):
    time.sleep(WAIT)
    at, size = PAGES[number]
    last = number + 1 == len(PAGES)
    more = "" if last else f'"nextRecordsUrl":"{BASE}/query/01g-{(number + 1) * PAGE}",'
    return b'{"totalSize":%d,"done":%s,%s"records":%s}' % (
        *(COUNT, b"false" if more else b"true", more.encode()),
        os.pread(FILE, size, at),
    )


def answer(path):
    """status, body"""
    if found := re.search(r"/sobjects/(\w+)/describe", path):
        shape = describes().get(found[1])
        return (
            (200, json.dumps(shape).encode()) if shape else (404, b'[{"errorCode":"NOT_FOUND","message":"no object"}]')
        )
    if found := re.search(r"/query/01g-(\d+)", path):
        return 200, page(int(found[1]) // PAGE)
    if "/query" in path:
        return 200, page(0)
    return 200, b'[{"version":"66.0","url":"%s"}]' % BASE.encode()


def part(asked):
    """A subrequest's answer. What the caller has of a describe is still right."""
    if "If-Modified-Since" in asked.get("httpHeaders", {}):
        status, body = 304, b"null"
    else:
        status, body = answer(unquote(asked["url"]))
    known = b'"httpHeaders":{"Last-Modified":"Mon, 01 Jan 2024 00:00:00 GMT"},"httpStatusCode":%d,"referenceId":"%s"'
    return b'{"body":%s,%s}' % (body, known % (status, asked["referenceId"].encode()))


class Org(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body in one piece

    def do_GET(self):
        self.reply(*answer(self.path))

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.endswith("/composite"):
            parts = b",".join(map(part, json.loads(body)["compositeRequest"]))
            self.reply(200, b'{"compositeResponse":[%s]}' % parts)
        else:
            here = f"http://{self.headers['Host']}"
            self.reply(200, json.dumps({"access_token": "t", "instance_url": here, "token_type": "Bearer"}).encode())

    def reply(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json;charset=UTF-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", 0), Org) as server:
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()
