# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from support.backend_inputs import random_arrays
from support.refused import refused

from hpt_ros.errors import Code, HptError
from hpt_ros.extras import MissingExtraError
from hpt_ros.model import DecoderHeadConfig, Policy, ResNet18Config, StemConfig, TrunkConfig
from hpt_ros.model.backends import BACKENDS, Backend, BackendError, load_backend
from hpt_ros.model.backends.reduced import in_precision
from hpt_ros.model.diffusion import DiffusionHeadConfig
from hpt_ros.model.flow import FlowHeadConfig
from hpt_ros.model.inference_session import InferenceSession
from hpt_ros.model.mixture_head import GmmHeadConfig
from hpt_ros.model.modalities import Pictures

# Largest difference from eager's actions within [-1, 1] and features of about 1: float32 sums in another order; 8 bits
# of bfloat16's precision, and of int8's, through a few layers.
TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2, "int8": 1e-1}
RESNET = {"image_encoder": ResNet18Config(), "image_height": 60, "image_width": 90}


def needs(backend: str) -> None:
    """Skip where the backend's extra is not installed."""
    for module in {"onnxruntime": ("onnxruntime", "onnxscript")}.get(backend, ()):
        pytest.importorskip(module)


def liven(net: torch.nn.Module) -> None:
    """Give batch normalisation statistics and weights of its own, as training does."""
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0.0, 0.2)
            module.running_var.uniform_(0.5, 2.0)
            with torch.no_grad():
                module.weight.uniform_(0.5, 1.0)
                module.bias.normal_(0.0, 0.2)


def random_frame(policy: Policy) -> torch.Tensor:
    image = policy.modalities["image"]
    assert isinstance(image, Pictures)
    return torch.randint(0, 256, image.frame, dtype=torch.uint8)


def assert_like_eager(backend: Backend, policy: Policy, precision: str = "float32") -> None:
    eager = load_backend("eager", policy)
    span = policy.normaliser["action"].scale
    for _ in range(2):  # of another step, so that nothing is left of the first
        frame, arrays = random_frame(policy), random_arrays(policy)
        wanted, got = eager.encode("image", frame), backend.encode("image", frame)
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, wanted, rtol=0, atol=TOLERANCE[precision])
        wanted, got = eager.act(arrays), backend.act(arrays)
        assert got.dtype == torch.float32
        torch.testing.assert_close(got * span, wanted * span, rtol=0, atol=TOLERANCE[precision])
        assert not torch.equal(eager.act(random_arrays(policy)), wanted)


# --- each against eager ----------------------------------------------------------------------------------------------


def test_when_the_backend_is_eager_expect_bit_for_bit_what_the_policy_gives(make_policy):
    policy = make_policy()
    backend, frame, arrays = load_backend("eager", policy), random_frame(policy), random_arrays(policy)
    assert torch.equal(backend.encode("image", frame), policy.encode_images(frame[None, None])[0, 0])
    assert torch.equal(backend.act(arrays), policy.predict(arrays)[0])


