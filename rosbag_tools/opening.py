# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Opening many bags of one robot without parsing the same texts for each of them.

The quality of service of each channel is a text of YAML, which `rosbags` parses in Python: most of the time that
opening a short bag takes. A robot's bags have a few different ones. `rosbags` has no place to remember them in, so its
function is wrapped once, when this module is imported.
"""

from __future__ import annotations

import functools

from rosbags.rosbag2 import storage_mcap

REMEMBERED = 256

storage_mcap.get_qos = functools.lru_cache(maxsize=REMEMBERED)(storage_mcap.get_qos)
