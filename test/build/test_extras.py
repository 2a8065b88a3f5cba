# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""hpt_ros.extras: what it says when a library of an optional extra is absent or broken."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hpt_ros.extras import MissingExtraError, require_extra


def test_when_the_module_is_there_expect_it() -> None:
    assert require_extra("math", extra="onnx", what="a test") is math


def test_when_a_library_is_absent_expect_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # as Python itself marks what cannot be imported
    with pytest.raises(
        MissingExtraError,
        match=r"^the backend 'onnxruntime' needs the package 'onnxruntime', which is not installed; "
        r"run 'make setup EXTRAS=onnx', or 'pip install \.\[onnx\]', in hpt_ros's source folder$",
    ):
        require_extra("onnxruntime", extra="onnx", what="the backend 'onnxruntime'")


def test_when_what_a_library_needs_is_absent_expect_that_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "needs_more.py").write_text("import a_module_that_nobody_has\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        MissingExtraError, match=r"the package 'a_module_that_nobody_has', which is not installed"
    ):
        require_extra("needs_more", extra="timm", what="the image encoder 'timm'")


def test_when_a_library_breaks_at_import_expect_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "breaks.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        MissingExtraError,
        match=r"'breaks', which is installed but cannot be imported \(operator torchvision::nms does not exist\); "
        r"install the versions that belong together with 'make setup EXTRAS=timm'",
    ):
        require_extra("breaks", extra="timm", what="the image encoder 'timm'")


def test_when_openvino_is_used_expect_nothing_reported_to_its_maker(tmp_path: Path) -> None:
    code = (
        "from hpt_ros.model.backends.openvino import import_openvino\n"
        "import torch\n"
        "openvino = import_openvino()\n"
        "openvino.convert_model(torch.nn.Linear(2, 2), example_input=torch.zeros(1, 2))\n"
        "from openvino.tools.ovc import telemetry_utils\n"
        "print(telemetry_utils.tm.__name__)\n"
    )
    environment = {**os.environ, "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    environment.pop("CI", None)  # where it keeps silent by itself
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "openvino.tools.ovc.telemetry_stub"
    assert list(tmp_path.iterdir()) == []  # no identity of this machine either


def test_when_the_extra_does_not_exist_expect_a_programming_error() -> None:
    with pytest.raises(ValueError, match=r"'onx' is no extra; use one of diffusion, "):
        require_extra("onnxruntime", extra="onx", what="a test")
