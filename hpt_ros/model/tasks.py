# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The tasks that a policy knows: each one's text was embedded once, so that a robot needs no language model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from hpt_ros.errors import Code
from hpt_ros.model.inputs import Input, InputError, check_array


class TaskTable(nn.Module):
    """Embeddings (tasks, tokens, width) of the tasks of a policy's configuration. NaN until set or loaded."""

    embeddings: Tensor

    def __init__(self, tasks: Sequence[str], tokens: int, width: int) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.register_buffer("embeddings", torch.full((len(self.tasks), tokens, width), torch.nan))
        self._checked = False

    def set(self, embeddings: Tensor) -> None:
        """Take the embeddings, float (tasks, tokens, width), in the order of the configuration's tasks."""
        if tuple(embeddings.shape) != tuple(self.embeddings.shape) or not embeddings.is_floating_point():
            raise InputError(
                Code.WRONG_SHAPE, "the embeddings of the tasks", tuple(embeddings.shape),
                problem=f"are {str(embeddings.dtype).removeprefix('torch.')} {{value}}",
                expected=f"float {tuple(self.embeddings.shape)} (tasks, tokens, width)",
                remedy="embed the configuration's tasks with its language model",
            )  # fmt: skip
        if not bool(torch.isfinite(embeddings).all()):
            raise InputError(
                Code.NOT_FINITE, "the embeddings of the tasks", problem="hold a value that is no finite number",
                remedy="embed them again",
            )  # fmt: skip
        with torch.no_grad():
            self.embeddings.copy_(embeddings)

    @property
    def ready(self) -> bool:
        """Whether embeddings have been set or loaded."""
        return bool(torch.isfinite(self.embeddings).all())

    def require_ready(self) -> None:
        """Raise unless the embeddings are there."""
        if not self.ready:
            raise InputError(
                Code.NOT_READY, f"the embeddings of the tasks {list(self.tasks)}", problem="are not there yet",
                remedy="call Policy.set_task_embeddings, or load a checkpoint",
            )  # fmt: skip

    def look_up(self, task: object, device: torch.device) -> Tensor:
        """Return the embeddings (B, tokens, width) of texts, or of indices int64 (B,) into the tasks.

        Raises:
            InputError: no such task, or neither texts nor indices.
        """
        if isinstance(task, str):
            raise InputError(
                Code.INVALID, "'task'", task, problem="is the text {value}", expected="one text per sample",
                remedy=f"pass a list, [{task!r}]",
            )  # fmt: skip
        if isinstance(task, np.ndarray) and task.dtype.kind in "US":
            task = task.tolist()
        if isinstance(task, Sequence):
            index = torch.tensor([self._index_of(text) for text in task], dtype=torch.int64, device=device)
        else:
            index = task if isinstance(task, Tensor) else torch.as_tensor(np.asarray(task))
        index = check_array(Input("task", "int64", (), axes=("B",)), index, device)
        if not self._checked:
            self.require_ready()
            self._checked = True
        low, high = int(index.min()), int(index.max())
        if low < 0 or high >= len(self.tasks):
            raise InputError(
                Code.OUT_OF_RANGE, "'task'", low if low < 0 else high, problem="holds the index {value}",
                expected=f"0 to {len(self.tasks) - 1} (the policy knows {', '.join(map(repr, self.tasks))})",
                remedy="pass an index into these",
            )  # fmt: skip
        return self.embeddings[index]

    def _index_of(self, text: object) -> int:
        if text not in self.tasks:
            raise InputError(
                Code.UNKNOWN, "the task", str(text), known=self.tasks,
                remedy="pass a task that the policy knows",
            )  # fmt: skip
        return self.tasks.index(str(text))
