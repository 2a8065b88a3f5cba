# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Published models that cannot be built here are refused with what they have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from published_files import (
    publish,
    published_config,
    published_tensors,
)
from support.small_arm import ROBOT

from hpt_ros.errors import HptError
from hpt_ros.model.importing import import_policy

REFUSED: dict[str, tuple[dict[str, Any], Callable[[Any], Any] | None, dict[str, Any], str]] = {
    "two domains": ({}, None, {"domain": None}, r"is for the domains lab_arm, kitchen; say which one"),
    "an unknown domain": ({}, None, {"domain": "mars"}, r"is for lab_arm, kitchen, but --domain is 'mars'"),
    "no encoder": (
        {},
        None,
        {"image_encoder": None},
        r"published weights hold no image encoder.*--image-encoder",
    ),
    "another encoder": (
        {"dataset__image_encoder": "clip"},
        None,
        {},
        r"image encoder is 'clip', but only",
    ),
    "an encoder in the file": (
        {},
        lambda t: t.update({"encoders.image.proj.weight": torch.zeros(2)}),
        {},
        r"hold an encoder \('encoders\.",
    ),
    "one view": ({"dataset__use_multiview": False}, None, {}, r"has 2 image streams, but .* on one view"),
    "a Gaussian head": (
        {"head___target_": "hpt.models.policy_head.GMMHead"},
        None,
        {},
        r"GMMHead', which acts by the mean over all",
    ),
    "a convolution head": (
        {"head___target_": "hpt.models.policy_head.Conv1D"},
        None,
        {},
        r"Conv1D', which cannot run as released",
    ),
    "a head of their own": (
        {"head___target_": "my.Head"},
        None,
        {},
        r"'my\.Head', which is none of the released",
    ),
    "another stem": (
        {"stem__image___target_": "hpt.models.policy_stem.ResNet"},
        None,
        {},
        r"'image' as 'hpt\..*ResNet', but only",
    ),
    "a stem with tanh": ({"stem__state__tanh_end": True}, None, {}, r"'stem\.state\.tanh_end' is true"),
    "raw states": (
        {"dataset__normalize_state": False},
        None,
        {},
        r"'stem\.normalize_state' is false, but only true",
    ),
    "expanded states": (
        {"dataset__proprioception_expand": True},
        None,
        {},
        r"'dataset\.proprioception_expand'",
    ),
    "another modality": (
        {"stem__modalities": ["image", "smell"]},
        None,
        {},
        r"modality is 'smell', but only",
    ),
    "attentive pooling": (
        {"network__token_postprocessing": "attentive"},
        None,
        {},
        r"token_postprocessing is 'attentive'",
    ),
    "another width": (
        {"network__embed_dim": 64},
        None,
        {},
        r"has 64 for network\.embed_dim, but the weights have 32",
    ),
    "another depth": (
        {"network__num_blocks": 3},
        None,
        {},
        r"has 3 for network\.num_blocks, but the weights have 2",
    ),
    "other tokens": (
        {"stem__crossattn_latent": {"image": 16, "state": 5}},
        None,
        {},
        r"has 16 for stem\.crossattn_latent\.image",
    ),
    "other stem heads": ({"stem__crossattn_heads": 8}, None, {}, r"has 64 for stem\.crossattn_heads times"),
    "another chunk": (
        {"dataset__action_horizon": 8},
        None,
        {},
        r"has 8 for dataset\.action_horizon, but .* have 4",
    ),
    "no size": (
        {"network__num_heads": None},
        None,
        {},
        r"lacks the key 'network\.num_heads', expected a whole number",
    ),
    "a size in words": (
        {"network__num_heads": "many"},
        None,
        {},
        r"'network\.num_heads', is 'many', expected a whole",
    ),
    "a reference to itself": (
        {"network__num_heads": "${network.num_heads}"},
        None,
        {},
        r"num_heads' refers to itself",
    ),
    "a tensor too many": (
        {},
        lambda t: t.update({"trunk.trunk.extra": torch.zeros(2)}),
        {},
        r"1 tensors too many \(trunk\.trunk\.extra\)",
    ),
    "a tensor too few": (
        {},
        lambda t: t.pop("trunk.trunk.blocks.1.norm_2.bias"),
        {},
        r"lacks 1 tensors \(trunk\.trunk\.blocks\.1\.norm_2",
    ),
    "no normaliser": (
        {},
        lambda t: [t.pop(n) for n in list(t) if n.startswith("normalizer.lab")],
        {},
        r"lack 'normalizer\.small_arm",
    ),
    "no number": (
        {},
        lambda t: t["heads.lab_arm.net.0.bias"].fill_(torch.nan),
        {},
        r"heads\.small_arm\.net\.0\.bias' that are no",
    ),
    "a normaliser of another kind": (
        {},
        lambda t: t["normalizer.lab_arm.params_dict.state.scale"].fill_(3.0),
        {},
        r"statistics of 'state' in the weights give dimension 0 the scale 0\.571429, but the weights have 3",
    ),
    "copies that differ": (
        {},
        lambda t: t.update({"stems.lab_arm_image.net.1.0.bias": torch.zeros(16)}),
        {},
        r"copy 1 of stems\.small_arm_image\.net differs from copy 0",
    ),
    "observations dropped": (
        {"dataset__observation_horizon": 3},
        None,
        {},
        r"has 2 copies for 3 observations, .* would drop the newest",
    ),
    "a file without head": (
        {},
        lambda t: [t.pop(n) for n in list(t) if n.startswith("heads.")],
        {},
        r"holds no head, so it is no whole model",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_when_a_model_cannot_be_built_here_expect_what_it_has(tmp_path, case):
    changes, alter, arguments, message = REFUSED[case]
    tensors = published_tensors()
    if alter:
        alter(tensors)
    folder = publish(tmp_path / "p", published_config(**changes), tensors)
    with pytest.raises(HptError, match=message):
        import_policy(folder, ROBOT, **({"domain": "lab_arm", "image_encoder": "none"} | arguments))


WRONG: dict[str, Callable[[Any], Any]] = {
    "flat": lambda value: value.flatten(),
    "deeper": lambda value: value[None],
    "empty": lambda value: value[:0],
    "longer": lambda value: torch.cat((value, value)),
    "whole numbers": lambda value: torch.zeros_like(value, dtype=torch.int64),
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_when_any_tensor_is_gone_renamed_or_of_another_shape_expect_a_sentence_or_the_same_policy(
    tmp_path, data
):
    tensors = published_tensors()
    name = data.draw(st.sampled_from(sorted(tensors)))
    change = data.draw(st.sampled_from([*WRONG, "gone", "renamed"]))
    value = tensors.pop(name)
    if change == "renamed":
        tensors[data.draw(st.sampled_from((f"{name}.x", name.rpartition(".")[0], f"x.{name}")))] = value
    elif change in WRONG:
        tensors[name] = WRONG[change](value)
    folder = publish(tmp_path / "p", published_config(), tensors)
    try:
        imported = import_policy(folder, ROBOT, domain="lab_arm", image_encoder="none")
    except HptError as error:
        assert "\n" not in str(error)
        return
    if "kitchen" not in name:
        assert torch.equal(WRONG.get(change, lambda v: v)(value), value), f"{name} {change} was accepted"
    assert imported.tensors == sum("kitchen" not in n and ".net.1." not in n for n in published_tensors())
