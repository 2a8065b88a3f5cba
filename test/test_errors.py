# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Errors are fields, and their one sentence is made of them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_ros.embodiment.messages import DecodeError
from hpt_ros.errors import Code, HptError, Refusal, as_text, cause_text

FIELDS = ("code", "subject", "value", "expected", "remedy")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            HptError(Code.OUT_OF_RANGE, "--workers", 0, expected="at least 1", remedy="give the number of processes"),
            "--workers is 0, expected at least 1; give the number of processes",
        ),
        (
            HptError(Code.UNKNOWN, "the backend", "eagre", known=("eager", "openvino")),
            "the backend is 'eagre', expected one of eager, openvino; did you mean 'eager'?",
        ),
        (
            HptError(Code.UNKNOWN, "the backend", "x", known=("eager",), remedy="name one of these"),
            "the backend is 'x', expected one of eager; name one of these",
        ),
        (
            HptError(Code.UNKNOWN, "the joint", "joint_7O", known=[f"joint_{number}" for number in range(99)]),
            "the joint is 'joint_7O'; did you mean 'joint_7'?",  # a list of 99 would hide it
        ),
        (HptError(Code.UNKNOWN, "the joint", "x", known=()), "the joint is 'x', expected one of none; correct it"),
        (HptError(Code.EXISTS, "'out'", remedy="name another"), "'out' exists already; name another"),
        (
            HptError(Code.MISSING, "file 'a'", "limits", problem="lacks the key {value}"),
            "file 'a' lacks the key 'limits'; add it",
        ),
        (
            HptError(Code.UNWRITABLE, "'out'", remedy="make room", cause=OSError(28, "No space left on device", "out")),
            "'out' cannot be written (No space left on device: 'out'); make room",
        ),
        (
            HptError(Code.NOT_FINITE, "a target", np.float32(np.nan), cause=ValueError("one\n  two")),
            "a target is nan (one two); correct it",
        ),
    ],
)  # fmt: skip
def test_the_sentence_is_made_of_the_fields(error: HptError, sentence: str) -> None:
    assert str(error) == sentence == str(error.refusal)


def test_when_what_surrounds_it_is_named_expect_it_before_the_sentence_and_the_fields_kept() -> None:
    inner = DecodeError(Code.DAMAGED, "the image", 3, problem="has {value} bytes", remedy="record again")
    outer = inner.within("stream 'front'").within("bag 'b'")
    assert isinstance(outer, DecodeError)
    assert outer.where == ("bag 'b'", "stream 'front'")
    assert [getattr(outer, name) for name in FIELDS] == [getattr(inner, name) for name in FIELDS]
    assert str(outer) == "bag 'b': stream 'front': the image has 3 bytes; record again"
    assert str(inner) == "the image has 3 bytes; record again"


def test_when_an_error_comes_from_another_process_expect_its_fields_and_attributes() -> None:
    error = HptError(Code.UNREADABLE, "'a'", cause=ValueError("cut"), remedy="copy it").within("dataset 'd'")
    error.number = 7  # type: ignore[attr-defined]
    found = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert [getattr(found, name) for name in (*FIELDS, "where")] == [
        getattr(error, name) for name in (*FIELDS, "where")
    ]
    assert str(found) == str(error) == "dataset 'd': 'a' cannot be read (cut); copy it"
    assert found.number == 7


def test_when_an_error_is_made_of_a_refusal_expect_the_same_fields() -> None:
    refusal = Refusal(Code.NOT_READY, "the robot", problem="is still braking", remedy="wait")
    error = HptError.of(refusal)
    assert error.refusal is refusal
    assert str(error) == "the robot is still braking; wait"


@given(st.text(), st.text(max_size=500))
def test_a_value_with_braces_or_line_breaks_stays_one_line_of_bounded_length(
    subject: str, value: str
) -> None:
    text = str(HptError(Code.INVALID, subject, value, expected="another"))
    assert as_text(value) in text
    assert len(as_text(value)) <= 200
    assert not {"\n", "\r"} & set(as_text(value))


def test_when_an_exception_has_no_text_expect_its_class() -> None:
    assert cause_text(KeyError()) == "KeyError"
    assert len(cause_text(ValueError("x" * 1000))) == 200
