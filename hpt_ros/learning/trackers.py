# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Programs that draw a run's curves elsewhere: TensorBoard always, Weights & Biases if asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from hpt_ros.errors import Code, HptError
from hpt_ros.extras import require_extra

TENSORBOARD = "tensorboard"  # folder in the run's


class TrackerLostError(HptError):
    """A program that draws a run's curves has ended, or has lost its connection; the run itself needs it not."""


class Tracker(Protocol):
    """Takes a run's numbers."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Take numbers at a step, by names with slashes.

        Raises:
            TrackerLostError: nothing more can be drawn there.
        """
        ...

    def close(self) -> None:
        """Write what is left; errors as `scalars`."""
        ...


class TensorBoard:
    """Event files in the run's folder; a resumed run hides what was written after the step that it goes on from."""

    def __init__(self, out: Path, after: int) -> None:
        """Open a file of its own beside those that are there.

        Raises:
            ModuleNotFoundError: tensorboardX is not installed.
            HptError: it does not get on with what is installed beside it.
        """
        try:
            from tensorboardX import SummaryWriter  # takes a moment, and only processes that write need it
        except TypeError as error:  # of protobuf, where it is older or newer than the code that it made
            raise HptError(
                Code.NOT_INSTALLED, "TensorBoard's event files", "tensorboardX",
                problem="need {value}, which is installed but cannot be imported",
                remedy="install the versions of tensorboardX and protobuf that are in constraints.txt", cause=error,
            ) from error  # fmt: skip

        # The library names files by the second, and one of a run that was just begun must not be written over.
        self._writer: Any = SummaryWriter(
            str(out / TENSORBOARD), purge_step=after + 1 if after else None, filename_suffix=f".{after}"
        )

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Take numbers at a step."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


class WeightsAndBiases:
    """A run of a project; whose account, and whether offline, is wandb's own business (WANDB_MODE, `wandb login`)."""

    def __init__(self, project: str, out: Path, config: Mapping[str, Any], *, resumed: bool) -> None:
        """Begin a run, or go on with that of the same folder.

        Raises:
            HptError: wandb is not installed, or refuses.
        """
        wandb: Any = require_extra("wandb", extra="wandb", what="--wandb")
        file = out / ".wandb-run"
        run_id = file.read_text(encoding="utf-8").strip() if resumed and file.is_file() else None
        try:
            self._run: Any = wandb.init(
                project=project, name=out.name, dir=str(out), config=dict(config), id=run_id, resume="allow"
            )
        except Exception as error:  # of many kinds: no account, no network, no such project
            raise HptError(
                Code.UNAVAILABLE, "Weights & Biases", project, problem="does not take the project {value}",
                remedy="run 'wandb login', or set WANDB_MODE=offline", cause=error,
            ) from error  # fmt: skip
        file.write_text(f"{self._run.id}\n", encoding="utf-8")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Take numbers at a step."""
        with self._while_there():
            self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Finish the run."""
        with self._while_there():
            self._run.finish()

    @contextmanager
    def _while_there(self) -> Iterator[None]:
        try:
            yield
        except (
            Exception
        ) as error:  # of many kinds: its service was killed, its disk is full, its connection is gone
            raise TrackerLostError(
                Code.UNAVAILABLE, "Weights & Biases", problem="takes no more numbers",
                remedy="the run goes on without it; a run that is resumed with --wandb draws there again", cause=error,
            ) from error  # fmt: skip


def flatten(values: Mapping[str, Any], dimensions: Mapping[str, list[str]]) -> dict[str, float]:
    """Return a line of metrics.jsonl as plain numbers by name.

    Args:
        values: of the line.
        dimensions: names of each embodiment's action.
    """
    found: dict[str, float] = {}
    for key, value in values.items():
        if key == "validation":
            found |= {
                f"validation/{name}/{what}": v for name, each in value.items() for what, v in each.items()
            }
        elif key == "validation_errors":
            for name, errors in value.items():
                means = [sum(column) / len(errors) for column in zip(*errors, strict=True)]
                pairs = zip(dimensions[name], means, strict=True)
                found |= {f"validation/{name}/error/{dim}": mean for dim, mean in pairs}
        elif isinstance(value, (int, float)) and key != "step":
            found[f"training/{key}" if not key.startswith("validation") else f"validation/{key[11:]}"] = value
    return found
