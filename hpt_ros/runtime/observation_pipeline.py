# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The thread between messages and the policy's worker: it decodes, resamples, assembles and asks.

An image of 640x480 takes milliseconds to decode. The node's own thread hands messages on as they are, so that neither
commands nor joint states wait for one. Images and point clouds are decoded here, and only those that a tick uses.

Order is retained, and each message carries the time of its arrival: ticks are the same however late this thread is.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.chunk import NS_PER_S
from hpt_ros.embodiment import Embodiment, Stream
from hpt_ros.errors import HptError, Refusal
from hpt_ros.observation import (
    SETTLE_S,
    CommandTrack,
    InvalidSampleError,
    ObservationBuffer,
    ObservationWindow,
    Tick,
    TickGrid,
    assemble,
    decode,
)
from hpt_ros.observation.video import is_video
from hpt_ros.policies.protocol import Observation
from hpt_ros.runtime.inference_worker import Marks, Request, Worker
from hpt_ros.runtime.outcomes import ObservationReport, TickOutcome, undecodable

# A tick older than this part of the tick's period (after it settled) is not worth an inference: the next is nearer. The
# queue falls to half at the time of an action, which is that of a tick, when the newest one known is a period old.
FRESH_PART = 0.5
ARRIVALS_KEPT = 64  # newest messages of a stream whose steady arrival is known; a tick is younger than that
# Images and point clouds that wait: two seconds of two cameras at 60 Hz. More means that this machine cannot keep up.
WAITING_KEPT = 240
AWAKE_AT = 64  # things waiting that wake the thread although no tick is due
Decoded = TypeVar("Decoded")
LOOK = -1  # in place of a time: look at the clock
SHORTEST_WAIT_S = 0.001  # where simulated time stands still just before a tick


