# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Modalities that may be missing, and the embedding that tells modalities apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.refused import refused

from hpt_ros.errors import Code, HptError
from hpt_ros.model import Policy, StemConfig, TrunkConfig
from hpt_ros.model.config import PolicyConfig

ACTION, IS_PAD = np.zeros((2, 4, 2), np.float32), np.zeros((2, 4), bool)


def optional(config: PolicyConfig, *names: str, fraction: float = 0.5) -> tuple[StemConfig, ...]:
    return tuple(
        replace(stem, missing="drop", drop_probability=fraction) if stem.modality in names else stem
        for stem in config.stems
    )


@pytest.fixture
def make_optional(make_policy, make_config, every_modality):
    """Build the policy of every modality, some of which may be missing."""

    def make(*names: str, fraction: float = 0.5, **changes) -> Policy:
        stems = optional(make_config(**every_modality), *names, fraction=fraction)
        return make_policy(**{**every_modality, "stems": stems, **changes})

    return make


def without(inputs, *names):
    return {name: value for name, value in inputs.items() if name not in names}


def test_when_modalities_are_missing_expect_their_tokens_left_out_and_later_ones_moved_up(
    make_optional, make_inputs
):
    policy = make_optional("depth", "tactile", "language")
    inputs = make_inputs(policy.config)
    whole = policy.stages(inputs)
    stages = policy.stages(without(inputs, "depth", "tactile", "task"))
    left = ["image", "state", "wrench", "pointcloud", "actions"]
    assert list(stages.stems) == left
    assert all(torch.equal(stages.stems[name], whole.stems[name]) for name in left)
    mixed = torch.cat([whole.stems[name] for name in left], dim=1)
    assert mixed.shape[1] == 10
    assert torch.equal(stages.trunk_tokens, policy.trunk["trunk"](mixed + policy.table[:10]))
    assert policy.config.optional_modalities == ("depth", "tactile", "language")


@pytest.mark.parametrize("changes", [{"pooling": "last"}, {"pooling": "action_token"}])
def test_when_one_is_missing_expect_a_finite_chunk_with_every_pooling_that_counts_tokens(
    make_optional, make_inputs, changes
):
    policy = make_optional("language", "wrench", **changes)
    inputs = make_inputs(policy.config)
    chunk = policy.predict(without(inputs, "task", "wrench"))
    assert chunk.shape == (2, 4, 2)
    assert torch.isfinite(chunk).all()
    assert not torch.equal(chunk, policy.predict(inputs))


def test_when_nothing_that_changes_with_time_is_left_expect_a_sentence(make_policy, make_config, make_inputs):
    policy = make_policy(stems=optional(make_config(), "image", "state"))
    with refused(
        HptError,
        Code.MISSING,
        subject="the inputs []",
        problem="hold no observation",
        remedy="at least one of image, state",
    ):
        policy.predict({})
    state = make_inputs(policy.config)["state"]
    assert policy.predict({"state": state}).shape == (2, 4, 2)


def test_when_one_may_be_missing_expect_the_others_refused_still(make_optional, make_inputs):
    policy = make_optional("depth")
    with refused(
        HptError, Code.MISSING, subject="the input 'wrench'", problem="is missing", remedy="s missing"
    ):
        policy.predict(without(make_inputs(policy.config), "depth", "wrench"))


def present(policy: Policy, inputs, passes: int) -> list[tuple[str, ...]]:
    return [tuple(policy.stages(inputs).stems) for _ in range(passes)]


def test_when_training_expect_the_share_of_batches_without_it_and_none_when_evaluating(
    make_policy, make_inputs
):
    stems = (StemConfig("state"), StemConfig("actions", missing="drop", drop_probability=0.25))
    policy = make_policy(stems=stems, views=0, trunk=TrunkConfig(32, 0, 4), horizon_masking=False)
    inputs = make_inputs(policy.config, batch=1)
    with torch.no_grad():
        assert set(present(policy, inputs, 20)) == {("state", "actions")}
        seen = present(policy.train(), inputs, 400)
    assert set(seen) == {("state",), ("state", "actions")}
    # 400 draws at 0.25: 100 expected, standard deviation 8.7; 5 of them.
    assert abs(seen.count(("state",)) - 100) < 44


