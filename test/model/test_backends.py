# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from hpt_ros.errors import HptError
from hpt_ros.extras import MissingExtraError
from hpt_ros.model import HeadConfig, ImageEncoderConfig, Policy, StemConfig, TrunkConfig
from hpt_ros.model.backends import BACKENDS, Backend, BackendError, choose_backend, load_backend
from hpt_ros.model.backends.backend import example_arrays
from hpt_ros.model.backends.resize import resize_for
from hpt_ros.model.backends.resnet import FoldedResNet18, FusedResNet18
from hpt_ros.model.backends.winograd import Scratch, Tiling, WinogradConv, _matrices
from hpt_ros.model.encoders import ResNet18
from hpt_ros.model.modalities import Pictures
from hpt_ros.model.rollout import Rollout

# Largest difference from eager's actions within [-1, 1] and features of about 1: float32 sums in another order; 8 bits
# of bfloat16's precision, and of int8's, through a few layers.
TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2, "int8": 1e-1}
RESNET = {"image_encoder": ImageEncoderConfig(kind="resnet18"), "image_height": 60, "image_width": 90}


def needs(backend: str) -> None:
    """Skip where the backend's extra is not installed."""
    for module in {"onnxruntime": ("onnxruntime", "onnxscript"), "openvino": ("openvino",)}.get(backend, ()):
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


def random_arrays(policy: Policy, absent: tuple[str, ...] = ()) -> dict[str, torch.Tensor]:
    return {name: array.normal_() for name, array in example_arrays(policy, absent).items()}


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
        ("fused", "float32"),
        ("fused", "bfloat16"),
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
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_when_resnet_is_fused_expect_what_eager_gives(make_policy, shared, precision):
    encoder = ImageEncoderConfig(kind="resnet18", shared=shared)
    policy = make_policy(**RESNET | {"image_encoder": encoder})
    liven(policy.encoders)
    frame = random_frame(policy)
    wanted = load_backend("eager", policy).encode("image", frame)
    got = load_backend("fused", policy, precision=precision).encode("image", frame)
    # bfloat16 rounds each of 20 layers to 8 bits
    torch.testing.assert_close(
        got, wanted, rtol=0, atol=1e-4 if precision == "float32" else 0.1 * float(wanted.max())
    )
    assert float(wanted.std()) > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_when_resnet_is_exported_expect_what_eager_gives(make_policy, backend):
    needs(backend)
    policy = make_policy(**RESNET)
    liven(policy.encoders)
    assert_like_eager(load_backend(backend, policy), policy)


@pytest.mark.parametrize(
    "changes",
    [
        {"pooling": "action_token", "head": HeadConfig(kind="decoder")},
        {"head": HeadConfig(kind="gmm")},
        {"head": HeadConfig(kind="flow", flow_width=32)},
        {"stems": (StemConfig("image"),), "state_dim": 0},
    ],
)  # fmt: skip
def test_when_a_variant_is_fused_expect_what_eager_gives(make_policy, changes):
    policy = make_policy(**changes)
    assert_like_eager(load_backend("fused", policy), policy)


def test_when_there_is_no_trunk_expect_fused_as_eager(make_policy):
    policy = make_policy(trunk=TrunkConfig(width=32, depth=0, heads=4))
    assert_like_eager(load_backend("fused", policy), policy)


@pytest.mark.parametrize("backend", ["fused", "openvino"])
def test_when_a_modality_is_absent_expect_what_eager_gives(make_policy, backend):
    needs(backend)
    stems = (StemConfig("image", tokens=4), StemConfig("state", tokens=4, missing="drop"))
    policy = make_policy(stems=stems)
    fast, eager = load_backend(backend, policy), load_backend("eager", policy)
    for absent in ((), ("state",), ()):
        arrays = random_arrays(policy, absent)
        assert ("state" in arrays) == (not absent)
        torch.testing.assert_close(fast.act(arrays), eager.act(arrays), rtol=0, atol=1e-4)


def test_when_a_rollout_is_fused_expect_eagers_actions(make_policy, make_inputs):
    policy = make_policy(**RESNET)
    inputs = make_inputs(policy.config, batch=1)
    fused = Rollout(policy, backend="fused").predict(inputs, [0, 1, 2])
    np.testing.assert_allclose(fused, Rollout(policy).predict(inputs, [0, 1, 2]), rtol=0, atol=1e-4)


def test_when_a_backend_is_loaded_expect_the_policys_own_modules_unchanged(make_policy, make_inputs):
    policy = make_policy(**RESNET)
    inputs = make_inputs(policy.config)
    before, names = policy.predict(inputs), list(policy.state_dict())
    load_backend("fused", policy, precision="bfloat16")
    assert torch.equal(policy.predict(inputs), before)
    assert list(policy.state_dict()) == names


# --- parts -----------------------------------------------------------------------------------------------------------