class ObservationPipeline:
    """Messages in, requests to the worker out. Its methods may be called from any thread and never wait.

    Attributes:
        buffer, window: of this thread; others may look at them while `flush` says that nothing is under way.
        missing: stream name to the reason why the newest tick is no observation; empty if it is one.
        overruns: messages thrown away because too many waited.
        absent: stream name to the reason why it is absent from the newest tick.
    """

    def __init__(
        self,
        embodiment: Embodiment,
        worker: Worker,
        *,
        horizon: int,
        optional: frozenset[str] = frozenset(),
        clock: Callable[[], int] | None = None,
        own_thread: bool = True,
    ) -> None:
        """Start the thread.

        Args:
            embodiment: of the robot.
            worker: that requests go to.
            horizon: observation ticks that the policy wants.
            optional: modalities that it can do without.
            clock: node time in ns, so that a tick is resolved the moment that it has settled; without one the time
                is that of `look`.
            own_thread: False: there is no thread, and `flush` does the work on its caller's.
        """
        self.embodiment = embodiment
        self.buffer = ObservationBuffer(embodiment, optional=optional)
        self.window = ObservationWindow(embodiment, horizon)
        self.missing: dict[str, Refusal] = {}
        self.overruns = 0
        self.absent: dict[str, Refusal] = {}
        self.encode_ahead = False
        self._worker, self._clock = worker, clock
        self._grid, self._settle_ns = TickGrid(embodiment.tick_hz), round(SETTLE_S * NS_PER_S)
        self.fresh_ns = round((SETTLE_S + FRESH_PART * embodiment.dt_s) * NS_PER_S)
        self._commands = CommandTrack(embodiment)
        self._arrivals: dict[str, deque[tuple[int, int]]] = {
            stream.name: deque(maxlen=ARRIVALS_KEPT) for stream in embodiment.streams
        }  # header stamp and steady arrival
        self._resolved_ns = (
            -1,
            0,
            0,
        )  # the newest tick's index, and when it was due and ready on the steady clock
        self._asked_ns = -1  # tick of the newest request

        self._condition = threading.Condition()
        # Below: shared, under the condition.
        self._inbox: deque[Callable[[], None]] = deque()
        self._waiting = 0  # of these, images and point clouds
        self._working = self._closed = False
        self._unasked = False  # whether a new tick waits for a chunk to be wanted
        self._generation = self._at_work = 0  # of what is handed over; of what is being worked on
        self._looked_ns: int | None = None
        self._wanted, self._task = False, ""
        self._trusted: dict[str, bool] = {}  # costly streams whose newest decoded message was good
        self._outcomes: list[TickOutcome] = []
        self._internal = ""
        self._thread: threading.Thread | None = None
        if own_thread:
            self._thread = threading.Thread(target=self._work, name="observations", daemon=True)
            self._thread.start()

    # --- from any thread -------------------------------------------------------------------------------------------

    def message(self, stream: Stream, message: Any, stamp_ns: int, arrival_ns: int) -> bool:
        """Hand on a costly message as it came.

        Returns:
            Whether it may count as usable at once, since its stream's newest decoded message was; otherwise it is
            decoded as soon as its turn comes, and `report` has the outcome.
        """
        with self._condition:
            if self._waiting >= WAITING_KEPT:
                self.overruns += 1
                if is_video(stream, message):
                    self._post(partial(self.buffer.note_loss, stream.name))
                return False
            self._waiting += 1
            trusted = self._trusted.get(stream.name, False)
            steady_ns = time.monotonic_ns()
            self._post(partial(self._take, stream, message, stamp_ns, arrival_ns, steady_ns, trusted))
            if not trusted:
                self._condition.notify()
            return trusted

    def note_loss(self, stream: Stream) -> None:
        """A costly message is not handed on, which the next ones of a video need."""
        with self._condition:
            self._post(partial(self.buffer.note_loss, stream.name))

    def sample(self, stream: Stream, value: NDArray[Any], stamp_ns: int, arrival_ns: int) -> None:
        """Hand on a message that is decoded already."""
        with self._condition:
            steady_ns = time.monotonic_ns()
            self._post(partial(self._push, stream, value, stamp_ns, arrival_ns, steady_ns))

    def hold(self, stream: str, value: NDArray[Any]) -> None:
        """Say where the joints of a stream are that are published only while they move, NaN for all others."""
        with self._condition:
            self._post(partial(self.buffer.hold, stream, value))

    def note_command(
        self, time_ns: int, now_ns: int, position: NDArray[np.float64], velocity: NDArray[np.float64]
    ) -> None:
        """Note a command that was sent, (dim,) of the control vector, and when the robot is to be there."""
        with self._condition:
            self._post(partial(self._commands.push_sent, time_ns, now_ns, position, velocity))

    def poll(self, now_ns: int, *, wanted: bool, task: str) -> None:
        """Say what time it is, whether a chunk is wanted, and for which task."""
        with self._condition:
            self._wanted, self._task = wanted, task
            if self._clock is None or (wanted and self._unasked):
                self._looked_ns = now_ns
                self._condition.notify()

    def look(self, now_ns: int) -> None:
        """Say what time it is between two polls: what is wanted stays."""
        with self._condition:
            self._looked_ns = now_ns

    def due_ns(self, after_ns: int) -> int:
        """Return when, later than a time, the next tick is settled."""
        return (
            self._grid.time_ns(self._grid.first_at_or_after(after_ns - self._settle_ns + 1)) + self._settle_ns
        )

    def report(self) -> ObservationReport:
        """What happened since the last call."""
        with self._condition:
            report = ObservationReport(tuple(self._outcomes), self._internal)
            self._outcomes.clear()
            self._internal = ""
            return report

    def reset(self, generation: int) -> None:
        """Forget everything; what comes from now on belongs to `generation`."""
        with self._condition:
            self._inbox.clear()
            self._waiting, self._unasked = 0, False
            self._trusted.clear()
            self._outcomes.clear()
            self._looked_ns, self._wanted = None, False
            self._internal, self.missing, self.absent = "", {}, {}
            self.overruns = 0
            self._generation = generation
            self._post(self._forget)
            self._condition.notify()

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until everything handed over is worked off; False if it is not in time."""
        if self._thread is None:
            while self._inbox or self._looked_ns is not None:
                self._turn()
            return True
        with self._condition:
            self._looked_ns = LOOK if self._looked_ns is None and self._clock is not None else self._looked_ns
            self._condition.notify_all()
            return self._condition.wait_for(
                lambda: not self._inbox and not self._working and self._looked_ns is None, timeout_s
            )

    def close(self) -> None:
        """End the thread."""
        with self._condition:
            self._closed = True
            self._inbox.clear()
            self._condition.notify_all()
        if self._thread is not None:
            self._thread.join(2.0)

    # --- on the thread ---------------------------------------------------------------------------------------------

    def _post(self, work: Callable[[], None]) -> None:
        """Leave work for the thread, which does it before the next tick at the latest."""
        self._inbox.append(work)
        if len(self._inbox) >= AWAKE_AT:
            self._condition.notify()

    def _work(self) -> None:
        while True:
            with self._condition:
                self._working = False
                self._condition.notify_all()
                nothing = self._looked_ns is None and not self._inbox and not self._closed
                if nothing and not self._condition.wait(self._until_next_tick_s()):
                    self._looked_ns = LOOK
                if self._closed:
                    return
                self._working = True
            self._turn()

    def _turn(self) -> None:
        """Do one piece of work, or look at the time if there is none."""
        with self._condition:
            work = self._inbox.popleft() if self._inbox else None
            looked_ns = None
            if work is None:
                looked_ns, self._looked_ns = self._looked_ns, None
            self._at_work, wanted, task = self._generation, self._wanted, self._task
        try:
            if work is not None:
                work()
            elif looked_ns is not None:
                now_ns = looked_ns if self._clock is None else self._clock()
                if now_ns:  # 0: simulated time has not begun
                    self._look(now_ns, wanted, task)
        except Exception as error:
            with self._condition:
                self._internal = (
                    self._internal or f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
                )

    def _until_next_tick_s(self) -> float | None:
        """For how long nothing is due; a guess where time is simulated, corrected by `look`."""
        if self._clock is None:
            return None
        now_ns = self._clock()
        return max((self.due_ns(now_ns) - now_ns) / NS_PER_S, SHORTEST_WAIT_S)

    def _take(
        self, stream: Stream, message: Any, stamp_ns: int, arrival_ns: int, steady_ns: int, trusted: bool
    ) -> None:
        with self._condition:
            self._waiting -= 1 if self._at_work == self._generation else 0
        decoding = partial(self._decode, stream, stamp_ns, arrival_ns)
        try:
            if is_video(stream, message):  # what is left is its colours, if the image is there already
                value: Any = decoding(partial(self.buffer.take, stream.name, message))
            else:
                value = partial(decoding, partial(decode, stream, message))
                value = value if trusted else value()
        except InvalidSampleError:
            return  # it has its outcome
        if not trusted:
            self._judge(TickOutcome(stream, stamp_ns, arrival_ns))
        self._push(stream, value, stamp_ns, arrival_ns, steady_ns)

    def _push(self, stream: Stream, value: Any, stamp_ns: int, arrival_ns: int, steady_ns: int) -> None:
        if self.buffer.push(stream.name, stamp_ns, arrival_ns, value) is not None:
            self._commands.clear()  # they were of before the jump
        self._arrivals[stream.name].append((stamp_ns, steady_ns))

    def _decode(self, stream: Stream, stamp_ns: int, arrival_ns: int, step: Callable[[], Decoded]) -> Decoded:
        """Take a step of decoding a message; whatever is wrong with it, the node goes on."""
        try:
            return step()
        except HptError as error:
            problem = error.refusal
        except Exception as error:
            problem = undecodable(stream, error)
        self._judge(TickOutcome(stream, stamp_ns, arrival_ns, problem))
        raise InvalidSampleError.of(problem)

    def _judge(self, outcome: TickOutcome) -> None:
        with self._condition:
            if self._at_work == self._generation:
                self._trusted[outcome.stream.name] = not outcome.problem
                self._outcomes.append(outcome)

    def _look(self, now_ns: int, wanted: bool, task: str) -> None:
        due_ns, resets = time.monotonic_ns(), self.buffer.resets
        fresh: list[Tick] = []
        for tick in self.buffer.ticks_ready(now_ns):
            if self._observe(tick):
                fresh.append(tick)
                self._resolved_ns = (tick.index, due_ns, time.monotonic_ns())
            due_ns = time.monotonic_ns()
        if self.buffer.resets != resets:
            self._commands.clear()
        asked = self._ask(now_ns, task) if wanted else None
        latest = self.window.latest
        self._unasked = (
            latest is not None and latest.stamp_ns != self._asked_ns and self._fresh(latest, now_ns)
        )
        if self.encode_ahead:
            for tick in fresh:
                if tick is not asked:
                    alone = assemble(self.embodiment, (tick,), 1)
                    self._worker.encode_ahead(Observation(tick.stamp_ns, alone, task, (tick.index,)))

    def _observe(self, tick: Tick) -> bool:
        command = self._commands.value_at(self._grid.time_ns(tick.index - 1))
        if not self.window.push(tick, None if isinstance(command, Refusal) else command):
            self.missing = dict(tick.missing)
            return False
        self.missing, self.absent = {}, dict(tick.absent)
        return True

    def _ask(self, now_ns: int, task: str) -> Tick | None:
        """Ask for a chunk from the newest tick; returns that tick, or None if it was not asked for now."""
        tick = self.window.latest
        if tick is None or tick.stamp_ns == self._asked_ns or not self._worker.idle:
            return None
        if not self._fresh(tick, now_ns):
            return None
        image_ns, arrival_ns = self._newest_input(tick)
        observation = Observation(tick.stamp_ns, self.window.inputs(), task, self.window.keys)
        index, due_ns, ready_ns = self._resolved_ns
        marks = Marks(arrival_ns, submitted_ns=time.monotonic_ns())
        if index == tick.index:
            marks = replace(marks, due_ns=due_ns, ready_ns=ready_ns)
        if not self._worker.submit(Request(observation, self._at_work, image_ns, marks)):
            return None
        self._asked_ns = tick.stamp_ns
        return tick

    def _fresh(self, tick: Tick, now_ns: int) -> bool:
        return now_ns - tick.stamp_ns < self.fresh_ns

    def _newest_input(self, tick: Tick) -> tuple[int, int | None]:
        """Header stamp and steady arrival of the tick's newest image, or of its newest sample without images."""
        streams = [stream for stream in self.embodiment.image_streams if stream.name in tick.arrays]
        names = [stream.name for stream in streams or self.embodiment.streams]
        name = min(names, key=lambda item: tick.ages_s[item])
        stamp = tick.stamp_ns - round(tick.ages_s[name] * NS_PER_S)
        for seen_ns, steady_ns in reversed(self._arrivals[name]):
            if abs(seen_ns - stamp) <= 1:  # ages are rounded
                return seen_ns, steady_ns
        return stamp, None

    def _forget(self) -> None:
        self.buffer.reset("the policy node was activated or deactivated")
        for stream in self.embodiment.streams:
            self.buffer.note_loss(stream.name)
        self.window.reset()
        self._commands.clear()
        self._asked_ns = -1
        for arrivals in self._arrivals.values():
            arrivals.clear()
