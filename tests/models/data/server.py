"""An HTTP server on loopback that serves one file, as well or as badly as a test wants it."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Served:
    """The file and the server's faults; `asked` collects the Range headers of the requests, "" where there was none."""

    content: bytes
    etag: str = '"one"'
    ranges: bool = True  # whether parts can be asked for
    breaks: list[int] = field(default_factory=list)  # bytes after which the connection ends, one for each request
    answers: list[int] = field(default_factory=list)  # codes of refusals, one for each request, before it serves
    redirect: str = ""
    tell_length: bool = True
    before: Callable[[], None] | None = None  # called when a request comes
    asked: list[str] = field(default_factory=list)
    url: str = ""


@contextlib.contextmanager
def serving(served: Served) -> Iterator[Served]:
    """Runs the server; `served.url` is the file's address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_GET(self) -> None:
            _answer(self, served)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        served.url = f"http://127.0.0.1:{server.server_port}/set.zip"
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _answer(request: BaseHTTPRequestHandler, served: Served) -> None:
    asked = request.headers.get("Range", "")
    served.asked.append(asked)
    if served.before is not None:
        served.before()
    if served.answers:
        request.send_error(served.answers.pop(0))
        return
    if served.redirect:
        request.send_response(302)
        request.send_header("Location", served.redirect)
        request.end_headers()
        return
    first, content = 0, served.content
    same = request.headers.get("If-Range") in (None, served.etag)
    if (found := re.fullmatch(r"bytes=(\d+)-", asked)) and served.ranges and same:
        first = int(found[1])
        if first >= len(content):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(content)}")
            request.end_headers()
            return
        request.send_response(206)
        request.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
    else:
        request.send_response(200)
    if served.tell_length:
        request.send_header("Content-Length", str(len(content) - first))
    if served.etag:
        request.send_header("ETag", served.etag)
    request.end_headers()
    stop = first + served.breaks.pop(0) if served.breaks else len(content)
    with contextlib.suppress(OSError):  # who asked may have had enough
        request.wfile.write(content[first:stop])
