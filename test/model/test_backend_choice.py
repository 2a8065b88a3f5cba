# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The backend `auto`: the quickest of those that are installed and act as eager does."""

from __future__ import annotations

import re
import sys
from functools import partial

import pytest
import torch
from support.backend_inputs import random_arrays
from support.refused import refused

from hpt_ros.errors import Code
from hpt_ros.model import Policy, StemConfig, backends
from hpt_ros.model.backends import Backend, BackendError, auto_candidates, load_backend
from hpt_ros.model.backends.eager import EagerBackend
from hpt_ros.model.backends.selection import BUDGET_S, STEPS, STEPS_S, select_backend
from hpt_ros.model.flow import FlowHeadConfig


class Clock:
    """Time that moves only when a backend says so."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Timed(EagerBackend):
    """The policy's own modules, with a duration and an offset of the actions."""

    def __init__(self, policy: Policy, name: str, clock: Clock, step_s: float, offset: float = 0.0) -> None:
        super().__init__(policy, name, precision="float32")
        self.clock, self.step_s, self.offset, self.steps = clock, step_s, offset, 0

    def act(self, arrays):
        self.clock.now_s += self.step_s
        self.steps += 1
        return super().act(arrays) + self.offset


def test_when_candidates_are_measured_expect_the_quickest_and_the_figures_of_all(make_policy):
    policy, clock = make_policy(), Clock()
    steps_s = {"slow": 0.03, "quick": 0.01, "middling": 0.02}
    built = {name: Timed(policy, name, clock, step_s) for name, step_s in steps_s.items()}
    selection = select_backend(
        policy, "float32", {name: partial(built.__getitem__, name) for name in built}, clock=clock
    )
    assert selection.backend is built["quick"]
    assert selection.steps_s == pytest.approx(steps_s)
    assert str(selection) == "measured, ms a step: slow 30.0, quick 10.0, middling 20.0"
    assert {backend.steps for backend in built.values()} == {1 + STEPS}  # the first is compared with eager


def test_when_a_candidate_is_slow_expect_few_of_its_steps(make_policy):
    policy, clock = make_policy(), Clock()
    slow = Timed(policy, "slow", clock, 0.6 * STEPS_S)
    select_backend(policy, "float32", {"slow": lambda: slow}, clock=clock)
    assert slow.steps == 1 + 2


@pytest.mark.parametrize("offset", [1.0, float("nan")])
def test_when_a_candidate_differs_from_eager_expect_it_left_out_with_the_reason(make_policy, offset):
    policy, clock = make_policy(), Clock()
    right, wrong = Timed(policy, "right", clock, 0.03), Timed(policy, "wrong", clock, 0.01, offset)
    selection = select_backend(
        policy, "float32", {"wrong": lambda: wrong, "right": lambda: right}, clock=clock
    )
    assert selection.backend is right
    assert "wrong" not in selection.steps_s
    assert re.search(r"differs from eager by \S+, at most 0.001", selection.left_out["wrong"])
    assert "; no wrong: differs from eager" in str(selection)


@pytest.mark.parametrize(
    "error", [BackendError(Code.UNAVAILABLE, problem="no compiler"), RuntimeError("no\ncompiler")]
)
def test_when_a_candidate_cannot_be_built_expect_it_left_out_with_the_reason(make_policy, error):
    def fail() -> Backend:
        raise error

    policy = make_policy()
    plain = EagerBackend(policy, "eager", precision="float32")
    selection = select_backend(policy, "float32", {"broken": fail, "eager": lambda: plain})
    assert selection.backend is plain
    assert selection.left_out == {"broken": "no compiler"}
    with refused(
        BackendError,
        Code.UNSUPPORTED,
        match="no compiler",
    ):
        select_backend(policy, "float32", {"broken": fail})


def test_when_the_time_for_measuring_is_over_expect_no_other_candidate_begun(make_policy):
    policy, clock = make_policy(), Clock()
    first = Timed(policy, "first", clock, 0.03)

    def build_long() -> Backend:
        clock.now_s += BUDGET_S
        return first

    def build_too_late() -> Backend:
        raise AssertionError("begun")

    selection = select_backend(
        policy, "float32", {"first": build_long, "second": build_too_late}, clock=clock
    )
    assert selection.backend is first
    assert selection.left_out == {"second": "the 20 s for measuring were over"}


def test_when_the_head_draws_noise_expect_only_features_compared(make_policy):
    policy, clock = make_policy(head=FlowHeadConfig(flow_width=32, flow_noise="random")), Clock()
    drawing = Timed(policy, "drawing", clock, 0.01)
    assert select_backend(policy, "float32", {"drawing": lambda: drawing}, clock=clock).backend is drawing


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"head": FlowHeadConfig(flow_width=32, flow_noise="random")},
        {
            "stems": (StemConfig("state"), StemConfig("depth")), "views": 0, "image_height": 0, "image_width": 0,
            "depth_views": 1, "depth_height": 32, "depth_width": 32,
        },
    ],
)  # fmt: skip
def test_when_the_backend_is_auto_expect_a_measured_one_with_eagers_actions(
    make_policy, monkeypatch, changes
):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    policy = make_policy(**changes)
    backend = load_backend("auto", policy)
    assert backend.name in ("eager", "openvino")
    assert "measured, ms a step: eager " in backend.selection
    assert "no onnxruntime: the backend 'onnxruntime' needs the package" in backend.selection
    if "image" in policy.encoders:
        torch.manual_seed(0)
        arrays, eager = random_arrays(policy), load_backend("eager", policy)
        actions = []
        for each in (backend, eager):
            torch.manual_seed(0)
            actions.append(each.act(arrays).clone())
        torch.testing.assert_close(*actions, rtol=0, atol=1e-4)


def test_when_a_backend_is_pinned_expect_nothing_measured(make_policy, monkeypatch):
    def measure(*arguments: object) -> None:
        raise AssertionError("measured")

    monkeypatch.setattr(backends, "select_backend", measure)
    assert load_backend("eager", make_policy()).selection == ""
    with pytest.raises(AssertionError, match="measured"):
        load_backend("auto", make_policy())


@pytest.mark.parametrize(
    ("device", "precision", "names"),
    [
        ("cpu", "float32", ("eager", "openvino", "onnxruntime")), ("cpu", "bfloat16", ("openvino",)),
        ("cpu", "int8", ("onnxruntime",)), ("cuda", "float32", ("eager", "cuda_graph")),
        ("cuda", "bfloat16", ("cuda_graph",)), ("mps", "float32", ("eager",)), ("cuda", "int8", ()),
    ],
)  # fmt: skip
def test_when_the_backend_is_auto_expect_device_and_precision_to_say_what_is_measured(
    device, precision, names
):
    assert auto_candidates(torch.device(device), precision) == names


def test_when_auto_has_only_what_is_not_installed_expect_how_to_install_it(make_policy, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with refused(
        BackendError,
        Code.UNSUPPORTED,
        match="'onnxruntime', which is not installed; run 'make setup EXTRAS=onnx'",
    ):
        load_backend("auto", make_policy(), precision="int8")
