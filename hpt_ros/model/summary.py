# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Figures about the model: sizes of the trunk, shapes along the data's way, what a checkpoint holds.

`python -m hpt_ros.model.summary` prints those of docs/model.md.
"""

from __future__ import annotations

import torch

from hpt_ros.modalities import IMAGE, LANGUAGE, MODALITIES, STATE
from hpt_ros.model.checkpoint import Checkpoint, MultiCheckpoint
from hpt_ros.model.config import POOLINGS, TRUNK_SIZES, PolicyConfig, StemConfig, TrunkConfig
from hpt_ros.model.encoder_config import LibraryEncoderConfig
from hpt_ros.model.head_config import FEATURE, HEADS, STEPS, TOKENS, DecoderHeadConfig
from hpt_ros.model.inputs import Input
from hpt_ros.model.memory_estimate import MEBIBYTE, MemoryEstimate, estimate_config_memory, estimate_memory
from hpt_ros.model.modalities import Pictures
from hpt_ros.model.modality import Entries
from hpt_ros.model.policy import Policy
from hpt_ros.model.small_cnn import SmallCnnConfig
from hpt_ros.model.trunk import Trunk
from hpt_ros.model.weights import LoadReport
from hpt_ros.structured import dump_yaml

ALL_MODALITIES = "All modalities, HPT-Base with action tokens"


def trunk_table() -> str:
    """Return a Markdown table of the published sizes; parameters are counted on the built modules."""
    lines = ["| size | width d | depth | heads | trunk parameters |", "| --- | --- | --- | --- | --- |"]
    for name, size in TRUNK_SIZES.items():
        with torch.device("meta"):  # no memory: HPT-Huge would take 4 GB
            count = sum(parameter.numel() for parameter in Trunk(size).parameters())
        lines.append(f"| {name} | {size.width} | {size.depth} | {size.heads} | {count:,} |")
    return "\n".join(lines)


def modality_table(config: PolicyConfig) -> str:
    """Return a Markdown table of what a policy reads: each modality's input, entries, tokens and normaliser."""
    with torch.device("meta"):
        policy = Policy(config)
    rows = []
    for stem in config.stems:
        modality = policy.modalities[stem.modality]
        normaliser = modality.statistic
        normalised = "none" if normaliser is None else f"limits of `{normaliser[0]}` ({normaliser[1]})"
        if isinstance(modality, Pictures):
            normalised = "in the encoder"
        rows.append(
            (
                stem.modality + (" (may be missing)" if stem.missing == "drop" else ""),
                f"`{_raw(modality).name}` {_type(_raw(modality))} {_shape(config, _raw(modality))}",
                f"{modality.count} of {modality.width}",
                str(stem.tokens),
                normalised,
            )
        )
    rows.append(
        (
            "sum",
            "",
            "",
            str(sum(stem.tokens for stem in config.stems)),
            f"the trunk sees {policy.table.shape[0]}",
        )
    )
    head = [
        "| modality | input | entries of the stem | tokens | normalised by |",
        "| --- | --- | --- | --- | --- |",
    ]
    return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in rows)])


def shape_table(config: PolicyConfig) -> str:
    """Return a Markdown table of the arrays along the data's way for one sample (batch axis B)."""
    width = config.trunk.width
    with torch.device("meta"):
        policy = Policy(config)
    rows: list[tuple[str, str]] = []
    for stem in config.stems:
        modality = policy.modalities[stem.modality]
        raw = _raw(modality)
        rows.append((f"{raw.name}, {_type(raw)}", _shape(config, raw)))
        if isinstance(modality, Pictures) and modality.has_encoder:
            kind = config.image_encoder.kind if stem.modality == IMAGE else "small_cnn"
            rows.append((f"cells of features ({kind})", _shape(config, modality.inputs[0])))
        rows.append((f"entries of the {stem.modality} stem", _text((modality.count, modality.width))))
        rows.append((f"tokens of the {stem.modality} stem", _text((stem.tokens, width))))
    tokens = policy.table.shape[0]
    features: dict[str, tuple[int, ...]] = {
        FEATURE: (width,),
        STEPS: (config.action_horizon, width),
        TOKENS: (tokens, width),
    }
    rows.append(("tokens through the trunk", _text((tokens, width))))
    rows.append((f"features (pooling {config.pooling})", _text(features[POOLINGS[config.pooling].gives])))
    rows.append(
        (f"action chunk ({config.head.kind} head)", _text((config.action_horizon, config.action_dim)))
    )
    return "\n".join(
        ["| array | shape |", "| --- | --- |", *(f"| {name} | {shape} |" for name, shape in rows)]
    )


