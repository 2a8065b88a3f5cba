# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Two network namespaces and a cable between them that delays, loses and can be pulled out.

Each end is a TAP device; a thread of the test carries Ethernet frames from one to the other. So it works on kernels
without netem, losses come from a seed, and nothing outside the two namespaces is touched. It needs root
(CAP_NET_ADMIN).
"""

from __future__ import annotations

import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import threading
import time
from types import TracebackType

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000  # linux/if_tun.h
FRAME = 65536
ADDRESSES = ("10.213.7.1", "10.213.7.2")


class CableError(Exception):
    """Why there can be no namespaces here."""


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CableError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


class Cable:
    """A context manager; `ends` are the names of the namespaces.

    Attributes:
        delay_s: of each frame.
        loss: part of the frames that is lost.
        pulled: whether nothing comes through, as silently as with a cable that is pulled out of a switch.
        carried, lost: frames so far.
    """

    def __init__(self, seed: int = 0) -> None:
        self.delay_s, self.loss, self.pulled = 0.0, 0.0, False
        self.carried = self.lost = 0
        self.ends = tuple(f"hpt{os.getpid()}{end}" for end in "ab")
        self._random = random.Random(seed)
        self._taps: list[int] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._carry, daemon=True)

    def __enter__(self) -> Cable:
        try:
            for end, address in zip(self.ends, ADDRESSES, strict=True):
                tap = f"tap{end[3:]}"
                _ip("netns", "add", end)
                self._taps.append(os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK))
                fcntl.ioctl(self._taps[-1], TUNSETIFF, struct.pack("16sH", tap.encode(), IFF_TAP | IFF_NO_PI))
                _ip("link", "set", tap, "netns", end)
                for arguments in (
                    ("addr", "add", f"{address}/24", "dev", tap), ("link", "set", "lo", "up"),
                    ("link", "set", tap, "up"), ("route", "add", "default", "dev", tap),
                ):  # fmt: skip
                    _ip("-n", end, *arguments)
        except (CableError, OSError) as error:
            self._remove()
            raise CableError(str(error)) from error
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._remove()

    def _remove(self) -> None:
        for tap in self._taps:
            os.close(tap)
        for end in self.ends:
            subprocess.run(["ip", "netns", "del", end], capture_output=True, check=False)

    def _carry(self) -> None:
        waiting: list[tuple[float, int, int, bytes]] = []  # due, order, to, frame
        number = 0
        while not self._stop.is_set():
            left_s = min(max(waiting[0][0] - time.monotonic(), 0.0), 0.05) if waiting else 0.05
            for tap in select.select(self._taps, [], [], left_s)[0]:
                frame = os.read(tap, FRAME)
                number += 1
                if self.pulled or self._random.random() < self.loss:
                    self.lost += 1
                    continue
                other = self._taps[1 - self._taps.index(tap)]
                heapq.heappush(waiting, (time.monotonic() + self.delay_s, number, other, frame))
            while waiting and waiting[0][0] <= time.monotonic():
                _, _, to, frame = heapq.heappop(waiting)
                if not self.pulled:
                    os.write(to, frame)
                    self.carried += 1
