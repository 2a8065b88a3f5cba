# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The network equals the public HPT code on the reference vectors, and its own plain transcription elsewhere."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from plain_hpt import PlainHpt
from support.sizes import policy_config
from torch import nn

from hpt_ros.modalities import MODALITIES
from hpt_ros.model import (
    DecoderHeadConfig,
    HeadConfig,
    MlpHeadConfig,
    NoEncoderConfig,
    Policy,
    Statistics,
    StemConfig,
    TrunkConfig,
    load_model,
)
from hpt_ros.model.attention import CrossAttention
from hpt_ros.model.config import PolicyConfig
from hpt_ros.model.conv_head import ConvHeadConfig
from hpt_ros.model.encoder_config import DepthEncoderConfig, LanguageConfig
from hpt_ros.model.flow import FlowHeadConfig
from hpt_ros.model.mixture_head import GmmHeadConfig
from hpt_ros.model.positions import position_table
from hpt_ros.model.trunk import Attention

TOLERANCE = 1e-5


@pytest.mark.parametrize("name", ["tiny_mlp", "tiny_decoder"])
def test_when_reference_weights_are_loaded_expect_every_stage_to_match(reference, name):
    case = reference(name)
    policy = Policy(case.config)
    load_model(policy, case.weights)
    with torch.no_grad():
        stages = policy.eval().stages(case.inputs())
    computed = {
        "stem_image": stages.stems["image"],
        "stem_state": stages.stems["state"],
        "trunk_tokens": stages.trunk_tokens,
        "features": stages.features,
        "head_raw": stages.actions.flatten(1),
    }
    for key, value in computed.items():
        np.testing.assert_allclose(value.numpy(), case.arrays[key], rtol=0, atol=TOLERANCE, err_msg=key)