def memory_table(config: PolicyConfig) -> str:
    """Return a Markdown table of a policy's memory with each published trunk; see `hpt_ros.model.memory_estimate`."""
    names = [f"peak of encoding one tick ({name})" for name in _encoders(config)]
    head = ["trunk", "weights, float32", "weights, bfloat16", *names, "peak of a step from features"]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for name, size in TRUNK_SIZES.items():
        memory = estimate_config_memory(config.with_trunk(size))
        cells = (memory.weights, memory.weights // 2, *memory.encoders.values(), memory.step)
        lines.append(f"| {name} | {' | '.join(map(_mebibytes, cells))} |")
    return "\n".join(lines)


def parts_table(config: PolicyConfig) -> str:
    """Return a Markdown table of the parameters of each part, the sum last."""
    with torch.device("meta"):
        counts = Policy(config).parts()
    rows = [*counts.items(), ("sum", sum(counts.values()))]
    return "\n".join(
        ["| part | parameters |", "| --- | --- |", *(f"| {name} | {count:,} |" for name, count in rows)]
    )


def sizes_table(config: PolicyConfig) -> str:
    """Return a Markdown table of the parameters of each part of a policy with each published trunk, the sums last."""
    columns: list[dict[str, int]] = []
    for size in TRUNK_SIZES.values():
        with torch.device("meta"):
            columns.append(Policy(config.with_trunk(size)).parts())
    lines = [f"| part | {' | '.join(TRUNK_SIZES)} |", f"|{' --- |' * (1 + len(columns))}"]
    for part in columns[0]:
        lines.append(f"| {part} | {' | '.join(f'{counts[part]:,}' for counts in columns)} |")
    sums = (sum(counts.values()) for counts in columns)
    return "\n".join([*lines, f"| sum | {' | '.join(f'{count:,}' for count in sums)} |"])


def memory_lines(memory: MemoryEstimate) -> str:
    """Return a policy's memory as lines, with how the figures come about."""
    lines = [
        f"weights: {_mebibytes(memory.weights)} in float32, {_mebibytes(memory.weights // 2)} in bfloat16"
    ]
    lines += [
        f"activations, encoding one tick ({name}): {_mebibytes(peak)}"
        for name, peak in memory.encoders.items()
    ]
    lines.append(f"activations, a step from features: {_mebibytes(memory.step)}")
    lines.append(
        "(activations: most bytes of tensors alive at once, counted over one run at batch 1 in float32; what kernels "
        "and the allocator take comes on top)"
    )
    return "\n".join(lines)


def checkpoint_report(checkpoint: Checkpoint, *, where: str) -> str:
    """Return what `hpt checkpoint inspect` prints."""
    weights, config = checkpoint.weights, checkpoint.config
    encoder = config.image_encoder
    kinds = [
        f"image encoder: {encoder.kind}{f' {encoder.model}' if isinstance(encoder, LibraryEncoderConfig) else ''}, "
        f"{'shared by all views' if encoder.shared else 'separate per view'}, "
        f"{'trained' if encoder.trainable else 'frozen'}"
        if IMAGE in config.modalities
        else "image encoder: none (no image stem)",
        f"trunk: width {config.trunk.width}, depth {config.trunk.depth}, {config.trunk.heads} heads",
        f"pooling: {config.pooling}",
        f"head: {config.head.kind} ({HEADS[config.head.kind].title})",
        f"tasks: {'; '.join(config.tasks) or 'none (no task embeddings)'}",
    ]
    precision = "float16 (statistics float32)" if weights.half_precision else "float32"
    metrics = "\n".join(f"{name}: {value:g}" for name, value in checkpoint.metrics.items()) or "none recorded"
    sections = [
        f"checkpoint {where}",
        f"embodiment: {checkpoint.config.embodiment}\nweights: {weights.tensors} tensors, {precision}\n"
        f"sha256: {weights.sha256}",
        "network\n\n" + "\n".join(kinds),
        "modalities\n\n" + modality_table(config),
        "memory\n\n" + memory_lines(estimate_memory(checkpoint.policy)),
        "configuration\n\n" + dump_yaml(checkpoint.config.to_mapping()).rstrip(),
        "parts\n\n" + parts_table(checkpoint.config),
        "data's way\n\n" + shape_table(checkpoint.config),
        "metrics\n\n" + metrics,
    ]
    return "\n\n".join(sections)


def multi_report(checkpoint: MultiCheckpoint, *, where: str) -> str:
    """Return what `hpt checkpoint inspect` prints of a checkpoint of several embodiments."""
    policy, weights = checkpoint.policy, checkpoint.weights
    counts = {name: policy.single(name).parts() for name in policy.names}
    trunk = next(iter(policy.config.policies.values())).trunk
    rows = [
        f"| {name} | {', '.join(config.modalities)} | {config.action_horizon} x {config.action_dim} "
        f"| {config.head.kind} | {sum(count for part, count in counts[name].items() if part != 'trunk'):,} |"
        for name, config in policy.config.policies.items()
    ]
    metrics = "\n".join(f"{name}: {value:g}" for name, value in checkpoint.metrics.items()) or "none recorded"
    sections = [
        f"checkpoint {where}",
        f"embodiments: {', '.join(policy.names)}\nweights: {weights.tensors} tensors, "
        f"{'float16 (statistics float32)' if weights.half_precision else 'float32'}\nsha256: {weights.sha256}",
        f"trunk: width {trunk.width}, depth {trunk.depth}, {trunk.heads} heads, "
        f"{counts[policy.names[0]]['trunk']:,} parameters\n"
        f"shared besides: {', '.join(policy.config.shared) or 'nothing'}",
        "\n".join(
            [
                "| embodiment | modalities | action chunk | head | parameters besides the trunk |",
                "|" + " --- |" * 5,
                *rows,
            ]
        ),
        f"all: {sum(parameter.numel() for parameter in policy.parameters()):,} parameters",
        "metrics\n\n" + metrics,
        f"of one: hpt checkpoint inspect {where}/embodiments/{policy.names[0]}",
    ]
    return "\n\n".join(sections)


def verification_report(checkpoint: Checkpoint, *, where: str) -> str:
    """Return what `hpt checkpoint verify` prints of a checkpoint that passed all its checks."""
    numbers = sum(value.numel() for value in checkpoint.policy.state_dict().values())
    tasks = len(checkpoint.config.tasks)
    return "\n".join(
        [
            f"checkpoint {where} is sound: {checkpoint.weights.tensors} tensors, {numbers:,} numbers, all finite, with "
            f"exactly the names and shapes of config.yaml; sha256 {checkpoint.weights.sha256}",
            f"embodiment.yaml of {checkpoint.config.embodiment} agrees with config.yaml: name, horizons, and the sizes "
            f"of {', '.join(checkpoint.config.modalities)} and action",
            f"stats.json agrees with the normaliser of {', '.join(checkpoint.policy.statistics_needed)}",
            *([f"the embeddings of all {tasks} tasks are there"] if tasks else []),
        ]
    )


def export_report(trunk: TrunkConfig, report: LoadReport) -> str:
    """Return what `hpt checkpoint export` prints; weights do not show the number of heads, so it is said here."""
    return (
        f"wrote the trunk: {report.tensors} tensors, {report.parameters:,} numbers to {report.file} "
        f"(sha256 {report.sha256[:16]}); to load it, set policy.trunk to width {trunk.width}, depth {trunk.depth} "
        f"and {trunk.heads} heads"
    )


def example_configs() -> dict[str, PolicyConfig]:
    """Return the configurations that docs/model.md shows: HPT-Base as published, a small one, and all modalities."""
    return {
        "HPT-Base, two 480x640 views through a frozen ResNet-18, 7 joints": PolicyConfig(
            embodiment="arm",
            action_dim=7,
            action_horizon=8,
            observation_horizon=4,
            shapes={STATE: (7,), IMAGE: (2, 480, 640, 3)},
        ),
        "small, two 96x128 views through separate small CNNs, 7 joints, decoder head": PolicyConfig(
            embodiment="arm",
            action_dim=7,
            action_horizon=16,
            observation_horizon=2,
            shapes={STATE: (7,), IMAGE: (2, 96, 128, 3)},
            trunk=TrunkConfig(width=128, depth=4, heads=8),
            image_encoder=SmallCnnConfig(shared=False, trainable=True),
            pooling="no-op",
            head=DecoderHeadConfig(),
        ),
        ALL_MODALITIES: PolicyConfig(
            embodiment="arm",
            action_dim=7,
            action_horizon=16,
            observation_horizon=2,
            shapes={name: item.example for name, item in MODALITIES.of_project().items() if item.example},
            tasks=("pour", "wipe"),
            stems=tuple(
                StemConfig(modality, tokens=8 if modality == LANGUAGE else 16) for modality in MODALITIES.own
            ),
            modality_embedding=True,
            pooling="action_token",
        ),
    }


def main() -> None:
    """Print the tables of docs/model.md."""
    print(f"## Sizes of the trunk\n\n{trunk_table()}")
    examples = example_configs()
    for title, config in examples.items():
        if title == ALL_MODALITIES:
            print(f"\n## {title}\n\n{modality_table(config)}\n\n{parts_table(config)}")
        else:
            print(f"\n## {title}\n\n{shape_table(config)}\n\n{parts_table(config)}")
    first = next(iter(examples.values()))
    print(f"\n## Parameters with each trunk\n\n{sizes_table(first)}\n\n## Memory\n\n{memory_table(first)}")


def _raw(modality: Entries) -> Input:
    """Return the input as it comes from the robot: pictures before features, the task before its embedding."""
    return modality.inputs[0] if modality.name == LANGUAGE else modality.inputs[-1]


def _type(spec: Input) -> str:
    return "float32" if spec.dtype == "float" else spec.dtype


def _shape(config: PolicyConfig, spec: Input) -> str:
    lead = (config.observation_horizon,) if "T" in spec.axes else ()
    return _text((*lead, *spec.tail))


def _text(shape: tuple[int, ...]) -> str:
    return f"({', '.join(('B', *map(str, shape)))}{',' if not shape else ''})"


def _mebibytes(count: int) -> str:
    return f"{count / MEBIBYTE:,.1f} MiB"


def _encoders(config: PolicyConfig) -> list[str]:
    with torch.device("meta"):
        return list(Policy(config).encoders)


if __name__ == "__main__":
    main()
