"""Libraries that only some need: installed as extras, imported only when named.

What an extra consists of is in extras.cfg, its versions are in constraints.txt.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any, cast

from hpt_ros.errors import HptError

EXTRAS = (
    "diffusion",
    "export",
    "language",
    "onnx",
    "openvino",
    "ray",
    "rerun",
    "rlds",
    "sentence",
    "timm",
    "transformers",
)
# What OpenVINO's converter reports each of its uses with, over the network, unless it is absent.
TELEMETRY = "openvino_telemetry"


class MissingExtraError(HptError):
    """A library that this feature needs is not installed, or cannot be imported."""


def require_extra(module: str, *, extra: str, what: str) -> ModuleType:
    """Import and return a module of an optional extra.

    Args:
        module: what to import, e.g. "onnxruntime".
        extra: the extra that brings it, one of `EXTRAS`.
        what: what needs it, for the error, e.g. "the backend 'onnxruntime'".

    Raises:
        MissingExtraError: it is not installed, or fails at import; the sentence says what installs it.
    """
    if extra not in EXTRAS:
        raise ValueError(f"{extra!r} is no extra; use one of {', '.join(EXTRAS)}")
    command = f"'make setup EXTRAS={extra}', or 'pip install .[{extra}]',"
    if extra == "openvino":  # a robot reports to nobody
        sys.modules.setdefault(TELEMETRY, cast(Any, None))
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        lacks = error.name or module
        raise MissingExtraError(
            f"{what} needs the package {lacks!r}, which is not installed; run {command} in hpt_ros's source folder"
        ) from error
    except (ImportError, OSError, RuntimeError) as error:  # e.g. a torchvision of another torch
        reason = " ".join(str(error).split())[:160]
        raise MissingExtraError(
            f"{what} needs {module!r}, which is installed but cannot be imported ({reason}); "
            f"install the versions that belong together with {command} in hpt_ros's source folder"
        ) from error
