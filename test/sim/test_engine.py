# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""MuJoCo is imported after triton, whose LLVM does not bear that of Mesa's software renderer before it.

Pinned: PyTorch's CUDA build, whose first optimiser step imports triton, ended the process that had rendered before
with a segmentation fault (Debian 12, triton 3.7.1). The CPU build has no triton and hid it.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

RENDER = """
from hpt_ros.sim.physics import Renderer
from hpt_ros.sim.tasks.feed_dog.scene import FeedDogScene
physics = FeedDogScene().physics
assert Renderer(physics, 48, 64).render(physics.model.camera(0).name).any()
"""
STEP = """
import torch
layer = torch.nn.Linear(3, 3)
optimiser = torch.optim.AdamW(layer.parameters())
layer(torch.ones(1, 3)).sum().backward()
optimiser.step()
"""
SAY_MODULES = "import sys; print(*(name for name in ('triton', 'torch') if name in sys.modules))"


def _run(*code: str, path: Path | None = None, **variables: str) -> str:
    """Standard output of Python code in a process of its own, with a folder before all others in its path."""
    env = {**os.environ, **variables}
    if path is not None:
        env["PYTHONPATH"] = os.pathsep.join(filter(None, (str(path), env.get("PYTHONPATH", ""))))
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(code)],
        capture_output=True,
        text=True,
        env=env,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize(
    "render", [RENDER, f"import hpt_ros.runtime.kinematics\n{RENDER}"], ids=["rendered", "kinematics"]
)
@pytest.mark.skipif(not importlib.util.find_spec("triton"), reason="no triton: this torch is no CUDA build")
def test_when_a_process_rendered_expect_that_it_can_train_and_compile(render: str) -> None:
    _run(render, STEP, "import torch._dynamo", "import torch._inductor.compile_fx")


@pytest.mark.parametrize(
    "module", ["hpt_ros.sim.physics", "hpt_ros.runtime.kinematics", "hpt_ros.sim.tasks.feed_dog.environment"]
)
def test_when_mujoco_is_imported_expect_triton_before(module: str, tmp_path: Path) -> None:
    package = tmp_path / "triton"
    package.mkdir()
    (package / "__init__.py").write_text("import sys\nprint('triton', 'mujoco' in sys.modules)\n")
    printed = _run(f"import {module}", "import sys", "assert 'mujoco' in sys.modules", path=tmp_path)
    assert printed.splitlines() == ["triton False"]


@pytest.mark.parametrize("broken", ["raise ImportError('no libcuda')", "raise ModuleNotFoundError('triton')"])
def test_when_there_is_no_triton_expect_rendering_without_torch(broken: str, tmp_path: Path) -> None:
    package = tmp_path / "triton"
    package.mkdir()
    (package / "__init__.py").write_text(f"{broken}\n")
    assert _run(RENDER, SAY_MODULES, path=tmp_path).split() == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux draws through EGL")
@pytest.mark.parametrize(("chosen", "used"), [("", "egl"), ("glfw", "glfw")])
def test_when_the_urdf_is_read_first_expect_the_same_choice_of_renderer(chosen: str, used: str) -> None:
    code = (
        "import os",
        "os.environ.pop('MUJOCO_GL')",
        f"os.environ.update({ ({'MUJOCO_GL': chosen} if chosen else {}) })",
    )
    assert _run(*code, "import hpt_ros.runtime.kinematics", "print(os.environ['MUJOCO_GL'])").strip() == used
