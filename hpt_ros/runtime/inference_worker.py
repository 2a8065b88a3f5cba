# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The worker thread that owns the policy; others hand it observations and never wait for it."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control.refusals import Why
from hpt_ros.errors import HptError, Refusal, shorten
from hpt_ros.policies.protocol import ChunkPolicy, EncodesAhead, Observation

LONGEST_FAILURE = 300  # characters of what a policy raised


@dataclass(frozen=True, slots=True)
class Marks:
    """When a request's observation got where, steady clock in ns; None where it is not known."""

    arrival_ns: int | None = None  # its newest image came
    due_ns: int | None = None  # its tick began to be resolved
    ready_ns: int | None = None  # its tick was resolved: images are decoded
    submitted_ns: int | None = None  # its arrays were with the worker


@dataclass(frozen=True, slots=True)
class Request:
    """An observation on its way to the policy, with what is measured about it.

    Attributes:
        observation: for the policy.
        generation: activation that it belongs to; a result of an older one is thrown away.
        image_stamp_ns: header stamp of its newest image (of its newest sample, without images).
        marks: its way so far.
    """

    observation: Observation
    generation: int
    image_stamp_ns: int
    marks: Marks = Marks()


@dataclass(frozen=True, slots=True)
class InferenceResult:
    """What became of a request: a chunk or an error; `finished_ns` is steady."""

    request: Request
    duration_s: float
    finished_ns: int
    values: NDArray[Any] | None = None
    error: Refusal | None = None


class Worker(Protocol):
    """Who asks the policy; nobody waits for it."""

    def submit(self, request: Request) -> bool:
        """Take a request; False if the policy is still busy with another."""
        ...

    def encode_ahead(self, observation: Observation) -> None:
        """Take one new tick, to be encoded when nothing else is to do."""
        ...

    def reset(self) -> None:
        """Let the policy forget before its next work: an episode begins."""
        ...

    def take(self) -> InferenceResult | None:
        """Return the finished result, once."""
        ...

    def take_failure(self) -> Refusal | None:
        """Return why encoding ahead failed since the last call; None if it did not."""
        ...

    @property
    def idle(self) -> bool:
        """Whether a request would be taken."""
        ...

    def busy_s(self) -> float:
        """Return how long the policy has been at the present request; 0 if it has none."""
        ...

    def close(self) -> bool:
        """End it; False if the policy did not come back."""
        ...


@dataclass
class InferenceWorker:
    """One thread, one request at a time; while there is none it encodes new ticks ahead, oldest first.

    A request never waits for more than the tick that is just being encoded.
    """

    policy: ChunkPolicy
    ahead_kept: int = 8  # ticks waiting to be encoded; the oldest is dropped, a later `predict` encodes it
    _condition: threading.Condition = field(default_factory=threading.Condition, init=False, repr=False)
    _request: Request | None = field(default=None, init=False)
    _result: InferenceResult | None = field(default=None, init=False)
    _busy_since_ns: int | None = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)
    _forget: bool = field(default=False, init=False)
    _failed_ahead: Refusal | None = field(default=None, init=False)
    _thread: threading.Thread = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._ahead: deque[Observation] = deque(maxlen=self.ahead_kept)
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

    def encode_ahead(self, observation: Observation) -> None:
        """Hand over one new tick, to be encoded when nothing else is to do; nothing if the policy cannot."""
        if isinstance(self.policy, EncodesAhead):
            with self._condition:
                self._ahead.append(observation)
                self._condition.notify()

    def reset(self) -> None:
        """An episode begins: the policy forgets before its next work, and ticks that wait are dropped."""
        with self._condition:
            self._ahead.clear()
            self._failed_ahead = None
            self._forget = True

    def take(self) -> InferenceResult | None:
        """The finished result, once."""
        with self._condition:
            result, self._result = self._result, None
            return result

    def take_failure(self) -> Refusal | None:
        """Return why encoding ahead failed since the last call; None if it did not."""
        with self._condition:
            failed, self._failed_ahead = self._failed_ahead, None
            return failed

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
            self._ahead.clear()
            self._condition.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while True:
            with self._condition:
                while self._request is None and not self._ahead and not self._closed:
                    self._condition.wait()
                if self._closed:
                    return
                forget, self._forget = self._forget, False
                request, self._request = self._request, None
                ahead = self._ahead.popleft() if request is None else None
            if ahead is not None:
                failed = self._observe(ahead, forget)
                with self._condition:
                    self._failed_ahead = self._failed_ahead or failed
                continue
            assert request is not None
            result = infer(self.policy, request, forget=forget)
            with self._condition:
                self._result, self._busy_since_ns = result, None

    def _observe(self, observation: Observation, forget: bool) -> Refusal | None:
        assert isinstance(self.policy, EncodesAhead)
        try:
            if forget:
                self.policy.reset()
            self.policy.observe(observation)
        except Exception as error:
            return failure(error)
        return None


def infer(policy: ChunkPolicy, request: Request, *, forget: bool) -> InferenceResult:
    """Ask the policy, on this thread; whatever it raises is the result's error.

    Args:
        policy: that answers.
        request: what it is asked.
        forget: whether an episode begins.
    """
    start_ns = time.monotonic_ns()
    values, error = None, None
    try:
        if forget:
            policy.reset()
        values = np.asarray(policy.predict(request.observation), dtype=np.float64)
    except Exception as raised:  # whatever a policy does, the robot is to be stopped in order
        error = failure(raised)
    end_ns = time.monotonic_ns()
    return InferenceResult(request, (end_ns - start_ns) / 1e9, end_ns, values, error)


def failure(error: Exception) -> Refusal:
    """Return what a policy raised; the value is the exception, or the refusal that it carries."""
    words = shorten(" ".join(str(error).split()) or "no message", LONGEST_FAILURE)
    if isinstance(error, HptError):  # a sentence by itself
        return Refusal(Why.INFERENCE, value=error.refusal, problem=words)
    return Refusal(Why.INFERENCE, "the policy", error, problem=f"raised {type(error).__name__}: {words}")
