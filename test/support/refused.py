# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Expect an error by its fields; its sentence is made of them, which `test_errors.py` asserts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any

import pytest

from hpt_ros.control.refusals import Why
from hpt_ros.errors import HptError, Refusal

_ANY = object()


def assert_refusal(found: object, code: Enum, *, value: Any = _ANY, **texts: str) -> None:
    """Assert the fields of a refusal.

    Args:
        found: the refusal; None fails.
        code: its kind.
        value: equal to its value.
        texts: `subject`, `problem`, `expected`, `remedy`: a part of that text; `match`: a pattern in the sentence.
    """
    assert isinstance(found, Refusal), found
    assert found.code is code, str(found)
    if value is not _ANY:
        assert found.value == value or str(found.value) == str(value), str(found)
    if pattern := texts.pop("match", ""):
        assert re.search(pattern, str(found)), str(found)
    for name, text in texts.items():
        assert text in getattr(found, name), f"{name}: {getattr(found, name)!r} in {str(found)!r}"


def saying(text: str, code: Enum = Why.STOPPED) -> Refusal:
    """Return a refusal with a sentence of the test's own."""
    return Refusal(code, problem=text)


@contextmanager
def refused(
    error: type[HptError] | tuple[type[HptError], ...], code: Enum, *, value: Any = _ANY, **texts: str
) -> Iterator[pytest.ExceptionInfo[HptError]]:
    """Expect an error of a class; arguments as for `assert_refusal`."""
    with pytest.raises(error) as caught:
        yield caught
    assert_refusal(caught.value.refusal, code, value=value, **texts)
