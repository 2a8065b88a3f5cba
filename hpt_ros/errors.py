# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Errors and refusals as data: what users see is one sentence, which is made of fields; code reads the fields."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

LONGEST_VALUE = 200  # characters of a value in a sentence; the field keeps all of it
LONGEST_CAUSE = 200
LONGEST_LIST = 600  # characters of the names that were possible


class Code(str, Enum):
    """Kinds of mistakes; the class of the error says in which room it happened.

    The members' order is that of asking: is it there, can it be read, is each value right, do values fit one another,
    can it be done here and now.
    """

    NOT_FOUND = "not_found"  # a file, folder, topic or name that was referred to does not exist
    EXISTS = "exists"  # something is there that would have to be replaced
    UNREADABLE = "unreadable"  # not of the format expected: no YAML, no JPEG
    DAMAGED = "damaged"  # of the format expected, but cut short or changed
    UNWRITABLE = "unwritable"  # the file system does not take it
    MISSING = "missing"  # a key, field, joint or input is not given
    UNEXPECTED = "unexpected"  # a key, field or option is given where none is possible
    UNKNOWN = "unknown"  # a name of none of the known things
    DUPLICATE = "duplicate"  # given twice
    EMPTY = "empty"  # given, with nothing in it
    WRONG_TYPE = "wrong_type"  # text for a number, a message of another type
    WRONG_SHAPE = "wrong_shape"  # a number of elements or an array's shape
    OUT_OF_RANGE = "out_of_range"
    NOT_FINITE = "not_finite"  # NaN or infinity
    INVALID = "invalid"  # any other value that cannot be
    MISMATCH = "mismatch"  # two files, or a file and a message, disagree
    CONFLICT = "conflict"  # two settings exclude one another
    UNSUPPORTED = "unsupported"  # sound, but not something that this program does
    NOT_INSTALLED = "not_installed"
    UNAVAILABLE = "unavailable"  # a device, service, network or disk space
    NOT_READY = "not_ready"  # not in this state: too early or too late
    TIMEOUT = "timeout"
    INTERNAL = "internal"  # a defect of this program


class Absent(Enum):
    """Stands for no value, since None may be one."""

    ABSENT = "absent"


