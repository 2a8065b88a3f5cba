"""The worker thread that owns the policy; the control loop hands it observations and never waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Inputs = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Observation:
    """What a policy is given.

    Attributes:
        stamp_ns: the newest tick's time.
        inputs: as `hpt_ros.observation.assemble` makes them: "image" uint8 (1, T, V, H, W, 3), "state" float32
            (1, T, D).
        task: the task's text.
    """

    stamp_ns: int
    inputs: Inputs
    task: str = ""


class ChunkPolicy(Protocol):
    """Arrays with a time in, a chunk out; runs on the worker's thread only."""

    def predict(self, observation: Observation) -> NDArray[Any]:
        """The chunk, (horizon, action dim), in the action's unit; action i is for stamp_ns + i * dt."""
        ...

    def reset(self) -> None:
        """Forget past observations: an episode begins. Runs on the node's thread, while no `predict` runs."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """An observation on its way to the policy, with what is measured about it.

    Attributes:
        observation: for the policy.
        generation: activation that it belongs to; a result of an older one is thrown away.
        image_stamp_ns: header stamp of its newest image (of its newest sample, without images).
        arrival_steady_ns: steady time at which that image arrived; None if not known.
    """

    observation: Observation
    generation: int
    image_stamp_ns: int
    arrival_steady_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a request: a chunk or an error."""

    request: Request
    duration_s: float
    values: NDArray[Any] | None = None
    error: str = ""


@dataclass
class InferenceWorker:
    """One thread, one request at a time."""

    policy: ChunkPolicy
    _condition: threading.Condition = field(default_factory=threading.Condition, init=False, repr=False)
    _request: Request | None = field(default=None, init=False)
    _result: Result | None = field(default=None, init=False)
    _busy_since_ns: int | None = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)
    _thread: threading.Thread = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._work, name="inference", daemon=True)
        self._thread.start()

    def submit(self, request: Request) -> bool:
        """Hand a request over; False if the policy is still busy with another."""
        with self._condition:
            if self._closed or self._busy_since_ns is not None or self._result is not None:
                return False
            self._request = request
            self._busy_since_ns = time.monotonic_ns()
            self._condition.notify()
            return True

    def take(self) -> Result | None:
        """The finished result, once."""
        with self._condition:
            result, self._result = self._result, None
            return result

    @property
    def idle(self) -> bool:
        """Whether a request would be taken."""
        with self._condition:
            return self._busy_since_ns is None and self._result is None and not self._closed

    def busy_s(self) -> float:
        """How long the policy has been at the present request; 0 if it has none."""
        with self._condition:
            since_ns = self._busy_since_ns
        return 0.0 if since_ns is None else (time.monotonic_ns() - since_ns) / 1e9

    def close(self, timeout_s: float = 2.0) -> bool:
        """End the thread; False if the policy did not come back in time (the thread then ends with the process)."""
        with self._condition:
            self._closed = True
            self._request = None
            self._condition.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while True:
            with self._condition:
                while self._request is None and not self._closed:
                    self._condition.wait()
                if self._closed or self._request is None:
                    return
                request, self._request = self._request, None
            result = self._infer(request)
            with self._condition:
                self._result, self._busy_since_ns = result, None

    def _infer(self, request: Request) -> Result:
        start_ns = time.monotonic_ns()
        try:
            values = np.asarray(self.policy.predict(request.observation), dtype=np.float64)
        except Exception as error:  # whatever a policy does, the robot is to be stopped in order
            words = " ".join(str(error).split())[:300] or "no message"
            return Result(
                request, _since_s(start_ns), error=f"the policy raised {type(error).__name__}: {words}"
            )
        return Result(request, _since_s(start_ns), values=values)


def _since_s(start_ns: int) -> float:
    return (time.monotonic_ns() - start_ns) / 1e9
