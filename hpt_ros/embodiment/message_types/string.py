# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""std_msgs/String: the task's text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment.message_types.base import MessageType
from hpt_ros.embodiment.messages import InvalidSampleError, describe_stream
from hpt_ros.errors import Code

if TYPE_CHECKING:
    from hpt_ros.embodiment.streams import Stream

MAX_TASK_CHARACTERS = 1000  # a task is a sentence; more is something else, or hostile


def observe(stream: Stream, message: Any) -> NDArray[np.str_]:
    """std_msgs/String to a text without line breaks or repeated spaces, an array without dimensions.

    Raises:
        InvalidSampleError: empty, or longer than `MAX_TASK_CHARACTERS`.
    """
    if len(message.data) > MAX_TASK_CHARACTERS:
        raise InvalidSampleError(
            Code.OUT_OF_RANGE, describe_stream(stream), len(message.data), problem="has a text of {value} characters",
            expected=f"{MAX_TASK_CHARACTERS} at most", remedy="send the task as one sentence",
        )  # fmt: skip
    text = " ".join(str(message.data).replace("\0", " ").split())
    if not text:
        raise InvalidSampleError(
            Code.EMPTY,
            describe_stream(stream),
            problem="has an empty text",
            remedy="send the task as one sentence",
        )
    return np.array(text)


MESSAGE_TYPE = MessageType(name="std_msgs/msg/String", decoders={"language": observe})
