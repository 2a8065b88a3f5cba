# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A policy at work on a robot: one observation after the other, each picture encoded once.

A window of T ticks moves on by one tick at a time, so that T - 1 of its frames have been seen before. Their features
are retained, by the ticks' keys, and nothing is allocated from one step to the next that is as large as a picture.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hpt_ros.errors import Code
from hpt_ros.model.backends import load_backend
from hpt_ros.model.backends.backend import Backend, example_arrays
from hpt_ros.model.inputs import INTEGERS, Array, InputError, Inputs
from hpt_ros.model.modalities import Pictures
from hpt_ros.model.policy import Policy


class InferenceSession:
    """Runs a policy through a backend, for one robot. Not to be used by two threads at once."""

    def __init__(
        self, policy: Policy, *, backend: str = "eager", precision: str = "float32", threads: int = 0
    ) -> None:
        """Load the backend, which takes as long as it takes; afterwards every step is equally fast.

        Args:
            policy: in evaluation mode, with statistics, on the device that it is to run on.
            backend: a name of `hpt_ros.backends.BACKENDS`.
            precision: "float32", "bfloat16" or "int8", where the backend has it.
            threads: of the CPU; 0 leaves torch's number.

        Raises:
            HptError: the backend is unknown, is not installed, or cannot run this policy.
        """
        self.policy = policy
        self.backend: Backend = load_backend(backend, policy, precision=precision, threads=threads)
        with torch.inference_mode():
            # What the backend reads, always at the same position: written before each step, never made anew.
            self._arrays = example_arrays(policy)
            self._caches = {
                name: _FeatureCache(modality, self.backend, self._arrays[modality.names[0]])
                for name, modality in policy.modalities.items()
                if isinstance(modality, Pictures) and name in policy.encoders
            }

    def observe(self, frames: Mapping[str, object], key: Hashable) -> None:
        """Encode the pictures of one tick ahead of the `predict` that will want them.

        Args:
            frames: "image" uint8 (V, H, W, 3) and "depth" uint16 (V, H, W), those that the policy encodes, or with
                the axes (1, 1) of batch and time before them; other entries are left alone, and a modality that is
                not there is left for `predict`.
            key: the tick's, as `predict` will be given it.

        Raises:
            InputError: an array of another shape or dtype.
        """
        for name, cache in self._caches.items():
            if name in frames:
                cache.encode(frames[name], key)

    @torch.inference_mode()
    def predict(self, inputs: Inputs, keys: Sequence[Hashable]) -> npt.NDArray[np.float32]:
        """Return the action chunk (horizon, Da), float32, raw units: a new array.

        Args:
            inputs: as for `Policy.predict`, batch 1, with all T observations. Of "image" and "depth" only those are
                looked at whose key is not known yet; T frames in a list (or tuple) do as well as an array
                (1, T, V, H, W, ...), and need not be copied together.
            keys: one a tick, oldest first; equal keys mean equal frames (an episode's first tick is repeated).

        Raises:
            InputError: inputs that do not fit the policy, or a number of keys other than T.
        """
        horizon = self.policy.config.observation_horizon
        if len(keys) != horizon:
            raise InputError(
                Code.WRONG_SHAPE, f"{len(keys)} keys", problem="were given",
                expected=f"one for each of the {horizon} ticks of the observation horizon",
                remedy="repeat the first tick's where an episode has fewer",
            )  # fmt: skip
        given: dict[str, Array | Sequence[Array] | Sequence[str]] = {}
        for name, value in inputs.items():
            cache = self._caches.get(name)
            if cache is None:
                given[name] = value
            else:
                cache.fill(value, keys)
                given[cache.features_name] = cache.window
        checked = self.policy.check(given)
        arrays = {name: self._arrays[name] for name in checked}
        for name, value in checked.items():
            if value.shape != arrays[name].shape:
                raise InputError(
                    Code.WRONG_SHAPE, repr(name), tuple(value.shape),
                    problem="is of shape {value}",
                    expected=f"{tuple(arrays[name].shape)}: one robot, with all ticks of the observation horizon",
                    remedy="pass those",
                )  # fmt: skip
            if value is not arrays[name]:
                arrays[name].copy_(value)
        chunk: npt.NDArray[np.float32] = self.backend.act(arrays).to("cpu").numpy().copy()
        return chunk

    def reset(self) -> None:
        """Forget the frames seen: an episode begins, and keys may mean other frames."""
        for cache in self._caches.values():
            cache.clear()


