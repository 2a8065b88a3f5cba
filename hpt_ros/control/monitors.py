# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What watches the robot and its inputs, apart from the policy itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.chunk import Vector
from hpt_ros.control.config import ControlConfig
from hpt_ros.control.controller_state import StreamRate, reach_nobody
from hpt_ros.control.deadman import Deadman
from hpt_ros.control.frozen import FrozenImages
from hpt_ros.control.link import CommandLink
from hpt_ros.control.machine import Fault, Machine
from hpt_ros.control.pace import Pace
from hpt_ros.control.plausible import Plausibility
from hpt_ros.control.refusals import join
from hpt_ros.control.state_machine import Event, State
from hpt_ros.control.tracking import Tracking
from hpt_ros.control.watchdog import Watchdog

# Least scaling that a robot's lag is stretched by, ours: at a tenth of the speed it may lag ten times as long.
SLOWEST = 0.1


class Monitors:
    """Watchdog, frozen cameras, tracking and the deadman's switch, which are fed and forget together."""

    def __init__(
        self,
        config: ControlConfig,
        names: Sequence[str],
        streams: Sequence[StreamRate],
        velocity: Vector,
        step: NDArray[np.bool_],
        *,
        turns: Sequence[int] = (),
        ahead_ns: int = 0,
    ) -> None:
        """Start with nothing seen; arguments as for `Controller`, `step` (dim,) true for what steps.

        `velocity` (dim,) is the robot's limit, unscaled.
        `ahead_ns` is how much later than a command's time the last of its dimensions is due.
        """
        self.watchdog = Watchdog(
            config.watchdog,
            {stream.name: stream.rate_hz for stream in streams},
            [stream.name for stream in streams if stream.holds],
        )
        self.frozen = FrozenImages(config.watchdog)
        self.tracking = Tracking(config.tracking, names, step, turns=turns, ahead_ns=ahead_ns)
        self.plausible = Plausibility(names, velocity, step, turns)
        self.deadman = Deadman(config.deadman)
        self.link = CommandLink()  # forgets nothing: what the graph shows is no matter of an activation

    def reset(self) -> None:
        """Forget everything."""
        self.forget_stamps()
        self.frozen.reset()
        self.deadman.reset()

    def forget_stamps(self) -> None:
        """Forget what is known by stamps of messages; the deadman's switch is known by arrival."""
        self.watchdog.reset()
        self.tracking.reset()
        self.plausible.reset()

    def note_clock_jump(self) -> None:
        """Stamps from before and after are of two clocks."""
        self.forget_stamps()
        self.watchdog.unseen = "has not come since the clock was set"

    def note_cleared(self) -> None:
        """An operator has looked: a camera that repeats its image at rest must not keep the robot for ever."""
        self.frozen.reset()
        self.tracking.reset()

    def watch(self, machine: Machine, pace: Pace, now_ns: int) -> None:
        """Look at what must stop motion, apart from the policy itself, and let it.

        Args:
            machine: of the controller.
            pace: the robot's own speed.
            now_ns: control time.
        """
        activation, counters = machine.activation, machine.activation.counters
        frozen = self.frozen.find_frozen()
        activation.stale = {
            **self.watchdog.find_stale(now_ns),
            **frozen,
            **self.plausible.find_contradictions(now_ns),
        }
        self.tracking.slowness = 1.0 / max(pace.wanted, SLOWEST)
        if pace.stopped is not None:
            self.tracking.reset()  # it cannot follow, not even while it is commanded to brake
            if machine.state in (State.RUNNING, State.HOLDING):
                counters["scaling_stops"] += 1
                machine.handle(Event.PAUSE)
        if machine.state in (State.RUNNING, State.HOLDING) and self.deadman.check_held(now_ns) is not None:
            counters["deadman_stops"] += 1
            machine.handle(Event.PAUSE)
        if machine.state is not State.FAULT and (contested := self.link.contested) is not None:
            counters["contested_stops"] += 1
            machine.handle(Event.ERROR, contested, Fault.CONTESTED)
        if machine.state is not State.FAULT and self.tracking.problem is not None:
            counters["tracking_stops"] += 1
            machine.handle(Event.ERROR, self.tracking.problem, Fault.TRACKING)
        if machine.state is State.RUNNING and (unheard := self.link.unheard) is not None:
            counters["unheard_stops"] += 1
            machine.hold(Event.STALE, reach_nobody(unheard))
        if machine.state is State.RUNNING and (stale := join(activation.stale.values())) is not None:
            counters["stale_stops"] += 1
            counters["frozen_stops"] += bool(frozen)
            machine.hold(Event.STALE, stale)
