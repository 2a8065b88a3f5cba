# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import torch

from hpt_ros.model import Policy, StemConfig, load_checkpoint, save_checkpoint
from hpt_ros.model.flow import FlowHeadConfig
from hpt_ros.model.summary import (
    ALL_MODALITIES,
    checkpoint_report,
    example_configs,
    memory_table,
    modality_table,
    parts_table,
    shape_table,
    sizes_table,
    trunk_table,
)

DOCS = Path(__file__).parents[2] / "docs" / "model.md"


def test_when_the_model_changes_expect_docs_with_the_same_figures():
    text = DOCS.read_text(encoding="utf-8")
    assert trunk_table() in text
    for title, config in example_configs().items():
        table = modality_table(config) if title == ALL_MODALITIES else shape_table(config)
        assert f"## {title}\n\n{table}\n\n{parts_table(config)}" in text
    first = next(iter(example_configs().values()))
    assert sizes_table(first) in text
    assert memory_table(first) in text


def test_when_a_trunk_changes_expect_the_table_of_sizes_to_sum_up_what_is_built():
    config = next(iter(example_configs().values()))
    *_, sums = sizes_table(config).splitlines()
    with torch.device("meta"):
        numbers = sum(value.numel() for value in Policy(config).parameters())
    cells = [cell.strip() for cell in sums.split("|")]
    assert cells[1] == "sum"
    assert cells[3] == f"{numbers:,}"  # base, as the configuration has it


def test_when_the_model_changes_expect_its_picture_drawn_anew():
    picture = ElementTree.parse(DOCS.parent / "pictures" / "model.svg")
    (text,) = [node.text for node in picture.iter("{http://purl.org/dc/elements/1.1/}description")]
    assert text == modality_table(example_configs()[ALL_MODALITIES]), "run tools/draw_pictures.py model"


def test_when_shapes_are_reported_expect_those_of_a_forward_pass(make_policy, make_inputs):
    policy = make_policy()
    inputs = make_inputs(policy.config, batch=1)
    with torch.no_grad():
        stages = policy.stages(inputs)
        cells = policy.encode_images(inputs["image"])
    table = shape_table(policy.config)
    for name, array in (
        ("image, uint8", inputs["image"]),
        ("cells of features (small_cnn)", cells),
        ("entries of the image stem", cells.flatten(1, 3)),
        ("state, float32", inputs["state"]),
        ("tokens of the image stem", stages.stems["image"]),
        ("tokens of the state stem", stages.stems["state"]),
        ("tokens through the trunk", stages.trunk_tokens),
        ("features (pooling mean)", stages.features),
        ("action chunk (mlp head)", stages.actions),
    ):
        assert f"| {name} | (B, {', '.join(map(str, array.shape[1:]))}) |" in table


EVERYTHING = {
    "depth_views": 1,
    "depth_height": 16,
    "depth_width": 24,
    "wrench_dim": 6,
    "tactile_arrays": 2,
    "tactile_values": 5,
    "clouds": 1,
    "cloud_points": 9,
    "tasks": ("pour", "wipe"),
}


def test_when_all_modalities_are_reported_expect_the_entries_and_tokens_of_a_forward_pass(make_policy):
    names = ("image", "depth", "state", "wrench", "tactile", "pointcloud", "actions", "language")
    stems = tuple(
        StemConfig(name, tokens=3 + index, missing="drop" if name == "wrench" else "refuse")
        for index, name in enumerate(names)
    )
    policy = make_policy(**EVERYTHING, stems=stems)
    policy.set_task_embeddings(torch.zeros(2, 16, 768))
    table = modality_table(policy.config)
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in table.splitlines()[2:]}
    assert list(rows) == [*("wrench (may be missing)" if n == "wrench" else n for n in names), "sum"]
    counted = {}
    for name, stem in zip(names, policy.stems.values(), strict=True):
        stem.register_forward_pre_hook(
            lambda _, args, name=name: counted.update({name: tuple(args[0].shape[1:])})
        )
    tokens = policy.stages(
        {
            "image": torch.zeros(1, 3, 2, 32, 48, 3, dtype=torch.uint8),
            "depth": torch.zeros(1, 3, 1, 16, 24, dtype=torch.uint16),
            "state": torch.zeros(1, 3, 3),
            "wrench": torch.zeros(1, 3, 6),
            "tactile": torch.zeros(1, 3, 2, 5),
            "pointcloud": torch.zeros(1, 3, 1, 9, 3),
            "actions": torch.zeros(1, 3, 2),
            "task": ["wipe"],
        }
    ).stems
    for name in names:
        row = rows["wrench (may be missing)" if name == "wrench" else name]
        count, width = counted[name]
        assert f"| {count} of {width} | {tokens[name].shape[1]} |" in row
    assert f"the trunk sees {sum(value.shape[1] for value in tokens.values())} |" in rows["sum"]
    assert "limits of `tactile` (5)" in rows["tactile"]


def test_when_a_checkpoint_is_reported_expect_tasks_encoder_head_and_memory(tmp_path, make_policy):
    stems = (StemConfig("image"), StemConfig("state"), StemConfig("language", tokens=8))
    policy = make_policy(tasks=("pour", "wipe"), stems=stems, head=FlowHeadConfig())
    policy.set_task_embeddings(torch.zeros(2, 16, 768))
    folder = save_checkpoint(tmp_path / "c", policy, embodiment_yaml="", stats={}, card="")
    text = checkpoint_report(load_checkpoint(folder), where="c")
    assert "image encoder: small_cnn, shared by all views, trained" in text
    assert "head: flow (flow matching)" in text
    assert "tasks: pour; wipe" in text
    assert "trunk: width 32, depth 2, 4 heads" in text
    size = (folder / "model.safetensors").stat().st_size
    assert f"weights: {size / 2**20:.1f} MiB in float32" in text
    assert "activations, encoding one tick (image): " in text
    assert modality_table(policy.config) in text
