# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`Policy.act`: the part of a step that compilers, exporters and CUDA graphs take."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from support.refused import refused
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from hpt_ros.errors import Code, HptError
from hpt_ros.model import DecoderHeadConfig, Policy
from hpt_ros.model.flow import FlowHeadConfig
from hpt_ros.model.mixture_head import GmmHeadConfig

VARIANTS = {
    "mean, mlp": {},
    "attentive, mixture": {"pooling": "attentive", "head": GmmHeadConfig()},
    "all tokens, decoder": {"pooling": "no-op", "head": DecoderHeadConfig()},
    "action tokens, flow": {"pooling": "action_token", "head": FlowHeadConfig(flow_width=32)},
}


class Act(nn.Module):
    """As an exporter wants it: a module whose forward pass is `act`."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, arrays: Mapping[str, Tensor]) -> Tensor:
        return self.policy.act(arrays)


def as_features(policy: Policy, inputs, *names: str) -> dict[str, Tensor]:
    """Checked arrays of these modalities, pictures as features, as a rollout passes them."""
    chosen = {name: value for name, value in inputs.items() if name in names}
    with torch.no_grad():
        if "image" in chosen:
            chosen["image_features"] = policy.encode_images(chosen.pop("image"))
        if "depth" in chosen:
            chosen["depth_features"] = policy.encode_depth(chosen.pop("depth"))
    return policy.check(chosen)


@pytest.fixture
def make_spoken(make_policy, every_modality):
    """Build a policy of images, state and language."""
    stems = tuple(s for s in every_modality["stems"] if s.modality in ("image", "state", "language"))

    def make(**changes) -> Policy:
        rest = {name: every_modality[name] for name in ("tasks", "language")}
        return make_policy(**{"stems": stems, **rest, **changes})

    return make


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_when_act_is_exported_expect_a_program_that_acts_the_same(make_spoken, make_inputs, changes):
    policy = make_spoken(**changes)
    first, second = (
        as_features(policy, make_inputs(policy.config, seed=seed), "image", "state", "task")
        for seed in (1, 2)
    )
    assert list(first) == ["image_features", "state", "language"]
    with torch.no_grad():
        program = torch.export.export(Act(policy), (first,), strict=False).module()
        for arrays in (first, second):
            torch.testing.assert_close(program(arrays), policy.act(arrays), rtol=0, atol=1e-5)
        assert not torch.allclose(program(first), program(second))


def test_when_every_modality_is_exported_expect_a_program_that_acts_the_same(
    make_policy, every_modality, make_inputs
):
    policy = make_policy(**every_modality, modality_embedding=True)
    inputs = make_inputs(policy.config)
    arrays = as_features(policy, inputs, *inputs)
    with torch.no_grad():
        program = torch.export.export(Act(policy), (arrays,), strict=False).module()
        torch.testing.assert_close(program(arrays), policy.act(arrays), rtol=0, atol=1e-5)


def test_when_act_is_traced_expect_one_graph_without_a_break(make_policy, every_modality, make_inputs):
    policy = make_policy(**every_modality)
    inputs = make_inputs(policy.config)
    arrays = as_features(policy, inputs, *inputs)
    traced = torch.compile(policy.act, backend="eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(traced(arrays), policy.act(arrays), rtol=0, atol=1e-6)


class Operations(TorchDispatchMode):
    """The names of the operations that ran."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(str(func))
        return func(*args, **(kwargs or {}))


def test_when_act_runs_expect_no_value_read_back_no_table_built_and_nothing_copied_in(
    make_policy, every_modality, make_inputs
):
    """Reading a value back waits for the GPU; tables are computed once, with the policy."""
    policy = make_policy(**every_modality)
    inputs = make_inputs(policy.config)
    arrays = as_features(policy, inputs, *inputs)
    with torch.no_grad(), Operations() as checked:
        policy.check(arrays)
    read_back = "aten._local_scalar_dense.default"
    assert read_back in checked.names  # what `check` is for
    with torch.no_grad(), Operations() as ran:
        policy.act(arrays)
    made = {"aten.arange.default", "aten.pow.Scalar", "aten.isfinite.default", "aten.full.default"}
    assert not ran.names & {read_back, "aten.lift_fresh.default", *made}


def test_when_predict_is_taken_apart_expect_the_same(make_policy, every_modality, make_inputs):
    policy = make_policy(**every_modality)
    inputs = make_inputs(policy.config)
    assert torch.equal(policy.act(policy.check(inputs)), policy.predict(inputs))


def test_when_checked_arrays_are_checked_again_expect_the_same_tensors(
    make_policy, every_modality, make_inputs
):
    """So that a rollout can keep them in place."""
    policy = make_policy(**every_modality)
    arrays = policy.check(make_inputs(policy.config))
    again = policy.check(arrays)
    assert again.keys() == arrays.keys()
    assert all(again[name] is arrays[name] for name in arrays)


def test_when_act_is_called_in_training_expect_a_sentence(make_policy, make_inputs):
    policy = make_policy()
    arrays = policy.check(make_inputs(policy.config))
    with refused(HptError, Code.INVALID, subject="predict", problem="training mode", remedy="policy.eval()"):
        policy.train().act(arrays)