@pytest.mark.parametrize(
    ("backend", "precision"),
    [
        ("openvino", "float32"),
        pytest.param("openvino", "bfloat16", marks=pytest.mark.slow),
        pytest.param("onnxruntime", "float32", marks=pytest.mark.slow),
        pytest.param("onnxruntime", "int8", marks=pytest.mark.slow),
        pytest.param("compile", "float32", marks=pytest.mark.slow),
        pytest.param("compile", "bfloat16", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_when_a_backend_acts_expect_what_eager_gives(make_policy, backend, precision):
    needs(backend)
    policy = make_policy()
    assert_like_eager(load_backend(backend, policy, precision=precision), policy, precision)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(
    "backend",
    ["openvino", *(pytest.param(name, marks=pytest.mark.slow) for name in ("onnxruntime", "compile"))],
)
def test_when_resnet_is_computed_otherwise_expect_what_eager_gives(make_policy, backend, shared):
    needs(backend)
    policy = make_policy(**RESNET | {"image_encoder": ResNet18Config(shared=shared)})
    liven(policy.encoders)
    assert_like_eager(load_backend(backend, policy), policy)


@pytest.mark.parametrize("shared", [True, False])
def test_when_resnet_and_trunk_are_reduced_expect_features_and_actions_near_eagers(make_policy, shared):
    policy = make_policy(**RESNET | {"image_encoder": ResNet18Config(shared=shared)})
    liven(policy.encoders)
    names = list(policy.state_dict())
    reduced, frame, arrays = in_precision(policy, "bfloat16"), random_frame(policy), random_arrays(policy)
    wanted, got = (each.encode_images(frame[None, None]) for each in (policy, reduced))
    assert got.dtype == torch.float32
    assert 0.0 < float((got - wanted).abs().max()) < 0.1 * float(wanted.max())  # 20 layers rounded to 8 bits
    span = policy.normaliser["action"].scale
    torch.testing.assert_close(
        reduced.act(arrays) * span, policy.act(arrays) * span, rtol=0, atol=TOLERANCE["bfloat16"]
    )
    assert list(policy.state_dict()) == names
    assert torch.equal(policy.encode_images(frame[None, None]), wanted)


@pytest.mark.parametrize(
    "changes",
    [
        {"pooling": "action_token", "head": DecoderHeadConfig()},
        {"head": GmmHeadConfig()},
        {"head": FlowHeadConfig(flow_width=32)},
        {"stems": (StemConfig("image"),), "state_dim": 0},
        {"trunk": TrunkConfig(width=32, depth=0, heads=4)},
    ],
)  # fmt: skip
def test_when_a_variant_is_exported_expect_what_eager_gives(make_policy, changes):
    policy = make_policy(**changes)
    assert_like_eager(load_backend("openvino", policy), policy)


def test_when_a_modality_is_absent_expect_what_eager_gives(make_policy):
    stems = (StemConfig("image", tokens=4), StemConfig("state", tokens=4, missing="drop"))
    policy = make_policy(stems=stems)
    fast, eager = load_backend("openvino", policy), load_backend("eager", policy)
    for absent in ((), ("state",), ()):
        arrays = random_arrays(policy, absent)
        assert ("state" in arrays) == (not absent)
        torch.testing.assert_close(fast.act(arrays), eager.act(arrays), rtol=0, atol=1e-4)


def test_when_a_rollout_is_exported_expect_eagers_actions(make_policy, make_inputs):
    policy = make_policy(**RESNET)
    inputs = make_inputs(policy.config, batch=1)
    exported = InferenceSession(policy, backend="openvino").predict(inputs, [0, 1, 2])
    np.testing.assert_allclose(
        exported, InferenceSession(policy).predict(inputs, [0, 1, 2]), rtol=0, atol=1e-4
    )


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("egaer", {}, "the backend is 'egaer', expected one of eager, .*; did you mean 'eager'"),
        ("eager", {"precision": "float16"}, "the precision is 'float16', expected one of float32, bfloat16"),
        ("eager", {"precision": "int8"}, "'eager' computes in float32, not in 'int8'; .* the backend onnxruntime"),
        ("eager", {"threads": -1}, "-1 threads were asked for, expected 0"),
        ("cuda_graph", {}, "'cuda_graph' is for NVIDIA GPUs, but the policy is on 'cpu'"),
    ],
)  # fmt: skip
def test_when_a_backend_cannot_be_expect_what_can(make_policy, name, options, said):
    with pytest.raises(BackendError, match=said):
        load_backend(name, make_policy(), **options)


def test_when_the_policy_is_elsewhere_than_on_the_cpu_expect_each_cpu_backend_to_say_so(make_policy):
    policy = make_policy().to("meta")
    object.__setattr__(policy, "require_ready", lambda: None)  # no values there
    for name in ("compile", "onnxruntime", "openvino"):
        needs(name)
        with pytest.raises(BackendError, match=f"'{name}' is for the CPU, but the policy is on 'meta'"):
            load_backend(name, policy)


def test_when_an_extra_is_missing_expect_how_to_install_it(make_policy, monkeypatch):
    needs("onnxruntime")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(
        MissingExtraError, match="the backend 'onnxruntime' needs .*onnxscript.*not installed"
    ):
        load_backend("onnxruntime", make_policy())


def test_when_openvinos_graphs_are_released_in_order_expect_signals_to_be_handled_still() -> None:
    # Each Core of OpenVINO leaves an alternate signal stack behind that is gone, once two go in this order; the next
    # signal then ended the process.
    code = (
        "import os, signal, torch\n"
        "from hpt_ros.model.backends.openvino import compile_graph\n"
        "signal.signal(signal.SIGCHLD, lambda *_: print('handled'))\n"
        "example = (torch.zeros(1, 2),)\n"
        "graphs = [compile_graph(torch.nn.Linear(2, 2), example, 'float32') for _ in range(2)]\n"
        "while graphs:\n"
        "    del graphs[0]\n"
        "os.kill(os.getpid(), signal.SIGCHLD)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["handled"]), done.stderr


def test_when_openvino_is_missing_expect_how_to_install_it_and_auto_without_it(make_policy, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(
        HptError, match="'openvino' needs the package 'openvino', which is not installed; install"
    ):
        load_backend("openvino", make_policy())
    assert "; no openvino: the backend 'openvino' needs" in load_backend("auto", make_policy()).selection


def test_when_there_is_no_compiler_expect_that_said(make_policy, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with refused(
        BackendError, Code.INVALID, subject="the backend 'compile'", problem="needs a C++ compiler, but"
    ):
        load_backend("compile", make_policy())


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_when_the_head_draws_noise_expect_export_refused(make_policy, name):
    needs(name)
    policy = make_policy(head=FlowHeadConfig(flow_width=32, flow_noise="random"))
    with pytest.raises(BackendError, match=f"'{name}' cannot draw the noise"):
        load_backend(name, policy)


def test_when_the_head_is_one_that_openvino_crashes_on_expect_it_refused(make_policy):
    pytest.importorskip("diffusers")
    policy = make_policy(head=DiffusionHeadConfig())
    with pytest.raises(BackendError, match=r"'openvino' cannot compile the diffusion head; use .*'eager'"):
        load_backend("openvino", policy)


def test_when_the_policy_has_no_statistics_expect_it_refused(make_config):
    with refused(
        HptError,
        Code.NOT_READY,
        subject="the normaliser of 'action'",
        problem="has no statistics yet",
        remedy="statistics",
    ):
        load_backend("openvino", Policy(make_config()).eval())


def test_when_threads_are_given_expect_torch_to_have_them(make_policy):
    load_backend("eager", make_policy(), threads=2)
    assert torch.get_num_threads() == 2
    load_backend("eager", make_policy(), threads=0)
    assert torch.get_num_threads() == 2


def test_when_backends_are_listed_expect_the_plain_one_first():
    assert next(iter(BACKENDS)) == "eager"
    assert set(BACKENDS) == {"eager", "compile", "onnxruntime", "openvino", "cuda_graph"}


# --- GPU -------------------------------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_when_graphs_are_recorded_expect_what_eager_gives(make_policy, make_inputs, precision):
    policy = make_policy(**RESNET).to("cuda")
    inputs = make_inputs(policy.config, batch=1)
    expected = InferenceSession(policy).predict(inputs, [0, 1, 2])
    rollout = InferenceSession(policy, backend="cuda_graph", precision=precision)
    for keys in ([3, 4, 5], [0, 1, 2]):
        chunk = rollout.predict(inputs, keys)
    span = policy.normaliser["action"].scale.cpu().numpy()
    np.testing.assert_allclose(chunk * span, expected * span, rtol=0, atol=TOLERANCE[precision])