def test_when_all_would_be_left_out_expect_all_kept(make_policy, make_config, make_inputs):
    policy = make_policy(stems=optional(make_config(), "image", "state", fraction=0.9))
    inputs = make_inputs(policy.config, batch=1)
    with torch.no_grad():
        seen = set(present(policy.train(), inputs, 100))
    assert seen == {("image",), ("state",), ("image", "state")}


def test_when_the_seed_is_the_same_expect_the_same_ones_left_out(make_optional, make_inputs):
    policy = make_optional("depth", "language", "actions").train()
    inputs = make_inputs(policy.config)
    runs = []
    for _ in range(2):
        torch.manual_seed(3)
        with torch.no_grad():
            runs.append(present(policy, inputs, 10))
    assert runs[0] == runs[1]
    assert len(set(runs[0])) > 1


def test_when_a_batch_lacks_a_modality_expect_no_gradient_for_its_stem_and_a_loss_for_the_rest(
    make_optional, make_inputs
):
    policy = make_optional("tactile")
    policy.loss(without(make_inputs(policy.config), "tactile"), ACTION, IS_PAD).backward()
    assert all(p.grad is None for p in policy.stems["arm_tactile"].parameters())
    assert all(p.grad is not None for p in policy.stems["arm_wrench"].parameters())


def test_when_the_horizon_is_masked_expect_language_left_whole(make_policy, every_modality, make_inputs):
    policy = make_policy(**every_modality).train()
    inputs = make_inputs(policy.config)
    lengths: dict[str, set[int]] = {"actions": set(), "language": set(), "pointcloud": set()}
    for name, seen in lengths.items():
        policy.stems[f"arm_{name}"].register_forward_pre_hook(lambda _, args, s=seen: s.add(args[0].shape[1]))
    with torch.no_grad():
        for _ in range(30):
            policy.loss(inputs, ACTION, IS_PAD)
    assert lengths == {"actions": {1, 2, 3}, "language": {4}, "pointcloud": {14, 28, 42}}


# --- modality embedding ----------------------------------------------------------------------------------------------


def test_when_the_embedding_is_on_expect_it_added_to_its_own_tokens_and_learnt(make_policy, make_inputs):
    torch.manual_seed(5)
    plain = make_policy()
    torch.manual_seed(5)
    policy = make_policy(modality_embedding=True)
    inputs = make_inputs(policy.config)
    before, after = plain.stages(inputs).stems, policy.stages(inputs).stems
    for name in ("image", "state"):
        embedding = policy.modalities_tokens[name]
        assert embedding.shape == (1, 1, 32)
        assert embedding.abs().max() > 0
        assert torch.equal(after[name], before[name] + embedding)
    policy.loss(inputs, ACTION, IS_PAD).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in policy.modalities_tokens.values())
    stems = {id(p) for p in policy.part("stems")}
    assert all(id(p) in stems for p in policy.modalities_tokens.values())
    assert policy.parts()["modality tokens"] == 2 * 32
    assert sum(policy.parts().values()) == sum(p.numel() for p in policy.parameters())


def test_when_the_embedding_is_off_expect_its_tokens_without_any_effect(make_policy, make_inputs):
    policy = make_policy()
    inputs = make_inputs(policy.config)
    chunk = policy.predict(inputs)
    with torch.no_grad():
        for parameter in policy.modalities_tokens.values():
            parameter.fill_(100.0)
    assert torch.equal(policy.predict(inputs), chunk)
    assert not {id(p) for p in policy.modalities_tokens.values()} & {id(p) for p in policy.part("stems")}
