# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What `hpt checkpoint` does; each function takes the parsed arguments and returns the text to print."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from hpt_ros.dataset.recognise import recognise
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import Code, HptError
from hpt_ros.model.checkpoint import (
    Checkpoint,
    first_policy,
    load_checkpoint,
    load_multi_checkpoint,
    save_checkpoint,
    save_multi_checkpoint,
)
from hpt_ros.model.checkpoint_folder import CONFIG, FORMAT, is_many, read_config
from hpt_ros.model.exporting import export_model
from hpt_ros.model.importing import Robot, import_policy, import_trunk, policy_card
from hpt_ros.model.summary import checkpoint_report, export_report, multi_report, verification_report
from hpt_ros.model.task_extension import with_tasks
from hpt_ros.model.verifying import require_statistics
from hpt_ros.model.weights import export_trunk
from hpt_ros.policies.compatibility import check_compatible
from hpt_ros.resources import checkpoint_folder


def _folder(path: str) -> Path:
    """Return the folder of a checkpoint.

    Raises:
        HptError: there is none of that name, or it is something else that has a verb of its own.
    """
    folder = checkpoint_folder(path)
    if not (folder / CONFIG).is_file() and (kind := recognise(folder)) is not None:
        raise HptError(
            Code.WRONG_TYPE, repr(path), problem=f"is {kind.name}", expected="a checkpoint",
            remedy=kind.remedy,
        )  # fmt: skip
    return folder


def inspect(args: argparse.Namespace) -> str:
    """Print what a checkpoint is."""
    folder = _folder(args.path)
    if not is_many(folder):
        return checkpoint_report(load_checkpoint(folder), where=args.path)
    return multi_report(load_multi_checkpoint(folder), where=args.path)


def verify(args: argparse.Namespace) -> str:
    """Load a checkpoint strictly and check its files against each other."""
    folder = _folder(args.path)
    many = load_multi_checkpoint(folder) if is_many(folder) else None
    parts = [many.single(name) for name in many.policy.names] if many else [load_checkpoint(folder)]
    for checkpoint in parts:
        check_compatible(checkpoint.config, _robot_of(checkpoint, args.path))
        require_statistics(checkpoint)
    return "\n".join(verification_report(checkpoint, where=args.path) for checkpoint in parts)


def import_published(args: argparse.Namespace) -> str:
    """Turn published weights into a trunk file or a checkpoint."""
    if args.embodiment is None:
        for name in ("domain", "image_encoder", "task", "language_model"):
            if getattr(args, name):
                raise HptError(
                    Code.UNEXPECTED, f"--{name.replace('_', '-')}",
                    problem="is for a whole policy, but without --embodiment only the trunk is imported",
                    remedy="add --embodiment FILE, or leave it out",
                )  # fmt: skip
        return str(import_trunk(args.source, args.out))
    _require_new(args.out)
    robot = Embodiment.load(args.embodiment)
    imported = import_policy(
        args.source, _facts(robot, args), domain=args.domain, image_encoder=args.image_encoder
    )
    check_compatible(
        imported.policy.config,
        robot,
        policy="the published model",
        file=f"embodiment file {str(args.embodiment)!r}",
        remedy="give the file of the robot that it was trained for",
    )
    folder = save_checkpoint(
        args.out,
        imported.policy,
        embodiment_yaml=robot.to_yaml(),
        stats=imported.statistics,
        card=partial(policy_card, imported),
    )
    checkpoint = load_checkpoint(folder)
    return f"{imported}\nwrote the checkpoint {folder} (model.safetensors sha256 {checkpoint.weights.sha256})"


def export(args: argparse.Namespace) -> str:
    """Write a trunk, or one robot's policy in the published layout or as a checkpoint of its own."""
    folder = _folder(args.path)
    if args.format == "trunk":
        policy = first_policy(folder)
        return export_report(policy.config.trunk, export_trunk(policy, args.out))
    checkpoint = load_checkpoint(folder)
    if args.format == "model":
        return str(export_model(checkpoint.policy, args.out))
    _require_new(args.out)
    written = save_checkpoint(
        args.out,
        checkpoint.policy,
        embodiment_yaml=checkpoint.embodiment_yaml,
        stats=checkpoint.stats,
        card=checkpoint.card,
        metrics=checkpoint.metrics,
        training=checkpoint.training,
        half_precision=checkpoint.weights.half_precision,
    )
    return f"wrote {written}, the policy of {checkpoint.config.embodiment}"


def upgrade(args: argparse.Namespace) -> str:
    """Write a checkpoint in today's layout, in place of the old one or to another folder."""
    folder = _folder(args.path)
    before = read_config(folder)[0]
    if args.out is None and before.format == FORMAT:
        return f"{folder} has today's format {FORMAT} already; nothing was changed"
    if args.out is not None:
        _require_new(args.out)
    old = load_multi_checkpoint(folder)
    written = save_multi_checkpoint(
        args.out or folder,
        old.policy,
        old.robots,
        card=old.card,
        metrics=old.metrics,
        training=old.training,
        half_precision=old.weights.half_precision,
    )
    return f"wrote {written}, of format {FORMAT} (was {before.format}): {', '.join(old.policy.names)}"


def add_task(args: argparse.Namespace) -> str:
    """Write a checkpoint that knows more tasks."""
    _require_new(args.out)
    checkpoint = load_checkpoint(_folder(args.path))
    policy = with_tasks(checkpoint.policy, tuple(args.task))
    added = f"## Tasks added\n- with `hpt checkpoint add-task`, not trained on: {'; '.join(args.task)}\n"
    folder = save_checkpoint(
        args.out,
        policy,
        embodiment_yaml=checkpoint.embodiment_yaml,
        stats=checkpoint.stats,
        card=f"{checkpoint.card.rstrip()}\n\n{added}",
        metrics=checkpoint.metrics,
        training=checkpoint.training,
        half_precision=checkpoint.weights.half_precision,
    )
    return f"wrote {folder}, which knows {len(policy.config.tasks)} tasks: {'; '.join(policy.config.tasks)}"


def _require_new(out: Path) -> None:
    if out.exists():
        raise HptError(Code.EXISTS, repr(str(out)), remedy="name another folder")


def _robot_of(checkpoint: Checkpoint, path: str) -> Embodiment:
    return Embodiment.loads(checkpoint.embodiment_yaml, where=f"the embodiment of checkpoint {path!r}")


def _facts(robot: Embodiment, args: argparse.Namespace) -> Robot:
    """What published weights do not hold; views of different sizes are found by `check_compatible`."""
    image = robot.image_streams[0].image if robot.image_streams else None
    return Robot(
        name=robot.name,
        views=len(robot.image_streams),
        image_height=image.height if image else 0,
        image_width=image.width if image else 0,
        tasks=tuple(args.task) or ((robot.task,) if robot.task else ()),
        language_model=args.language_model,
    )