def rounding_bound(conv: WinogradConv, kernel: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Return how far float32 may be from the exact result, for each output, as `conv` writes them.

    An inner product of n terms is off by at most n u |a| |b|, u = 2^-24, in whatever order it is summed (Higham,
    Accuracy and Stability of Numerical Algorithms, section 3.1), and by sqrt(n) u |a| |b| with near certainty (Higham
    and Mary, SIAM J. Sci. Comput. 41, 2019). Here three follow each other, with a rounded kernel and a sum added at
    the end, so that n adds up. |a| |b| is the same algorithm on absolute values: for m = 4 hundreds of times what a
    direct convolution has.
    """
    channels_out, channels_in = kernel.shape[:2]
    absolute = copy.copy(conv)
    absolute.scratch = Scratch(conv.tiling, max(channels_in, channels_out), torch.float64)
    absolute.to_input, absolute.to_output = conv.to_input.abs().double(), conv.to_output.abs().double()
    flat = _matrices(conv.tiling.m)[1].abs() @ kernel.double().abs().reshape(-1, 9).T
    absolute.kernel = flat.reshape(-1, channels_out, channels_in).transpose(1, 2)
    bound = torch.empty(conv.tiling.rows, channels_out, dtype=torch.float64)
    absolute(rows.abs().double(), bound)
    terms = 2 * len(conv.to_input) + channels_in + 2
    return terms**0.5 * 2.0**-24 * bound


@settings(max_examples=25, deadline=None)
@given(side=st.integers(3, 15), m=st.sampled_from([2, 4]), frames=st.integers(1, 3), seed=st.integers(0, 99))
def test_when_winograd_convolves_expect_the_convolution(side, m, frames, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(frames, 5, side, side, generator=generator)
    kernel = torch.randn(6, 5, 3, 3, generator=generator)
    tiling = Tiling(side, m, frames)

    def maps(rows: torch.Tensor) -> torch.Tensor:
        return rows.index_select(0, tiling.pixels()).reshape(frames, side, side, 6).permute(0, 3, 1, 2)

    rows = torch.cat((x.permute(0, 2, 3, 1).reshape(-1, 5), torch.zeros(1, 5)))
    tiled = rows.index_select(0, torch.cat((tiling.outputs_of_tiles(), torch.tensor([len(rows) - 1]))))
    expected = functional.conv2d(x.double(), kernel.double(), padding=1)
    for given_rows, is_tiled in ((rows, False), (tiled, True)):
        out = torch.empty(tiling.rows, 6)
        conv = WinogradConv(kernel, tiling, Scratch(tiling, 6), tiled=is_tiled)
        bound = maps(rounding_bound(conv, kernel, given_rows))
        assert float(bound.max()) < 1e-3 * float(
            expected.abs().max()
        )  # a wrong pixel or weight is far outside
        conv(given_rows, out)
        assert ((maps(out) - expected).abs() <= bound).all()
        conv(given_rows, out, add=True)
        assert ((maps(out) - 2.0 * expected).abs() <= 2.0 * bound).all()


@pytest.mark.parametrize("size", [(480, 640), (96, 128), (224, 224), (225, 1000)])
def test_when_pictures_are_resized_in_bands_expect_interpolates_pixels(size):
    net = ResNet18().eval()
    frames = torch.randint(0, 256, (2, *size, 3), dtype=torch.uint8)
    resized = resize_for(net, 2, *size)(frames).permute(0, 3, 1, 2)
    # of normalised colours, which reach 2.6: float32 rounding of the weights and sums
    torch.testing.assert_close(resized, net.preprocess(frames), rtol=0, atol=1e-4)


@pytest.mark.parametrize("frames", [1, 3])
def test_when_resnet_is_prepared_expect_as_near_to_float64_as_the_network_itself(frames):
    net = ResNet18().eval()
    liven(net)
    pictures = torch.randint(0, 256, (frames, 224, 224, 3), dtype=torch.uint8)
    with torch.inference_mode():
        plain = net(pictures)
        prepared = FusedResNet18(net, frames=frames, height=224, width=224)
        prepared(pictures.flip(1))  # nothing is left of an earlier call
        fused = prepared(pictures)
        folded = FoldedResNet18(net, torch.float32)(net.preprocess(pictures))
        exact = net.double()(pictures)
    scale = float(exact.abs().max())
    assert float((fused - exact).abs().max()) < 1e-5 * scale
    assert float((folded - exact).abs().max()) < 1e-5 * scale
    assert float((plain - exact).abs().max()) < 1e-5 * scale


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("egaer", {}, "the backend 'egaer' is unknown; use one of eager, .*; did you mean 'eager'"),
        ("eager", {"precision": "float16"}, "the precision 'float16' is unknown; use one of float32, bfloat16"),
        ("eager", {"precision": "int8"}, "'eager' computes in float32, not in 'int8'; .* the backend onnxruntime"),
        ("fused", {"threads": -1}, "-1 threads were asked for, but 0"),
        ("cuda_graph", {}, "'cuda_graph' is for NVIDIA GPUs, but the policy is on 'cpu'"),
    ],
)  # fmt: skip
def test_when_a_backend_cannot_be_expect_what_can(make_policy, name, options, said):
    with pytest.raises(BackendError, match=said):
        load_backend(name, make_policy(), **options)


def test_when_the_policy_is_elsewhere_than_on_the_cpu_expect_each_cpu_backend_to_say_so(make_policy):
    policy = make_policy().to("meta")
    object.__setattr__(policy, "require_ready", lambda: None)  # no values there
    for name in ("fused", "compile", "onnxruntime", "openvino"):
        needs(name)
        with pytest.raises(BackendError, match=f"'{name}' is for the CPU, but the policy is on 'meta'"):
            load_backend(name, policy)


@pytest.mark.parametrize(("backend", "module"), [("openvino", "openvino"), ("onnxruntime", "onnxscript")])
def test_when_an_extra_is_missing_expect_how_to_install_it(make_policy, monkeypatch, backend, module):
    if backend == "onnxruntime":
        needs(backend)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=f"the backend '{backend}' needs .*{module}.*not installed"):
        load_backend(backend, make_policy())


def test_when_there_is_no_compiler_expect_that_said(make_policy, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(BackendError, match=r"needs a C\+\+ compiler, but .*g\+\+.* is not on the path"):
        load_backend("compile", make_policy())


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_when_the_head_draws_noise_expect_export_refused(make_policy, name):
    needs(name)
    policy = make_policy(head=HeadConfig(kind="flow", flow_width=32, flow_noise="random"))
    with pytest.raises(BackendError, match=f"'{name}' cannot draw the noise"):
        load_backend(name, policy)


def test_when_the_head_is_one_that_openvino_crashes_on_expect_it_refused(make_policy):
    needs("openvino")
    pytest.importorskip("diffusers")
    policy = make_policy(head=HeadConfig(kind="diffusion"))
    with pytest.raises(BackendError, match=r"'openvino' cannot compile the diffusion head; use .*'fused'"):
        load_backend("openvino", policy)
    assert_like_eager(load_backend("fused", policy), policy)


def test_when_the_policy_has_no_statistics_expect_it_refused(make_config):
    with pytest.raises(HptError, match="has no statistics yet"):
        load_backend("fused", Policy(make_config()).eval())


def test_when_threads_are_given_expect_torch_to_have_them(make_policy):
    load_backend("eager", make_policy(), threads=2)
    assert torch.get_num_threads() == 2
    load_backend("eager", make_policy(), threads=0)
    assert torch.get_num_threads() == 2


def test_when_the_backend_is_auto_expect_the_prepared_policy_on_a_cpu(make_policy):
    policy = make_policy()
    assert load_backend("auto", policy).name == "fused"
    assert load_backend("auto", policy, precision="bfloat16").name == "fused"
    assert load_backend("eager", policy).name == "eager"


@pytest.mark.parametrize(
    ("device", "precision", "name"),
    [
        ("cpu", "float32", "fused"), ("cpu", "bfloat16", "fused"), ("cpu", "int8", "onnxruntime"),
        ("cuda", "float32", "eager"), ("cuda", "bfloat16", "cuda_graph"), ("mps", "float32", "eager"),
    ],
)  # fmt: skip
def test_when_auto_chooses_expect_device_and_precision_to_decide(device, precision, name):
    assert choose_backend(torch.device(device), precision) == name


def test_when_auto_needs_an_extra_that_is_missing_expect_that_said(make_policy, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        MissingExtraError, match=r"the backend 'onnxruntime' needs .*onnxruntime.*not installed"
    ):
        load_backend("auto", make_policy(), precision="int8")


def test_when_backends_are_listed_expect_the_plain_one_first():
    assert BACKENDS[0] == "eager"
    assert set(BACKENDS) == {"eager", "fused", "compile", "onnxruntime", "openvino", "cuda_graph"}


# --- GPU -------------------------------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_when_graphs_are_recorded_expect_what_eager_gives(make_policy, make_inputs, precision):
    policy = make_policy(**RESNET).to("cuda")
    inputs = make_inputs(policy.config, batch=1)
    expected = Rollout(policy).predict(inputs, [0, 1, 2])
    rollout = Rollout(policy, backend="cuda_graph", precision=precision)
    for keys in ([3, 4, 5], [0, 1, 2]):
        chunk = rollout.predict(inputs, keys)
    span = policy.normaliser["action"].scale.cpu().numpy()
    np.testing.assert_allclose(chunk * span, expected * span, rtol=0, atol=TOLERANCE[precision])
