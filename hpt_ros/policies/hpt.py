# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Policies trained here: a checkpoint of the heterogeneous pre-trained transformer."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from hpt_ros.devices import choose_device
from hpt_ros.embodiment import Embodiment, list_deployed_fields, require_deployable
from hpt_ros.errors import Code, HptError
from hpt_ros.modalities import LANGUAGE, MODALITIES
from hpt_ros.policies.loading import LoadedPolicy, PolicyKind, PolicySettings, load_deployed_robot
from hpt_ros.policies.protocol import Observation
from hpt_ros.resources import checkpoint_folder


class CheckpointPolicy:
    """A trained policy from a checkpoint folder; each picture is encoded once, ahead where there is time."""

    def __init__(
        self,
        folder: Path,
        device: str,
        threads: int,
        *,
        backend: str = "eager",
        precision: str = "float32",
    ) -> None:
        """Load strictly and run once, so that the first real inference is as quick as the others.

        Raises:
            HptError: the folder is no checkpoint, is damaged, or cannot be run by the backend or on the device.
        """
        # torch takes seconds to import; the baselines do without.
        import torch

        from hpt_ros.model.checkpoint import load_checkpoint
        from hpt_ros.model.inference_session import InferenceSession
        from hpt_ros.policies.compatibility import check_compatible

        checkpoint = load_checkpoint(folder)
        self.embodiment = Embodiment.loads(
            checkpoint.embodiment_yaml, where=f"the embodiment of checkpoint {str(folder)!r}"
        )
        self.config = checkpoint.config
        self.image_sizes = _image_sizes(checkpoint.stats)
        check_compatible(self.config, self.embodiment)
        chosen = choose_device(device, subject="the parameter device")
        try:
            policy = checkpoint.policy.to(torch.device(chosen.name)).eval()
        except (RuntimeError, AssertionError) as error:
            sentence = " ".join(str(error).split())[:200]
            raise HptError(
                Code.UNSUPPORTED, "the parameter device", device,
                problem=f"is {{value}}, which torch cannot use here ({sentence})",
                remedy="use 'cpu' or a device that this machine has",
            ) from error  # fmt: skip
        self._rollout = InferenceSession(policy, backend=backend, precision=precision, threads=threads)
        computing = self._rollout.backend
        measured = f" ({computing.selection})" if computing.selection else ""
        on = f"{chosen.name} ({chosen.reason})"
        self.computed_by = f", computed by the backend {computing.name} in {precision} on {on}{measured}"

    @property
    def optional(self) -> frozenset[str]:
        """Modalities that may be missing, and those that the policy never looks at."""
        unseen = {stream.modality for stream in self.embodiment.streams} - set(self.config.modalities)
        return frozenset({*self.config.optional_modalities, *unseen})

    def predict(self, observation: Observation) -> NDArray[Any]:
        """The policy's chunk, (horizon, action dim), absolute whatever the mode it was trained in."""
        inputs: dict[str, Any] = {
            name: observation.inputs[name]
            for name in (MODALITIES[item].input for item in self.config.modalities if item != LANGUAGE)
            if name in observation.inputs
        }
        if LANGUAGE in self.config.modalities and observation.task:
            inputs["task"] = [observation.task]
        # Ticks without keys are like no other.
        keys: Sequence[Hashable] = observation.keys or [
            object() for _ in range(self.config.observation_horizon)
        ]
        chunk: NDArray[Any] = self._rollout.predict(inputs, keys)
        space = self.embodiment.space
        if space.predicted_as_held:
            return chunk
        absolute: NDArray[Any] = space.from_mode(chunk[None], observation.inputs["state"][:, -1])[0]
        return absolute

    def observe(self, observation: Observation) -> None:
        """Encode the pictures of one tick, whose chunk, or a later one, will want them."""
        (key,) = observation.keys
        self._rollout.observe(observation.inputs, key)

    def reset(self) -> None:
        """Forget the pictures of the episode before."""
        self._rollout.reset()


def _image_sizes(stats: Mapping[str, Any]) -> dict[str, tuple[tuple[int, int], ...]]:
    """Heights and widths of each camera's images in the training data, before they were resized; none if not known."""
    found = stats.get("image_sizes", {})
    try:
        return {
            str(name): tuple((int(high), int(wide)) for high, wide in sizes) for name, sizes in found.items()
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise HptError(
            Code.INVALID, "the checkpoint's stats.json's image_sizes", str(found)[:80],
            expected="lists of [height, width] by stream name",
            remedy="copy the checkpoint again", cause=error,
        ) from error  # fmt: skip


def load(settings: PolicySettings) -> LoadedPolicy:
    """Load a checkpoint; an embodiment file and a deployment may change what a deployment may change."""
    if not settings.checkpoint:
        raise HptError(
            Code.EMPTY, "the parameter checkpoint", expected="a folder",
            remedy="set it, or take another policy",
        )  # fmt: skip
    robot = settings.embodiment
    folder = checkpoint_folder(settings.checkpoint)
    trained = CheckpointPolicy(
        folder, settings.device, settings.threads, backend=settings.backend, precision=settings.precision
    )
    here = trained.embodiment
    if robot is not None:
        here = require_deployable(
            here,
            robot,
            a_name=f"checkpoint {str(folder)!r}",
            b_name=f"embodiment file {settings.embodiment_file!r}",
        )
    here = load_deployed_robot(here, settings.deployment_file)
    return LoadedPolicy(
        trained, here, str(folder), trained.config.observation_horizon, trained.optional, trained.config.tasks,
        trained.computed_by, list_deployed_fields(trained.embodiment, here), trained.image_sizes,
    )  # fmt: skip


CHECKPOINT = PolicyKind(name="checkpoint", load=load)
