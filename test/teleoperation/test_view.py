# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The page that shows the scene."""

from __future__ import annotations

import http.client
import threading
import urllib.error
import urllib.request

import pytest
from support.refused import refused

from hpt_ros.errors import Code, HptError
from hpt_ros.teleoperation.view import View

WAIT_S = 30.0


def test_the_page_shows_images_as_they_come_and_counts_who_watches() -> None:
    with View(0) as view:
        assert not view.watched
        with urllib.request.urlopen(f"{view.address}stream", timeout=WAIT_S) as stream:
            for number in (1, 2):
                image = bytes([number]) * 50
                view.show(image, f"state {number}")
                assert stream.readline() == b"--hpt-frame\r\n"
                assert stream.readline() == b"Content-Type: image/jpeg\r\n"
                assert stream.readline() == b"Content-Length: 50\r\n"
                stream.readline()
                assert stream.read(50) == image
                stream.readline()
                assert view.watched
        with urllib.request.urlopen(f"{view.address}state", timeout=WAIT_S) as state:
            assert state.read() == b"state 2"
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{view.address}etc/passwd", timeout=WAIT_S)


def test_who_still_watches_at_the_end_is_let_go() -> None:
    with View(0) as view:
        stream = urllib.request.urlopen(f"{view.address}stream", timeout=WAIT_S)
        view.show(b"image", "")
        stream.readline()
        rest: list[bytes] = []
        reader = threading.Thread(target=lambda: rest.append(stream.read()))
        reader.start()
    reader.join(WAIT_S)
    assert rest
    stream.close()


def test_when_the_port_is_taken_expect_the_way_out() -> None:
    with View(0) as view:
        port = int(view.address.rsplit(":", 1)[1].strip("/"))
        with refused(HptError, Code.UNAVAILABLE, subject=f"port {port}"):
            View(port)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8080", 200),
        ("localhost:9", 200),  # a port that was forwarded
        ("LOCALHOST", 200),
        ("[::1]:8080", 200),
        ("evil.example:8080", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example:80", 421),
        ("evil.example:80:localhost", 421),
        ("", 421),
    ],
)
@pytest.mark.parametrize("path", ["/", "/state"])
def test_a_page_of_elsewhere_gets_nothing(host: str, status: int, path: str) -> None:
    with View(0) as view:
        port = int(view.address.rsplit(":", 1)[1].strip("/"))
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
        connection.putrequest("GET", path, skip_host=True)
        if host:
            connection.putheader("Host", host)
        connection.endheaders()
        assert connection.getresponse().status == status
        connection.close()
