from __future__ import annotations

from pathlib import Path

import torch

from hpt_ros.model.report import example_configs, parts_table, shape_table, trunk_table

DOCS = Path(__file__).parents[2] / "docs" / "model.md"


def test_when_the_model_changes_expect_docs_with_the_same_figures():
    text = DOCS.read_text(encoding="utf-8")
    assert trunk_table() in text
    for title, config in example_configs().items():
        assert f"## {title}\n\n{shape_table(config)}\n\n{parts_table(config)}" in text


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
        ("tokens of the image stem", stages.stems["image"]),
        ("tokens of the state stem", stages.stems["state"]),
        ("tokens through the trunk", stages.trunk_tokens),
        ("features (pooling mean)", stages.features),
        ("action chunk (mlp head)", stages.actions),
    ):
        assert f"| {name} | (B, {', '.join(map(str, array.shape[1:]))}) |" in table
