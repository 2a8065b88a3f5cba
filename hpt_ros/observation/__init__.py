# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Messages to arrays and arrays to ticks: one code path for bags and for the live robot."""

from __future__ import annotations

from hpt_ros.observation.buffer import SETTLE_S, ObservationBuffer
from hpt_ros.observation.checks import DecodeError, InvalidSampleError
from hpt_ros.observation.commands import CommandTrack
from hpt_ros.observation.decode import StreamDecoder, decode, decode_on_one_thread
from hpt_ros.observation.decode_commands import decode_command, require_frame
from hpt_ros.observation.formats import is_depth
from hpt_ros.observation.images import decode_compressed_image, decode_image
from hpt_ros.observation.stamps import measurement_time_ns, stamp_ns
from hpt_ros.observation.tick import Tick
from hpt_ros.observation.time_series import TickGrid
from hpt_ros.observation.window import ObservationWindow, assemble

__all__ = [
    "SETTLE_S",
    "CommandTrack",
    "DecodeError",
    "InvalidSampleError",
    "ObservationBuffer",
    "ObservationWindow",
    "StreamDecoder",
    "Tick",
    "TickGrid",
    "assemble",
    "decode",
    "decode_command",
    "decode_compressed_image",
    "decode_image",
    "decode_on_one_thread",
    "is_depth",
    "measurement_time_ns",
    "require_frame",
    "stamp_ns",
]
