"""Figures about the model: sizes of the trunk, shapes along the data's way, what a checkpoint holds.

`python -m hpt_ros.model.report` prints those of docs/model.md.
"""

from __future__ import annotations

from typing import Any

import torch

from hpt_ros.model.checkpoint import Checkpoint
from hpt_ros.model.config import (
    IMAGE,
    STATE,
    TRUNK_SIZES,
    PolicyConfig,
    TrunkConfig,
)
from hpt_ros.model.encoder_config import ImageEncoderConfig
from hpt_ros.model.encoders import feature_shape
from hpt_ros.model.head_config import HeadConfig
from hpt_ros.model.policy import Policy
from hpt_ros.model.trunk import Trunk
from hpt_ros.model.weights import LoadReport
from hpt_ros.structured import dump_yaml


def trunk_table() -> str:
    """Return a Markdown table of the published sizes; parameters are counted on the built modules."""
    lines = ["| size | width d | depth | heads | trunk parameters |", "| --- | --- | --- | --- | --- |"]
    for name, size in TRUNK_SIZES.items():
        with torch.device("meta"):  # no memory: HPT-Huge would take 4 GB
            count = sum(parameter.numel() for parameter in Trunk(size).parameters())
        lines.append(f"| {name} | {size.width} | {size.depth} | {size.heads} | {count:,} |")
    return "\n".join(lines)


def shape_table(config: PolicyConfig) -> str:
    """Return a Markdown table of the arrays along the data's way for one sample (batch axis B)."""
    horizon, width = config.observation_horizon, config.trunk.width
    rows: list[tuple[str, tuple[Any, ...]]] = []
    for stem in config.stems:
        if stem.modality == IMAGE:
            cells, cell_width = feature_shape(config)
            frame = (config.image_height, config.image_width, 3)
            if config.image_encoder.kind != "none":
                rows.append(("image, uint8", (horizon, config.views, *frame)))
            rows.append(
                (
                    f"cells of features ({config.image_encoder.kind})",
                    (horizon, config.views, cells, cell_width),
                )
            )
            rows.append(("entries of the image stem", (horizon * config.views * cells, cell_width)))
        elif stem.modality == STATE:
            rows.append(("state, normalised: entries of the state stem", (horizon, config.state_dim)))
        rows.append((f"tokens of the {stem.modality} stem", (stem.tokens, width)))
    with torch.device("meta"):
        policy = Policy(config)
    tokens = policy.table.shape[0]
    features: dict[str, tuple[int, ...]] = {
        "no-op": (tokens, width),
        "action_token": (config.action_horizon, width),
    }
    rows.append(("tokens through the trunk", (tokens, width)))
    rows.append((f"features (pooling {config.pooling})", features.get(config.pooling, (width,))))
    rows.append((f"action chunk ({config.head.kind} head)", (config.action_horizon, config.action_dim)))
    lines = ["| array | shape |", "| --- | --- |"]
    return "\n".join(lines + [f"| {name} | (B, {', '.join(map(str, shape))}) |" for name, shape in rows])


def parts_table(config: PolicyConfig) -> str:
    """Return a Markdown table of the parameters of each part, the sum last."""
    with torch.device("meta"):
        counts = Policy(config).parts()
    rows = [*counts.items(), ("sum", sum(counts.values()))]
    return "\n".join(
        ["| part | parameters |", "| --- | --- |", *(f"| {name} | {count:,} |" for name, count in rows)]
    )


def checkpoint_report(checkpoint: Checkpoint, *, where: str) -> str:
    """Return what `hpt checkpoint inspect` prints."""
    weights = checkpoint.weights
    precision = "float16 (statistics float32)" if weights.half_precision else "float32"
    metrics = "\n".join(f"{name}: {value:g}" for name, value in checkpoint.metrics.items()) or "none recorded"
    sections = [
        f"checkpoint {where}",
        f"embodiment: {checkpoint.config.embodiment}\nweights: {weights.tensors} tensors, {precision}\n"
        f"sha256: {weights.sha256}",
        "configuration\n\n" + dump_yaml(checkpoint.config.to_mapping()).rstrip(),
        "parts\n\n" + parts_table(checkpoint.config),
        "data's way\n\n" + shape_table(checkpoint.config),
        "metrics\n\n" + metrics,
    ]
    return "\n\n".join(sections)


def verification_report(checkpoint: Checkpoint, *, where: str) -> str:
    """Return what `hpt checkpoint verify` prints of a checkpoint that `load_checkpoint` accepted."""
    numbers = sum(value.numel() for value in checkpoint.policy.state_dict().values())
    return (
        f"checkpoint {where} is sound: {checkpoint.weights.tensors} tensors, {numbers:,} numbers, all finite, with "
        f"exactly the names and shapes of config.yaml; sha256 {checkpoint.weights.sha256}"
    )


def export_report(trunk: TrunkConfig, report: LoadReport) -> str:
    """Return what `hpt checkpoint export` prints; weights do not show the number of heads, so it is said here."""
    return (
        f"wrote the trunk: {report.tensors} tensors, {report.parameters:,} numbers to {report.file} "
        f"(sha256 {report.sha256[:16]}); to load it, set policy.trunk to width {trunk.width}, depth {trunk.depth} "
        f"and {trunk.heads} heads"
    )


def example_configs() -> dict[str, PolicyConfig]:
    """Return the configurations that docs/model.md shows: HPT-Base as published, and a small one to train on a CPU."""
    return {
        "HPT-Base, two 480x640 views through a frozen ResNet-18, 7 joints": PolicyConfig(
            embodiment="arm",
            action_dim=7,
            action_horizon=8,
            observation_horizon=4,
            state_dim=7,
            views=2,
            image_height=480,
            image_width=640,
        ),
        "small, two 96x128 views through separate small CNNs, 7 joints, decoder head": PolicyConfig(
            embodiment="arm",
            action_dim=7,
            action_horizon=16,
            observation_horizon=2,
            state_dim=7,
            views=2,
            image_height=96,
            image_width=128,
            trunk=TrunkConfig(width=128, depth=4, heads=8),
            image_encoder=ImageEncoderConfig(kind="small_cnn", shared=False, trainable=True),
            pooling="no-op",
            head=HeadConfig(kind="decoder"),
        ),
    }


def main() -> None:
    """Print the tables of docs/model.md."""
    print(f"## Sizes of the trunk\n\n{trunk_table()}")
    for title, config in example_configs().items():
        print(f"\n## {title}\n\n{shape_table(config)}\n\n{parts_table(config)}")


if __name__ == "__main__":
    main()
