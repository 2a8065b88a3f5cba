# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One observation of all streams at one time, or why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.errors import Refusal
from hpt_ros.modalities import LANGUAGE, STATE


@dataclass(frozen=True)
class Tick:
    """One observation, or why there is none.

    Attributes:
        index: k of the tick's time k / tick_hz.
        stamp_ns: the tick's time, header-stamp time in nanoseconds.
        arrays: stream name to its sample, of modalities whose samples lie side by side (`hpt_ros.modalities.Layout`),
            such as images uint8 RGB (height, width, 3); empty if the tick is invalid.
        vectors: modality to the joined vectors of all its streams, float64 (D,), in the order of
            `Embodiment.names_of`; without those of which a stream is absent; empty if the tick is invalid.
        ages_s: stream name to the tick's time minus the stamp of the newest sample used; infinite if there is none.
        missing: stream name to why it has no value at this tick, of `Absence`; empty if the tick is valid.
        restart: why the buffer was emptied since the tick before; None if it was not.
        texts: modality to its text, where it is not absent; empty if the tick is invalid.
        absent: name of a stream that the policy can do without to the reason why it has no value at this tick.
    """

    index: int
    stamp_ns: int
    arrays: Mapping[str, NDArray[Any]]
    vectors: Mapping[str, NDArray[np.float64]]
    ages_s: Mapping[str, float]
    missing: Mapping[str, Refusal]
    restart: Refusal | None = None
    texts: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[str, Refusal] = field(default_factory=dict)

    @property
    def valid(self) -> bool:
        """True if every stream that the policy needs has a value."""
        return not self.missing

    @property
    def state(self) -> NDArray[np.float64]:
        """The measured state, float64 (D,); (0,) where there is none."""
        return self.vectors.get(STATE, np.empty(0))

    @property
    def task(self) -> str:
        """The task's text; empty where no stream says it."""
        return self.texts.get(LANGUAGE, "")
