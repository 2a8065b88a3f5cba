# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Whether a packet of H.264 lacks in a stream, which its decoder conceals: frame numbers tell (ITU-T H.264, 7.4.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass

UNIT = re.compile(rb"\x00\x00\x01(.)", re.DOTALL)  # a unit's start, and its first byte
_SLICE, _KEY, _PARAMETERS = (
    1,
    5,
    7,
)  # types of units: a picture's slice, a key picture's, a sequence's parameters
# Profiles whose sequence parameters say more of their colours (7.3.2.1.1).
_HIGH = frozenset((44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244))
_HEADER = 64  # bytes of a unit that are read; a scaling matrix may need more, and is then not understood
_MATRIX = 1024


class _Bits:
    """Bits of a unit behind its first byte, highest first; raises IndexError behind its end."""

    def __init__(self, content: bytes) -> None:
        plain = content.replace(b"\x00\x00\x03", b"\x00\x00")  # 7.4.1.1
        self._value, self._left = int.from_bytes(plain, "big"), 8 * len(plain)

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise IndexError
        return (self._value >> self._left) & ((1 << count) - 1)

    def number(self) -> int:
        """An unsigned Exp-Golomb code (9.1)."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)

    def read_signed(self) -> int:
        """A signed Exp-Golomb code (9.1.1)."""
        code = self.number()
        return (code + 1) // 2 if code % 2 else -(code // 2)


@dataclass(slots=True)
class FrameNumbers:
    """The frame numbers of a stream, packet by packet."""

    _bits: int = 0  # of a frame number; 0: not known, or the stream may skip some
    _planes: bool = False  # each colour has slices of its own
    _before: int = -1  # of the newest picture that others refer to; -1: none is known

    def restart(self) -> None:
        """Packets were lost, and what comes next is not compared with them."""
        self._before = -1

    def lacks_one(self, data: bytes) -> bool:
        """Whether a picture that others refer to was left out before this packet's."""
        lacking = False
        for found in UNIT.finditer(data):
            kind, refers = found.group(1)[0] & 0x1F, found.group(1)[0] & 0x60
            start = found.end()
            try:
                if kind == _PARAMETERS:
                    self._sequence(_Bits(data[start : start + _MATRIX]))
                elif kind == _KEY:
                    self._before = 0
                elif kind == _SLICE and self._bits:
                    lacking |= self._picture(_Bits(data[start : start + _HEADER]), bool(refers))
            except IndexError:  # cut short: the decoder will tell
                continue
        return lacking

    def _picture(self, bits: _Bits, refers: bool) -> bool:
        if bits.number():
            return False  # not a picture's first slice
        bits.number()
        bits.number()
        if self._planes:
            bits.take(2)
        number = bits.take(self._bits)
        lacking = self._before >= 0 and (number - self._before) % (1 << self._bits) > 1
        if refers:
            self._before = number
        return lacking

    def _sequence(self, bits: _Bits) -> None:
        self._bits = 0
        profile = bits.take(8)
        bits.take(16)
        bits.number()
        self._planes = False
        if profile in _HIGH:
            colours = bits.number()
            self._planes = colours == 3 and bool(bits.take(1))
            bits.number()
            bits.number()
            bits.take(1)
            if bits.take(1):
                for index in range(12 if colours == 3 else 8):
                    if bits.take(1):
                        _skip_list(bits, 16 if index < 6 else 64)
        width = bits.number() + 4
        order = bits.number()
        if order == 0:
            bits.number()
        elif order == 1:
            bits.take(1)
            bits.read_signed()
            bits.read_signed()
            for _ in range(bits.number()):
                bits.read_signed()
        bits.number()
        may_skip = bits.take(1)
        self._bits = 0 if may_skip or width > 16 else width


def _skip_list(bits: _Bits, size: int) -> None:
    """A scaling list (7.3.2.1.1.1)."""
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.read_signed()) % 256
        last = following or last
