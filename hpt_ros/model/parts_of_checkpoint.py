# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Parts of this project's checkpoints, for a policy of another robot: the image encoder, or all that robots share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hpt_ros.errors import Code
from hpt_ros.model.checkpoint import first_policy
from hpt_ros.model.checkpoint_folder import CONFIG, EMBODIMENTS, WEIGHTS, locate, read_config
from hpt_ros.model.encoders import ImageEncoder
from hpt_ros.model.multi import TOKENS, find_part
from hpt_ros.model.policy import Policy
from hpt_ros.model.weight_files import WeightsError
from hpt_ros.model.weights import LoadReport, load_strictly, report_load
from hpt_ros.structured import differences, to_mapping

PART = "encoder image"


def is_checkpoint(source: str | Path) -> bool:
    """Whether a source of weights is a checkpoint's folder, or that of one embodiment in it."""
    return (locate(Path(source))[0] / CONFIG).is_file()


def load_encoder_of_checkpoint(policy: Policy, source: str | Path) -> LoadReport:
    """Load the image encoder of a checkpoint into that of `policy`; call it after construction.

    Weights of convolutions do not depend on the images' size, nor a shared network on the number of views, so both may
    differ; the structure may not.

    Args:
        policy: it must have an image encoder.
        source: a checkpoint's folder. One of several embodiments must share its image encoder, or the folder of one of
            them is named, ``CHECKPOINT/embodiments/NAME``.

    Raises:
        HptError: no checkpoint, none with an image encoder, or one of another structure.
    """
    root, alone = locate(Path(source))
    model = read_config(root)[0].model
    if alone is None and len(model.policies) > 1 and PART not in model.shared:
        raise WeightsError(
            Code.INVALID, f"the checkpoint {str(source)!r}", ", ".join(model.policies),
            problem="has an image encoder of its own for each of {value}",
            remedy=f"name one, as {str(root / EMBODIMENTS / next(iter(model.policies)))!r}",
        )  # fmt: skip
    names = (
        [alone] if alone is not None else [n for n, c in model.policies.items() if "image" in c.modalities]
    )
    theirs = first_policy(root / EMBODIMENTS / names[0]) if names else None
    encoder = dict(theirs.encoders.items()).get("image") if theirs is not None else None
    if theirs is None or not isinstance(encoder, ImageEncoder):
        raise WeightsError(
            Code.MISSING, f"the checkpoint {str(source)!r}", problem="has no image encoder",
            remedy="name another checkpoint, or leave --image-encoder out",
        )  # fmt: skip
    own = dict(policy.encoders.items())["image"]
    ours, there = (to_mapping(replace(p.config.image_encoder, trainable=False)) for p in (policy, theirs))
    if found := differences(ours, there):
        key, wanted, value = found[0]
        raise WeightsError(
            Code.MISMATCH, f"the image encoder of checkpoint {str(source)!r}", value,
            problem=f"has {key} {{value}}, but the policy's has {wanted!r:.80}",
            remedy=f"set policy.image_encoder.{key} to the checkpoint's, or leave --image-encoder out",
        )  # fmt: skip
    tensors = encoder.state_dict()
    load_strictly(own, tensors, what="the image encoder", file=root / WEIGHTS)
    return report_load(f"image encoder (x{len(encoder.nets)})", source, root / WEIGHTS, tensors, 1)


def shared_parts(source: str | Path) -> tuple[str, ...]:
    """Return what the robots of a checkpoint share besides the trunk, as ``encoder image`` or ``stem image``.

    Raises:
        HptError: no checkpoint.
    """
    if not is_checkpoint(source):
        raise WeightsError(
            Code.INVALID, "--shared", str(source), problem="names {value}, which is no checkpoint",
            remedy="name a checkpoint of hpt pretrain, or leave --shared out",
        )  # fmt: skip
    return read_config(locate(Path(source))[0])[0].model.shared


def load_shared_parts(policy: Policy, source: str | Path) -> dict[str, LoadReport]:
    """Load into `policy` what the robots of a checkpoint share besides the trunk; call it after construction.

    Args:
        policy: parts that it does not have are left out.
        source: the folder of a checkpoint of several embodiments.

    Returns:
        What was loaded, by the part's name, as ``encoder image`` or ``stem image``.

    Raises:
        HptError: no checkpoint, one whose robots share nothing that the policy has, or a part of another structure.
    """
    shared, root = shared_parts(source), locate(Path(source))[0]
    configs = read_config(root)[0].model.policies
    policies: dict[str, Policy] = {}  # of the checkpoint, each read once
    reports = {}
    for part in shared:
        own = find_part(policy, part)
        name = next(
            (
                name
                for name, config in configs.items()
                if part == TOKENS or part.split()[1] in config.modalities
            ),
            None,
        )
        if own is None or name is None:
            continue
        if name not in policies:
            policies[name] = first_policy(root / EMBODIMENTS / name)
        theirs = find_part(policies[name], part)
        assert theirs is not None
        tensors = theirs.state_dict()
        if part == TOKENS:  # robots differ in their modalities
            tensors = {
                **own.state_dict(),
                **{key: tensors[key] for key in own.state_dict() if key in tensors},
            }
        load_strictly(own, tensors, what=f"the part {part!r}", file=root / WEIGHTS)
        reports[part] = report_load(part, source, root / WEIGHTS, tensors, 1)
    if not reports:
        raise WeightsError(
            Code.MISSING, f"the checkpoint {str(source)!r}", list(shared),
            problem="shares {value} besides the trunk, nothing that this policy has",
            remedy="pre-train with policy.shared, as 'encoder image', or leave --shared out",
        )  # fmt: skip
    return reports
