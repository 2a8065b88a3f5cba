# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a run needs to go on: weights, averaged weights, optimiser, step. Tensors and plain containers only.

One file that is replaced in one go, so that it is always consistent in itself; the checkpoint folders beside it are
what people use, and are not read here.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from hpt_ros.atomic import replace_atomically
from hpt_ros.errors import Code, HptError
from hpt_ros.learning.initial_weights import InitialWeights
from hpt_ros.learning.mixture import Mixture, describe
from hpt_ros.learning.recipe import Recipe, override, read_recipe, recipe_mapping
from hpt_ros.learning.sharded import FOLDER as SHARDS
from hpt_ros.learning.sharded import Sharded
from hpt_ros.model import MultiPolicy
from hpt_ros.structured import differences

FILE = "train_state.pt"
FORMAT = 4
# Keys of the recipe that a run may go on with otherwise: they change how a step is computed, not what it learns.
RESUMABLE = ("micro_batch", "activation_checkpointing", "threads", "log_every")


class StateError(HptError):
    """A run cannot be resumed."""


def save_state(
    out: Path,
    tensors: tuple[MultiPolicy, MultiPolicy, torch.optim.Optimizer] | tuple[str, dict[str, Any]],
    recipe: Recipe,
    mixture: Mixture,
    step: int,
    best: tuple[float, int] | None,
    start: InitialWeights,
) -> None:
    """Write `FILE` into the run's folder, complete or not at all.

    Args:
        out: the run's folder.
        tensors: policy, average and optimiser; or what `Sharded.save` returned, whose folder then counts, and no other.
        recipe, mixture: what the run must be resumed with.
        step: steps done.
        best: least validation error so far, and the step that it is of.
        start: where the first weights came from.

    Raises:
        StateError: it cannot be written.
    """
    state: dict[str, Any] = {
        "format": FORMAT,
        "step": step,
        "best": list(best) if best else None,
        "start": asdict(start),
        "recipe": recipe_mapping(recipe),
        "data": _by_name(mixture),
    }
    if isinstance(tensors[0], str):
        state |= {"shards": tensors[0], "optimiser": tensors[1]}
    else:
        policy, average, optimiser = tensors
        state |= {
            "policy": policy.tensors(),
            "average": average.tensors(),
            "optimiser": optimiser.state_dict(),
        }
    try:
        with replace_atomically(out / FILE) as work:
            _write(state, work)
        for folder in out.glob(f"{SHARDS}*"):
            if folder.name != state.get("shards"):
                shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise StateError(
            Code.UNWRITABLE,
            f"the file {str(out / FILE)!r}",
            cause=error,
            remedy="make room and resume the run",
        ) from error


def _write(state: dict[str, Any], path: Path) -> None:
    """Write the state; raises OSError where torch's writer hides it behind a complaint of its own."""
    try:
        with path.open("wb") as file:  # torch's own files do not say why they cannot be written
            torch.save(state, file)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def load_state(
    out: Path,
    policy: MultiPolicy,
    average: MultiPolicy,
    optimiser: torch.optim.Optimizer,
    recipe: Recipe,
    mixture: Mixture,
    sharded: Sharded | None = None,
) -> tuple[int, tuple[float, int] | None, InitialWeights]:
    """Restore a run; returns (steps done, best validation error and its step, where its first weights came from).

    Raises:
        StateError: nothing to resume, a damaged file, another recipe or another dataset.
    """
    state = _read(out)
    changed = differences(
        _strip_resumable(recipe_mapping(recipe)), _strip_resumable(state["recipe"])
    ) + differences(_by_name(mixture), state["data"])
    if changed:
        key, now, then = changed[0]
        raise StateError(
            Code.MISMATCH, f"{key} of the run in {str(out)!r}", now, expected=f"{then!r:.80} as when it was started",
            remedy="resume with what it was started with, or start another run from its weights with --init",
        )  # fmt: skip
    if ("shards" in state) != (sharded is not None):
        had, has = ("several processes", "one") if "shards" in state else ("one process", "several")
        raise StateError(
            Code.MISMATCH, f"the run in {str(out)!r}", had, problem=f"was spread over {had} (shard: true)",
            expected=f"{has} as now", remedy="resume it with as many processes as then",
        )  # fmt: skip
    if sharded is not None:
        sharded.load(out / state["shards"], optimiser, state["optimiser"])
        return int(state["step"]), _best(state), InitialWeights(**state["start"])
    policy.load_tensors(state["policy"], what="the run's policy", file=out / FILE)
    average.load_tensors(state["average"], what="the run's policy", file=out / FILE)
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"]), _best(state), InitialWeights(**state.get("start", {}))


def _best(state: dict[str, Any]) -> tuple[float, int] | None:
    return None if state["best"] is None else (float(state["best"][0]), int(state["best"][1]))


def load_saved_recipe(out: Path, changes: Sequence[str] = ()) -> Recipe:
    """The recipe of the run in `out`.

    Args:
        out: the run's folder.
        changes: key=value, of `RESUMABLE` keys.

    Raises:
        HptError: nothing to resume, a damaged file, or a wrong value.
    """
    return read_recipe(override(_read(out)["recipe"], changes), where=f"the run {str(out)!r}")


def _strip_resumable(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe without the keys that a run may go on with otherwise."""
    return {key: value for key, value in recipe.items() if key not in RESUMABLE}


def _by_name(mixture: Mixture) -> dict[str, Any]:
    """The data, so that a difference names the dataset; of one dataset alone, so that it need not."""
    members = describe(mixture)
    return members[0] if len(members) == 1 else {member["name"]: member for member in members}


def _read(out: Path) -> dict[str, Any]:
    path = out / FILE
    if not path.is_file():
        raise StateError(
            Code.NOT_FOUND, f"the run in {str(out)!r}", problem=f"cannot be resumed: there is no {FILE}",
            remedy="leave --resume out to start one",
        )  # fmt: skip
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file; all mean the same to the user
        raise StateError(
            Code.DAMAGED, repr(str(path)), problem="cannot be read", cause=error,
            remedy=f"it is damaged: start another run with --init {str(out / 'last')!r}",
        ) from error  # fmt: skip
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise StateError(
            Code.UNSUPPORTED, repr(str(path)), problem=f"is not a training state of format {FORMAT}",
            remedy="resume with the version that wrote it",
        )  # fmt: skip
    return state
