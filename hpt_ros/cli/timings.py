# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A policy node's own timings, as tables and files show them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Samples = Mapping[str, npt.NDArray[np.float64]]

# Title -> name of `hpt_ros.runtime.metrics.Metrics`.
TIMINGS = {"inference": "inference_s", "latency": "image_to_command_s", "jitter": "command_jitter_s"}


def percentiles(values_s: npt.NDArray[np.float64]) -> dict[str, float]:
    """Return median and 99th percentile in ms, and of how many samples."""
    if len(values_s) == 0:
        return {"samples": 0}
    median, p99 = np.percentile(values_s, [50, 99]) * 1e3
    return {"median": round(float(median), 3), "p99": round(float(p99), 3), "samples": len(values_s)}


def median_and_p99(values_s: npt.NDArray[np.float64] | None) -> str:
    """Return both in ms; "-" without samples."""
    if values_s is None or len(values_s) == 0:
        return "-"
    figures = percentiles(values_s)
    return f"{figures['median']:.1f} / {figures['p99']:.1f}"
