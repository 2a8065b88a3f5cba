# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""forward_command_controller and position_controllers: the last command for ever."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hpt_ros.errors import Code, Refusal

Array = npt.NDArray[np.float64]


class ForwardController:
    """forward_command_controller: passes the last command on for ever; it has no timeout and no limits.

    Attributes:
        events: none, ever; as of `TrajectoryController`.
    """

    def __init__(self, size: int) -> None:
        self.events: list[tuple[int, str]] = []
        self._size = size
        self._command: Array | None = None
        self._given: Array | None = None

    def activate(self, position: Array, velocity: Array | None = None) -> None:
        """Forget what came before; command nothing until something comes."""
        self._command = None

    def receive(self, values: Array) -> Refusal | None:
        """Take a command (N,); returns why it is refused, None if it is not."""
        if not np.isfinite(values).all():
            return Refusal(Code.NOT_FINITE, "the command", problem="has a value that is not finite")
        if values.size != self._size:
            return Refusal(
                Code.WRONG_SHAPE, "the command", problem=f"has {values.size} values for {self._size} joints"
            )
        self._command = np.array(values)
        return None

    def update(self, now_ns: int, position: Array, velocity: Array | None = None) -> Array:
        """The command (N,) of this cycle: the last one; before any, the measured position when it was first asked."""
        if self._command is not None:
            self._given = self._command
        elif self._given is None:
            self._given = np.array(position)
        return self._given
