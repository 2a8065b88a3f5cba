# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Names that the recorder puts into bags and the converter looks for."""

from __future__ import annotations

EVENTS_TOPIC = "/hpt/episode_events"
EVENTS_TYPE = "hpt_msgs/msg/EpisodeEvent"
# The embodiment file's text as a message: a killed recorder never writes its metadata.
EMBODIMENT_TOPIC = "/hpt/embodiment"
EMBODIMENT_TYPE = "std_msgs/msg/String"

# Keys of a bag's custom data (rosbag2 metadata version 6 and later).
KEY_EMBODIMENT = "hpt_ros.embodiment"
# Deployment file of the cell that it was recorded in: what its topics and joints are called there.
KEY_DEPLOYMENT = "hpt_ros.deployment"
KEY_TASK = "hpt_ros.task"
KEY_OPERATOR = "hpt_ros.operator"
KEY_OUTCOME = "hpt_ros.outcome"
KEY_NOTE = "hpt_ros.note"
KEY_EPISODE = "hpt_ros.episode_id"
# What the recorder warned of, a line each.
KEY_WARNINGS = "hpt_ros.warnings"
# Topic names of the embodiment file and what they stood for while recording (namespace, remappings), JSON.
KEY_TOPICS = "hpt_ros.topics"
KEY_VERSION = "hpt_ros.version"

# Outcomes as text, in the order of EpisodeEvent's OUTCOME_* constants.
OUTCOMES = ("unknown", "success", "failure")
# EpisodeEvent's event constants.
STARTED, STOPPED, DISCARDED = 1, 2, 3
