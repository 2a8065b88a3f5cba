# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A policy that knows more tasks: their texts are embedded, and all else stays as it is."""

from __future__ import annotations

from dataclasses import replace

import torch

from hpt_ros.errors import Code
from hpt_ros.modalities import LANGUAGE
from hpt_ros.model.language import embed_tasks
from hpt_ros.model.policy import Policy, PolicyError


def with_tasks(policy: Policy, tasks: tuple[str, ...]) -> Policy:
    """Return a policy with the same weights that also knows `tasks`, in evaluation mode.

    Their texts go through the language model that the configuration names, which must be installed.

    Raises:
        HptError: no language stem, embeddings that came from elsewhere, a task that it knows already, or no language
            model on this machine.
    """
    config = policy.config
    if LANGUAGE not in config.modalities:
        raise PolicyError(
            Code.UNSUPPORTED, "the policy's stems",
            problem=f"are for {', '.join(config.modalities)}, so it does not read a task's text",
            remedy="take a checkpoint that was trained with a language stem",
        )  # fmt: skip
    if config.language.kind == "none":
        raise PolicyError(
            Code.UNSUPPORTED, "the embeddings of the policy's tasks",
            problem="came from elsewhere (language.kind is none), so this cannot embed another",
            remedy="take a checkpoint that was trained with a language model",
        )  # fmt: skip
    known = [task for task in tasks if task in config.tasks]
    if known:
        raise PolicyError(Code.UNEXPECTED, "the policy", known[0], problem="knows the task {value} already")
    bigger = Policy(replace(config, tasks=(*config.tasks, *tasks)))
    added = torch.as_tensor(embed_tasks(config.language, tasks))
    state = {name: value for name, value in policy.state_dict().items() if not name.startswith("language.")}
    if policy.language is not None:
        added = torch.cat((policy.language.embeddings.to("cpu"), added))
    bigger.set_task_embeddings(added)
    bigger.load_state_dict(bigger.state_dict() | state, strict=True)
    return bigger.eval()
