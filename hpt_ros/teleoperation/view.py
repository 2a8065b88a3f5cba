# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a person sees: a page of this machine's browser, with the newest image as a stream of JPEG (MJPEG)."""

from __future__ import annotations

import http.server
import threading
from types import TracebackType
from typing import Any, Final

from hpt_ros.errors import Code, HptError

HOST: Final = "127.0.0.1"  # this machine alone: over ssh, forward the port
OWN_NAMES: Final = ("localhost", HOST, "[::1]")  # of this machine, in the header Host
BOUNDARY: Final = "hpt-frame"
WAIT_S: Final = 1.0  # for a new image, before looking whether it is over
PAGE: Final = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>hpt teleop</title>
<style>body{margin:0;background:#111;color:#ddd;font:16px monospace;text-align:center}
img{max-width:100vw;max-height:85vh;width:960px}pre{white-space:pre-wrap}</style>
<img src="/stream" alt="the scene"><pre id="state"></pre>
<script>setInterval(async () => {
  try { document.getElementById("state").textContent = await (await fetch("/state")).text(); }
  catch (error) { document.getElementById("state").textContent = "ended"; }
}, 200);</script></html>
"""


class View:
    """Serves the page until it is closed. Use as a context manager.

    Args:
        port: of the page; 0 takes a free one.

    Raises:
        HptError: the port is taken.
    """

    def __init__(self, port: int) -> None:
        """Listen."""
        self._news = threading.Condition()
        self._jpeg, self._number, self._state = b"", 0, ""
        self._watching = 0
        self._ended = False
        view = self

        class Handler(_Handler):
            shown = view

        try:
            self._server = _Server((HOST, port), Handler)
        except OSError as error:
            raise HptError(
                Code.UNAVAILABLE,
                f"port {port}",
                cause=error,
                remedy="give another --port, or 0 for a free one",
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="view", daemon=True)

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self._server.server_address[1]}/"

    @property
    def watched(self) -> bool:
        """Whether a browser shows it: else no image need be made."""
        return self._watching > 0

    def show(self, jpeg: bytes, state: str) -> None:
        """Show an image, and what stands below it."""
        with self._news:
            self._state = state
            if jpeg:
                self._jpeg, self._number = jpeg, self._number + 1
                self._news.notify_all()

    def state(self) -> str:
        """Return what stands below the image."""
        return self._state

    def wait_for(self, number: int) -> tuple[bytes, int] | None:
        """Return the newest image after the one of this number, and its own; None: it is over."""
        with self._news:
            while self._number <= number and not self._ended:
                self._news.wait(WAIT_S)
            return None if self._ended else (self._jpeg, self._number)

    def watch(self, change: int) -> None:
        """Count who watches."""
        with self._news:
            self._watching += change

    def __enter__(self) -> View:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._news:
            self._ended = True
            self._news.notify_all()
        self._server.shutdown()
        self._server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a browser that was closed is no error."""


class _Handler(http.server.BaseHTTPRequestHandler):
    shown: View

    def do_GET(self) -> None:
        """Answer a browser that asked for this machine.

        A page of elsewhere whose name leads here (DNS rebinding) asks for that name: it gets nothing.
        """
        if _host(self.headers.get("Host", "")) not in OWN_NAMES:
            self.send_error(421, explain="This page answers to localhost only.")
        elif self.path == "/":
            self._answer("text/html; charset=utf-8", PAGE.encode())
        elif self.path == "/state":
            self._answer("text/plain; charset=utf-8", self.shown.state().encode())
        elif self.path == "/stream":
            self._stream()
        else:
            self.send_error(404)

    def _answer(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.shown.watch(1)
        try:
            number = -1
            while (news := self.shown.wait_for(max(number, 0))) is not None:
                jpeg, number = news
                head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")
        finally:
            self.shown.watch(-1)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal is the person's."""


def _host(header: str) -> str:
    """Return the name in a header Host, without its port, which forwarding may have changed."""
    name, colon, port = header.strip().lower().rpartition(":")
    return name if colon and port.isdigit() else header.strip().lower()
