"""Checks of what is passed into a policy; each error names what was expected and what came."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hpt_ros.errors import HptError, did_you_mean
from hpt_ros.model.config import IMAGE, STATE, PolicyConfig
from hpt_ros.model.encoders import feature_shape

IMAGE_FEATURES = "image_features"


class InputError(HptError):
    """An array does not fit the policy."""


def check_inputs(
    config: PolicyConfig, inputs: Mapping[str, Tensor | npt.NDArray[np.generic]], device: torch.device
) -> dict[str, Tensor]:
    """Return the inputs as tensors on `device`, in a new dict, or raise.

    Raises:
        InputError: a missing or unknown modality, a wrong dtype or shape, differing batch sizes or horizons, a value
            that is no finite number.
    """
    known = [IMAGE, IMAGE_FEATURES, STATE]
    for name in inputs:
        if name not in known:
            raise InputError(
                f"the input {name!r} is unknown; known are {', '.join(known)}{did_you_mean(name, known)}"
            )
    arrays: dict[str, Tensor] = {}
    for modality in config.modalities:
        arrays.update(_image(config, inputs, device) if modality == IMAGE else _state(config, inputs, device))
    surplus = [name for name in inputs if name not in arrays]
    if surplus:
        raise InputError(
            f"the input {surplus[0]!r} was passed, but the policy reads {', '.join(arrays)}; leave it out "
            "or use a policy trained with it"
        )
    first, *others = arrays
    for name in others:
        if arrays[name].shape[:2] != arrays[first].shape[:2]:
            raise InputError(
                f"the inputs differ in (batch, observations): {first!r} has {tuple(arrays[first].shape[:2])}, "
                f"{name!r} has {tuple(arrays[name].shape[:2])}; pass equally many"
            )
    return arrays


def check_targets(
    config: PolicyConfig,
    action: Tensor | npt.NDArray[np.generic],
    is_pad: Tensor | npt.NDArray[np.generic],
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Return the action chunk as float32 and the mask of real steps as bool, or raise."""
    target, pad = torch.as_tensor(action, device=device), torch.as_tensor(is_pad, device=device)
    _check("action", target, (config.action_horizon, config.action_dim), floating=True, batch_axes=("B",))
    if pad.dtype != torch.bool or tuple(pad.shape) != tuple(target.shape[:2]):
        raise InputError(
            f"is_pad is {str(pad.dtype).removeprefix('torch.')} {tuple(pad.shape)}, but bool "
            f"{tuple(target.shape[:2])} was expected; say for each step of the action whether it is padding"
        )
    if bool(pad.all()):
        raise InputError(
            "every step of the action chunk is padding, so that there is no loss; drop such samples"
        )
    return target.to(torch.float32), ~pad


def _image(
    config: PolicyConfig, inputs: Mapping[str, Tensor | npt.NDArray[np.generic]], device: torch.device
) -> dict[str, Tensor]:
    if IMAGE_FEATURES in inputs:
        features = torch.as_tensor(inputs[IMAGE_FEATURES], device=device)
        _check(IMAGE_FEATURES, features, (config.views, *feature_shape(config)), floating=True)
        _check_horizon(config, IMAGE_FEATURES, features)
        return {IMAGE_FEATURES: features.to(torch.float32)}
    if config.image_encoder.kind == "none":
        raise InputError(
            f"the input {IMAGE_FEATURES!r} is missing and the policy has no image encoder; "
            "pass precomputed features, not images"
        )
    if IMAGE not in inputs:
        raise InputError(
            f"the input {IMAGE!r} is missing, got {list(inputs)}; pass every modality of the policy"
        )
    images = torch.as_tensor(inputs[IMAGE], device=device)
    _check(IMAGE, images, (config.views, config.image_height, config.image_width, 3), floating=False)
    _check_horizon(config, IMAGE, images)
    return {IMAGE: images}


def _state(
    config: PolicyConfig, inputs: Mapping[str, Tensor | npt.NDArray[np.generic]], device: torch.device
) -> dict[str, Tensor]:
    if STATE not in inputs:
        raise InputError(
            f"the input {STATE!r} is missing, got {list(inputs)}; pass every modality of the policy"
        )
    state = torch.as_tensor(inputs[STATE], device=device)
    _check(STATE, state, (config.state_dim,), floating=True)
    _check_horizon(config, STATE, state)
    return {STATE: state.to(torch.float32)}


def _check(
    name: str,
    array: Tensor,
    tail: tuple[int, ...],
    *,
    floating: bool,
    batch_axes: tuple[str, ...] = ("B", "T"),
) -> None:
    good_type = array.is_floating_point() if floating else array.dtype == torch.uint8
    if (
        not good_type
        or array.ndim != len(batch_axes) + len(tail)
        or tuple(array.shape[len(batch_axes) :]) != tail
    ):
        kind = "float" if floating else "uint8"
        raise InputError(
            f"{name!r} is {str(array.dtype).removeprefix('torch.')} {tuple(array.shape)}, but {kind} "
            f"({', '.join((*batch_axes, *map(str, tail)))}) was expected; "
            "shape it as the policy's embodiment says"
        )
    if array.shape[0] == 0:
        raise InputError(f"{name!r} has an empty batch; pass at least one sample")
    if floating and not bool(torch.isfinite(array).all()):
        bad = (~torch.isfinite(array)).nonzero()[0].tolist()
        raise InputError(
            f"{name!r} holds {array[tuple(bad)].item()} at index {bad}, but finite numbers were expected; "
            "mend or drop the sample"
        )


def _check_horizon(config: PolicyConfig, name: str, array: Tensor) -> None:
    steps, horizon = array.shape[1], config.observation_horizon
    fewest = 1 if config.horizon_masking else horizon
    if not fewest <= steps <= horizon:
        expected = f"{fewest} to {horizon}" if fewest < horizon else f"{horizon}"
        raise InputError(
            f"{name!r} has {steps} observations in time, but the policy's observation horizon needs {expected}; "
            "pass the newest ones"
        )
