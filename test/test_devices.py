# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One function chooses the device, and says why."""

from __future__ import annotations

import pytest
import torch
from support.refused import refused

from hpt_ros.cli import eval as eval_verb
from hpt_ros.cli import evaluate, finetune, pretrain
from hpt_ros.cli.parsing import Parser
from hpt_ros.devices import choose_device
from hpt_ros.errors import Code, HptError
from hpt_ros.learning.distributed import processes
from hpt_ros.policies.loading import PolicySettings
from hpt_ros.runtime.policy_config import PolicyChoice


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_when_there_is_no_cuda_device_expect_the_cpu_and_the_reason() -> None:
    chosen = choose_device()
    assert chosen.name == "cpu"
    assert str(chosen) == f"device: cpu (auto: PyTorch {torch.__version__} sees no CUDA device)"


def test_when_there_is_a_cuda_device_expect_it_and_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: "a large GPU")
    assert str(choose_device()) == "device: cuda (auto: a large GPU)"
    assert choose_device("cpu").name == "cpu"
    with refused(HptError, Code.UNAVAILABLE, subject="--device", value="cuda:1"):
        choose_device("cuda:1")


@pytest.mark.parametrize("name", ["tpu0", "gpu", "", "meta", "cuda:x"])
def test_when_there_is_no_such_device_expect_those_that_there_are(name: str) -> None:
    with pytest.raises(HptError, match="expected auto, cpu, cuda or cuda:N"):
        choose_device(name)


def test_when_there_are_more_processes_than_gpus_expect_both_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    with (
        pytest.raises(HptError, match="PyTorch sees 1 GPUs for process 2 of this machine; start 1 processes"),
        processes("cuda"),
    ):
        pass


def test_every_verb_and_the_node_have_the_same_default() -> None:
    defaults = {PolicyChoice().device, PolicySettings().device}
    for verb in (finetune, pretrain, evaluate, eval_verb):
        parser = Parser()
        verb.add_arguments(parser)
        defaults.add(parser.get_default("device"))
    assert defaults == {"auto"}
