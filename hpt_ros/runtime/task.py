# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The task's text that a policy is given."""

from __future__ import annotations

from dataclasses import replace

from hpt_ros.errors import Code, HptError, Refusal
from hpt_ros.policies.loading import LoadedPolicy


class Task:
    """The task that one robot has now.

    Attributes:
        text: as the policy is given it; empty: none.
    """

    def __init__(self, loaded: LoadedPolicy) -> None:
        """Begin with the embodiment's task."""
        self._known, self._usual = loaded.tasks, loaded.embodiment.task
        self.text = self._usual

    def refusal(self, task: str) -> Refusal | None:
        """Return why a text cannot be the task; None if it can."""
        known = self._known
        if not task.strip():
            return Refusal(Code.EMPTY, "the task", expected="a text", remedy="say what the robot is to do")
        if not known or task in known:
            return None
        listed = ", ".join(repr(name) for name in known[:20]) + (" and more" if len(known) > 20 else "")
        return HptError(
            Code.UNKNOWN, "the task", task, expected=f"one that the checkpoint knows: {listed}", known=known,
            remedy="name one of these, or train on it",
        ).refusal  # fmt: skip

    def set(self, task: str) -> Refusal | None:
        """Set the task's text; returns why not, or None."""
        refused = self.refusal(task)
        if refused is None:
            self.text = task
        return refused

    def default(self) -> str:
        """The embodiment's task, or the only one that the policy knows; empty if there is neither."""
        known = self._known
        return self._usual or (known[0] if len(known) == 1 else "")

    def begin(self, wanted: str, *, needed: bool) -> None:
        """Take the task that the robot begins with.

        Args:
            wanted: empty takes the embodiment's, or the only one that the policy knows.
            needed: whether the policy runs before anybody names a task.

        Raises:
            HptError: the policy does not know it.
        """
        task = wanted or self.default()
        if (wanted or (needed and self._known)) and (refused := self.refusal(task)):
            remedy = f"{refused.remedy}; the parameter task says what the robot begins with"
            raise HptError.of(replace(refused, remedy=remedy))
        self.text = "" if self.refusal(task) else task
