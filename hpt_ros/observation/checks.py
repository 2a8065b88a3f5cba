# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What all decoders share: their errors, and the check for finite values."""

from __future__ import annotations

from hpt_ros.embodiment.messages import DecodeError, InvalidSampleError, describe_stream, finite

__all__ = ["DecodeError", "InvalidSampleError", "describe_stream", "finite"]
