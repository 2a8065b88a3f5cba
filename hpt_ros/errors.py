# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The one error type that users are meant to see."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HptError(Exception):
    """A mistake that the user can mend.

    Its text is one sentence that names what was wrong, the value, what was expected and the remedy. The command
    line prints it and leaves with exit status 2; a node logs it and refuses the transition.
    """


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` when a known name is close to `name`, else an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""
