# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How this process's memory is given back to the operating system."""

from __future__ import annotations

import ctypes
import functools

# Parameters of glibc's mallopt(3), and their values: the largest that it takes for the first, and twice that.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_MMAP_BYTES, _TRIM_BYTES = 32 << 20, 64 << 20


@functools.cache
def reuse_freed_memory() -> bool:
    """Keep up to 64 MiB of freed memory for the next chunk and image of a bag; returns whether the C library can.

    glibc gives each buffer of a megabyte back as soon as it is freed, and the kernel fills the next one with zeros page
    by page, which took as long as reading small images.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl and macOS have none
    return mallopt is not None and all(
        mallopt(parameter, value)
        for parameter, value in ((_M_MMAP_THRESHOLD, _MMAP_BYTES), (_M_TRIM_THRESHOLD, _TRIM_BYTES))
    )
