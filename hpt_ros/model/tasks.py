# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The tasks that a policy knows: each one's text was embedded once, so that a robot needs no language model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from hpt_ros.errors import did_you_mean
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
                f"the embeddings of the tasks are {str(embeddings.dtype).removeprefix('torch.')} "
                f"{tuple(embeddings.shape)}, but float {tuple(self.embeddings.shape)} (tasks, tokens, width) was "
                "expected; embed the configuration's tasks with its language model"
            )
        if not bool(torch.isfinite(embeddings).all()):
            raise InputError(
                "the embeddings of the tasks hold a value that is no finite number; embed them again"
            )
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
                f"the embeddings of the tasks {list(self.tasks)} are not there yet; call Policy.set_task_embeddings, "
                "or load a checkpoint"
            )

    def look_up(self, task: object, device: torch.device) -> Tensor:
        """Return the embeddings (B, tokens, width) of texts, or of indices int64 (B,) into the tasks.

        Raises:
            InputError: no such task, or neither texts nor indices.
        """
        if isinstance(task, str):
            raise InputError(
                f"'task' is the text {task!r}, but one text per sample was expected; pass a list, [{task!r}]"
            )
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
                f"'task' holds the index {low if low < 0 else high}, but 0 to {len(self.tasks) - 1} was expected "
                f"(the policy knows {', '.join(map(repr, self.tasks))}); pass an index into these"
            )
        return self.embeddings[index]

    def _index_of(self, text: object) -> int:
        if text not in self.tasks:
            raise InputError(
                f"the task {text!r} is unknown; the policy knows {', '.join(map(repr, self.tasks))}"
                f"{did_you_mean(str(text), self.tasks)}"
            )
        return self.tasks.index(str(text))
