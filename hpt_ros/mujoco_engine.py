# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""MuJoCo, imported the one safe way: every module that needs it does `from hpt_ros.mujoco_engine import mujoco`.

Two things have to be settled before MuJoCo is imported, and the first import in a process decides for all later ones:

- `MUJOCO_GL`: draw without a display, unless the user has chosen otherwise.
- triton, which PyTorch's CUDA builds bring and load at the first optimiser step or compilation, carries an LLVM whose
  symbols it exports, as Mesa's software renderer brings its own into the process's global scope (PyOpenGL and Mesa load
  with RTLD_GLOBAL). Whichever is loaded second binds to the first: triton after Mesa ends in a segmentation fault
  (seen: triton 3.7.1 after Debian 12's Mesa 22.3 with LLVM 15; the same clash with TensorFlow's LLVM is
  https://github.com/tensorflow/tensorflow/issues/124205). Mesa after triton is sound, since Python loads triton with
  local scope and Debian's LLVM has versioned symbols. With MUJOCO_GL=osmesa `import mujoco` itself loads Mesa.

Importing triton takes 0.2 s and does not import torch, which the simulation does without.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys

if sys.platform == "linux":
    os.environ.setdefault("MUJOCO_GL", "egl")
    # Where it is absent nothing clashes; where it is broken, torch reports so itself when it needs it.
    with contextlib.suppress(ImportError):
        importlib.import_module("triton")

import mujoco

__all__ = ["mujoco"]