def test_when_reference_policy_predicts_expect_its_unnormalised_action(reference):
    case = reference("tiny_mlp")
    policy = Policy(case.config)
    load_model(policy, case.weights)
    action = policy.eval().predict(case.inputs()).flatten(1).numpy()
    np.testing.assert_allclose(action, case.arrays["action"], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("keys", [1, 3, 96])
def test_when_cross_attention_is_folded_expect_the_textbook_result(keys):
    attention = CrossAttention(width=24, heads=4, head_width=16, dropout=0.0)
    queries, context = torch.randn(1, 5, 24), torch.randn(3, keys, 24)
    folded = attention.attend_folded(queries, context)
    projected = attention.attend_projected(queries, context)
    torch.testing.assert_close(folded, projected, rtol=0, atol=1e-6)
    torch.testing.assert_close(attention(queries, context), projected, rtol=0, atol=1e-6)


def test_when_the_context_grows_expect_folding_to_become_cheaper():
    attention = CrossAttention(width=128, heads=8, head_width=64, dropout=0.0)
    assert not attention.folding_is_cheaper(16, 2)
    assert attention.folding_is_cheaper(16, 192)


def test_when_attention_carries_torchs_weights_expect_torchs_multihead_attention():
    torchs = nn.MultiheadAttention(24, 4, bias=True, add_bias_kv=True, batch_first=True).eval()
    ours = Attention(24, 4)
    ours.load_state_dict(torchs.state_dict(), strict=True)
    x = torch.randn(2, 7, 24)
    expected, _ = torchs(x, x, x, need_weights=False)
    torch.testing.assert_close(ours(x), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("width", [6, 7])
def test_when_table_is_built_expect_the_formula_entry_by_entry(width):
    table = position_table(5, width)
    for position in range(5):
        for column in range(width):
            angle = position / 10000 ** (2 * (column // 2) / width)
            expected = math.sin(angle) if column % 2 == 0 else math.cos(angle)
            assert table[position, column].item() == pytest.approx(expected, abs=1e-6)


# --- variants, against a transcription in numpy ----------------------------------------------------------------------


# What the transcription has; diffusion and flow matching have networks of their own, and tests of their own.
HEADS = [
    *(
        (kind, pooling)
        for kind in ("mlp", "gmm")
        for pooling in ("mean", "max", "last", "attentive", "action_token")
    ),
    ("conv", "action_token"),
    ("decoder", "action_token"),
    ("decoder", "no-op"),
]
SEEDS = range(60)


def random_config(rng: np.random.Generator) -> PolicyConfig:
    """Some modalities in a random order, random sizes, some of them allowed to be missing."""
    timed = [name for name in MODALITIES if name != "language"]
    chosen = list(rng.choice(timed, rng.integers(1, 5), replace=False)) + ["language"] * int(rng.integers(2))
    rng.shuffle(chosen)
    heads = int(rng.choice([1, 2, 4]))
    kind, pooling = HEADS[int(rng.integers(len(HEADS)))]

    def size(low: int, high: int, *names: str) -> int:
        return int(rng.integers(low, high)) if set(names) & set(chosen) else 0

    return policy_config(
        embodiment="arm",
        action_dim=int(rng.integers(1, 5)),
        action_horizon=int(rng.integers(1, 6)),
        observation_horizon=int(rng.integers(1, 5)),
        state_dim=size(1, 9, "state"),
        views=size(1, 4, "image"),
        depth_views=size(1, 3, "depth"),
        depth_height=size(8, 20, "depth"),
        depth_width=size(8, 20, "depth"),
        wrench_dim=size(1, 13, "wrench"),
        tactile_arrays=size(1, 4, "tactile"),
        tactile_values=size(1, 7, "tactile"),
        clouds=size(1, 3, "pointcloud"),
        cloud_points=size(1, 9, "pointcloud"),
        tasks=("one", "two", "three") if "language" in chosen else (),
        language=LanguageConfig(kind="none", tokens=int(rng.integers(1, 6)), width=int(rng.integers(2, 12))),
        image_encoder=NoEncoderConfig(cells=int(rng.integers(1, 10)), cell_width=int(rng.integers(2, 20))),
        depth_encoder=DepthEncoderConfig(channels=(8,)),
        trunk=TrunkConfig(4 * heads * int(rng.integers(1, 4)), int(rng.integers(0, 4)), heads),
        stems=tuple(
            StemConfig(
                str(name),
                widths=tuple(int(width) for width in rng.integers(2, 20, rng.integers(1, 4))),
                tokens=int(rng.integers(1, 6)),
                heads=2,
                head_width=int(rng.integers(1, 9)),
                missing=str(rng.choice(["refuse", "drop"])),
            )
            for name in chosen
        ),
        modality_embedding=bool(rng.integers(2)),
        pooling=pooling,
        head=SMALL_HEADS[kind],
    )


SMALL_HEADS: dict[str, HeadConfig] = {
    "mlp": MlpHeadConfig(widths=(12, 8)),
    "conv": ConvHeadConfig(widths=(12, 8), kernel=3),
    "decoder": DecoderHeadConfig(hidden_width=10, heads=2, head_width=5),
    "gmm": GmmHeadConfig(widths=(12, 8), modes=3),
    "flow": FlowHeadConfig(heads=2),
}


def random_policy(config: PolicyConfig, rng: np.random.Generator) -> Policy:
    """Every weight random, biases and norms too, so that none can be mistaken for another or left out."""
    policy = Policy(config).eval()
    policy.set_statistics(
        {
            name: Statistics.of(rng.normal(rng.uniform(-3, 3), rng.uniform(0.5, 2), (30, dim)))
            for name, dim in policy.statistics_needed.items()
        }
    )
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(torch.as_tensor(rng.normal(0, 0.2, parameter.shape)))
        if policy.language is not None:
            policy.set_task_embeddings(torch.as_tensor(rng.normal(size=policy.language.embeddings.shape)))
    return policy


def random_inputs(policy: Policy, rng: np.random.Generator, batch: int, steps: int) -> dict[str, Any]:
    inputs: dict[str, Any] = {}
    for modality in policy.modalities.values():
        spec = modality.inputs[0]
        if spec.name == "task":
            inputs["task"] = rng.integers(0, 3, batch)
        else:
            inputs[spec.name] = rng.normal(size=(batch, steps, *spec.tail)).astype(np.float32)
    return inputs


def plain_answer(policy: Policy, inputs: dict[str, Any], index: int) -> np.ndarray[Any, Any]:
    config = policy.config
    plain = PlainHpt(
        tensors={name: value.double().numpy() for name, value in policy.state_dict().items()},
        domain=config.embodiment,
        modalities=config.modalities,
        stem_heads=2,
        trunk_heads=config.trunk.heads,
        depth=config.trunk.depth,
        pooling=config.pooling,
        action_shape=(config.action_horizon, config.action_dim),
        adds_modality_tokens=config.modality_embedding,
        head_kind=config.head.kind,
        head_heads=getattr(config.head, "heads", 0),
    )
    sample = {
        name.removesuffix("_features"): value[index].astype(np.float64) for name, value in inputs.items()
    }
    if "task" in sample:
        sample["language"] = plain.tensors["language.embeddings"][int(sample.pop("task"))]
    return plain.act(sample)


@pytest.mark.parametrize("seed", SEEDS)
def test_when_a_policy_is_drawn_at_random_expect_its_plain_transcription(seed):
    """Whole and short histories, and what may be missing left out at random."""
    rng = np.random.default_rng(seed)
    config = random_config(rng)
    policy = random_policy(config, rng)
    for steps in {1, config.observation_horizon}:
        inputs = random_inputs(policy, rng, 2, steps)
        left = {name: value for name, value in inputs.items() if not missing(policy, name, rng)}
        if set(left) - {"task"}:
            inputs = left
        actions = policy.predict(inputs).numpy()
        for index in range(2):
            expected = plain_answer(policy, inputs, index)
            # float32 against float64, of actions that not every head bounds
            atol = 5e-5 * max(1.0, float(np.abs(expected).max()))
            np.testing.assert_allclose(actions[index], expected, rtol=0, atol=atol, err_msg=str(config))


def test_when_the_transcription_gets_the_reference_weights_expect_the_reference_action(reference):
    """So that it is HPT that is written down."""
    case = reference("tiny_mlp")
    stored = torch.load(case.weights, weights_only=True)
    config = case.config
    plain = PlainHpt(
        tensors={name: value.double().numpy() for name, value in stored.items()},
        domain="arm",
        modalities=config.modalities,
        stem_heads=config.stems[0].heads,
        trunk_heads=config.trunk.heads,
        depth=config.trunk.depth,
        pooling=config.pooling,
        action_shape=(config.action_horizon, config.action_dim),
    )
    for index, expected in enumerate(case.arrays["action"]):
        sample = {"image": case.arrays["in_image"][index], "state": case.arrays["in_state"][index]}
        action = plain.act({name: value.astype(np.float64) for name, value in sample.items()})
        np.testing.assert_allclose(action.ravel(), expected.ravel(), rtol=0, atol=TOLERANCE)


def missing(policy: Policy, name: str, rng: np.random.Generator) -> bool:
    modality = "language" if name == "task" else name.removesuffix("_features")
    return modality in policy.config.optional_modalities and bool(rng.integers(2))


def test_when_policies_are_drawn_expect_every_modality_head_pooling_and_rule_among_them():
    """Else the test above would show less than it says."""
    configs = [random_config(np.random.default_rng(seed)) for seed in SEEDS]
    assert {name for config in configs for name in config.modalities} == set(MODALITIES)
    assert {(config.head.kind, config.pooling) for config in configs} == set(HEADS)
    assert {name for config in configs for name in config.optional_modalities} == set(MODALITIES)
    assert {config.modality_embedding for config in configs} == {False, True}
    assert {config.trunk.depth for config in configs} == {0, 1, 2, 3}
    assert {len(config.stems) for config in configs} >= {1, 2, 3, 4}