class _FeatureCache:
    """Features of the newest T + 1 ticks: a window's, and one encoded ahead while the window is still wanted."""

    def __init__(self, modality: Pictures, backend: Backend, window: Tensor) -> None:
        self.modality = modality
        self.features_name = modality.names[0]
        self.backend = backend
        self.window = window  # (1, T, V, cells, width), oldest first
        self._slots = torch.empty((window.shape[1] + 1, *window.shape[2:]), device=window.device)
        dtype = INTEGERS[modality.dtype]
        self._frame = torch.empty(modality.frame, dtype=dtype, device=window.device)
        on_cpu = window.device.type == "cpu"
        self._host = self._frame if on_cpu else torch.empty(modality.frame, dtype=dtype, pin_memory=True)
        self._slot_of: dict[Hashable, int] = {}  # the least recently encoded first

    def clear(self) -> None:
        self._slot_of.clear()

    def fill(self, frames: object, keys: Sequence[Hashable]) -> None:
        """Put the window of these keys together; encode what is missing from `frames`."""
        for index, key in enumerate(keys):
            if key not in self._slot_of:
                self.encode(self._one_of(frames, index), key, keep=frozenset(keys))
        for index, key in enumerate(keys):
            self.window[0, index].copy_(self._slots[self._slot_of[key]])

    @torch.inference_mode()
    def encode(self, frame: object, key: Hashable, keep: frozenset[Hashable] = frozenset()) -> None:
        """Encode a tick's frame into a free slot, or that of the oldest tick which is not to be retained."""
        taken = self._take(frame)
        if key in self._slot_of:
            slot = self._slot_of.pop(key)
        elif len(self._slot_of) < len(self._slots):
            slot = (set(range(len(self._slots))) - set(self._slot_of.values())).pop()
        else:
            slot = self._slot_of.pop(next(old for old in self._slot_of if old not in keep))
        self._slots[slot].copy_(self.backend.encode(self.modality.name, taken))
        self._slot_of[key] = slot

    def _one_of(self, frames: object, index: int) -> object:
        name, horizon = self.modality.name, self.window.shape[1]
        if isinstance(frames, (list, tuple)):
            if len(frames) != horizon:
                raise InputError(
                    Code.WRONG_SHAPE, repr(name), len(frames),
                    problem="is a list of {value} frames", expected=f"{horizon}, one a tick",
                    remedy="pass those",
                )  # fmt: skip
            return frames[index]
        if isinstance(frames, (np.ndarray, Tensor)) and frames.ndim > 2 and frames.shape[:2] == (1, horizon):
            return frames[0, index]
        shape = f"of shape {tuple(frames.shape)}" if isinstance(frames, (np.ndarray, Tensor)) else "no array"
        raise InputError(
            Code.WRONG_SHAPE, repr(name), problem=f"is {shape}",
            expected=f"(1, {horizon}, {', '.join(map(str, self.modality.frame))}) or a list of {horizon} "
            "frames", remedy="pass all ticks of the observation horizon",
        )  # fmt: skip

    def _take(self, frame: object) -> Tensor:
        """Copy a frame to where the backend reads it; its array may be read-only, or change after the call."""
        spec = self.modality.pictures
        shapes = (spec.tail, (1, 1, *spec.tail))
        if not isinstance(frame, (np.ndarray, Tensor)):
            came = f"a {type(frame).__name__}"
        elif tuple(frame.shape) in shapes and str(frame.dtype).removeprefix("torch.") == spec.dtype:
            if isinstance(frame, Tensor):
                return self._frame.copy_(frame.reshape(spec.tail))
            np.copyto(self._host.numpy(), frame.reshape(spec.tail))
            return self._frame if self._frame is self._host else self._frame.copy_(self._host)
        else:
            came = f"{str(frame.dtype).removeprefix('torch.')} {tuple(frame.shape)}"
        raise InputError(
            Code.WRONG_SHAPE, f"a tick's {spec.name!r}", problem=f"is {came}",
            expected=f"{spec.dtype} ({', '.join(map(str, spec.tail))})",
            remedy="shape it as the policy's embodiment says",
        )  # fmt: skip
