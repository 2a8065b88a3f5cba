# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Observations and answers as bytes, for a policy on another machine: safetensors with a few facts beside the arrays.

Nothing in these bytes is code: safetensors holds numbers, and the facts are JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from hpt_ros.errors import Code, HptError

_FACTS = "@facts"  # no input has this name: names come from modalities


def pack(arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> bytes:
    """Bytes of arrays and facts.

    Args:
        arrays: of numbers by name; arrays of texts go with the facts.
        facts: what JSON can hold.
    """
    texts = {name: value.tolist() for name, value in arrays.items() if value.dtype.kind == "U"}
    numbers = {name: np.ascontiguousarray(value) for name, value in arrays.items() if name not in texts}
    words = json.dumps({"facts": dict(facts), "texts": texts}).encode()
    packed: bytes = save({**numbers, _FACTS: np.frombuffer(words, dtype=np.uint8)})
    return packed


def unpack(data: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays and facts of `pack`.

    Raises:
        HptError: the bytes are something else.
    """
    try:
        arrays: dict[str, NDArray[Any]] = load(data)
        words = json.loads(arrays.pop(_FACTS).tobytes())
        facts, texts = words["facts"], words["texts"]
        arrays.update({str(name): np.array(text, dtype=np.str_) for name, text in texts.items()})
        if not isinstance(facts, dict):
            raise TypeError("its facts are no mapping")
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise HptError(
            Code.UNREADABLE, f"a message of {len(data)} bytes",
            problem=f"is none of hpt_ros's ({type(error).__name__}: {' '.join(str(error).split())[:120]})",
            remedy="run the same version of hpt_ros on both machines",
        ) from error  # fmt: skip
    return arrays, facts