ABSENT = Absent.ABSENT
_PROBLEMS = {
    Code.NOT_FOUND: "does not exist",
    Code.EXISTS: "exists already",
    Code.UNREADABLE: "cannot be read",
    Code.UNWRITABLE: "cannot be written",
    Code.EMPTY: "is empty",
}
_REMEDIES = {
    Code.MISSING: "add it",
    Code.UNEXPECTED: "remove it",
    Code.DUPLICATE: "remove one",
} | dict.fromkeys(
    (Code.INVALID, Code.OUT_OF_RANGE, Code.NOT_FINITE, Code.WRONG_TYPE, Code.WRONG_SHAPE, Code.UNKNOWN),
    "correct it",
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something is not done.

    Its text is ``WHERE: SUBJECT PROBLEM (CAUSE), expected EXPECTED; REMEDY``, without what is empty.

    Attributes:
        code: the kind, of `Code` or of an enum of the room's own.
        subject: what is wrong: a file, a key, a stream.
        value: what it is; `ABSENT` where there is none to tell.
        expected: what it should be.
        remedy: what to do, an imperative; empty: the code's own.
        problem: the predicate, in which ``{value}`` stands for the value; empty: the code's own, else "is {value}".
        where: what surrounds the subject, from the outside in: the file, then the key.
        cause: the exception or refusal behind it.
    """

    code: Enum
    subject: str = ""
    value: Any = ABSENT
    expected: str = ""
    remedy: str = ""
    problem: str = ""
    where: tuple[str, ...] = ()
    cause: object = None

    def __str__(self) -> str:
        predicate = self.problem
        if not predicate and isinstance(self.code, Code):
            valued = {Code.MISSING: "lacks {value}"}.get(self.code, "is {value}")
            predicate = _PROBLEMS.get(self.code) or ("" if self.value is ABSENT else valued)
        if self.value is not ABSENT:  # else the braces are somebody else's
            shown = as_text(self.value)
            predicate = predicate.replace("{value}", str(shown))
        text = " ".join(filter(None, (self.subject, predicate)))
        if self.cause is not None:
            text += f" ({cause_text(self.cause)})"
        if self.expected:
            text += f", expected {self.expected}"
        if remedy := self.remedy or (_REMEDIES.get(self.code, "") if isinstance(self.code, Code) else ""):
            text += f"; {remedy}"
        return ": ".join((*self.where, text))

    def within(self, where: str) -> Refusal:
        """Return the same refusal, with what surrounds it."""
        return replace(self, where=(where, *self.where))


_E = TypeVar("_E", bound="HptError")


class HptError(Exception):
    """A mistake that the user can correct.

    It carries a `Refusal`, and its text is that one sentence. The command line prints it and leaves with exit status 2;
    a node logs it and refuses the transition. Code that wants to know what happened reads the fields, never the text.

    Attributes:
        refusal: all fields.
    """

    def __init__(
        self,
        code: Enum,
        subject: str = "",
        value: Any = ABSENT,
        *,
        problem: str = "",
        expected: str = "",
        remedy: str = "",
        known: Iterable[str] | None = None,
        where: tuple[str, ...] = (),
        cause: object = None,
    ) -> None:
        """Make an error of its fields.

        Args:
            code, subject, value, problem, expected, remedy, where, cause: as in `Refusal`.
            known: the names that were possible: makes `expected` where that is empty, and a remedy of the closest one.
        """
        if known is not None:
            names = [str(name) for name in known]
            meant, listed = did_you_mean(str(value), names).removeprefix("; "), ", ".join(names) or "none"
            if not (meant and len(listed) > LONGEST_LIST):  # the list would hide the only name that matters
                expected = expected or f"one of {shorten(listed, LONGEST_LIST)}"
            remedy = meant or remedy
        self.refusal = Refusal(code, subject, value, expected, remedy, problem, where, cause)
        super().__init__(str(self.refusal))

    @classmethod
    def of(cls: type[_E], refusal: Refusal) -> _E:
        """Return an error with the fields of a refusal."""
        error = cls.__new__(cls)
        error.refusal = refusal
        Exception.__init__(error, str(refusal))
        return error

    def within(self: _E, where: str) -> _E:
        """Return the same error, with what surrounds its subject, such as the file; raise it ``from`` this one."""
        error = type(self).of(self.refusal.within(where))
        error.__dict__ = {**self.__dict__, **error.__dict__}
        return error

    def __reduce__(self) -> Any:
        # An exception is pickled by its text otherwise, and comes back from another process without its fields.
        return _restore, (type(self), self.refusal.code, self._fields(), self.__dict__)

    def _fields(self) -> tuple[Any, ...]:
        refusal = self.refusal
        cause = None if refusal.cause is None else cause_text(refusal.cause)
        return (
            refusal.subject,
            refusal.value,
            refusal.expected,
            refusal.remedy,
            refusal.problem,
            refusal.where,
            cause,
        )

    @property
    def code(self) -> Enum:
        """The kind of mistake."""
        return self.refusal.code

    @property
    def subject(self) -> str:
        """What is wrong."""
        return self.refusal.subject

    @property
    def value(self) -> Any:
        """What the subject is."""
        return self.refusal.value

    @property
    def expected(self) -> str:
        """What it should be."""
        return self.refusal.expected

    @property
    def where(self) -> tuple[str, ...]:
        """What surrounds the subject, from the outside in."""
        return self.refusal.where

    @property
    def remedy(self) -> str:
        """What to do."""
        return self.refusal.remedy


def _restore(cls: type[HptError], code: Enum, fields: tuple[Any, ...], state: dict[str, Any]) -> HptError:
    error = cls.of(Refusal(code, *fields))
    error.__dict__.update({name: value for name, value in state.items() if name != "refusal"})
    return error


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` when a known name is close to `name`, else an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def as_text(value: object) -> str:
    """Return a value as a sentence shows it: text quoted, numbers short, no more than `LONGEST_VALUE` characters."""
    if isinstance(value, Path):
        value = str(value)
    if hasattr(value, "tolist"):  # of NumPy, whose repr names its type
        value = value.tolist()
    if isinstance(value, float):
        return f"{value:g}"
    return shorten(repr(value), LONGEST_VALUE)


def cause_text(cause: object, most: int = LONGEST_CAUSE) -> str:
    """Return the text of an exception on one line, no more than `most` characters; its class where it has none."""
    text = " ".join(str(cause).split())
    if isinstance(cause, OSError) and cause.strerror:  # without its number
        text = cause.strerror if cause.filename is None else f"{cause.strerror}: {str(cause.filename)!r}"
    return shorten(text, most) or type(cause).__name__


def format_count(count: int, noun: str) -> str:
    """Return a number of things for people: ``"1 bag"``, ``"2 bags"``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def shorten(text: str, most: int) -> str:
    """Return the text, cut after `most` characters with an ellipsis in their last position."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
