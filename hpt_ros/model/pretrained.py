# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Image encoders of timm and transformers, imported only when a configuration names them.

`complete_image_encoder` looks at the named model once, when a training starts, and stores what rebuilds it; from then
on neither a hub nor a folder is needed, and weights come with the policy's own (`hpt_ros.model.pretrained_weights`).
No code of a model's repository is ever run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hpt_ros.errors import Code
from hpt_ros.extras import require_extra
from hpt_ros.model.config_error import ConfigError
from hpt_ros.model.encoder_config import (
    EncoderArchitecture,
    ImageEncoderConfig,
    LibraryEncoderConfig,
    TimmConfig,
)
from hpt_ros.model.weight_files import HUB

# Arguments that would make timm fetch or read something.
TIMM_FETCHES = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir")
# Values of a transformers configuration that say nothing about the network, or that name code to run.
NOT_STRUCTURE = ("transformers_version", "auto_map", "_name_or_path", "architectures", "dtype", "torch_dtype")
PREPROCESSOR = "preprocessor_config.json"
PIL_INTERPOLATION = {2: "bilinear", 3: "bicubic"}
MOST_SKIPPED_TOKENS = 16  # a class token and registers; DINOv2 has up to 5


class LibraryEncoder(nn.Module):
    """A network of timm or transformers: (N, H, W, 3) uint8 to (N, cells, cell_width), preprocessing inside.

    Frames are resized to the network's square, never cropped: what a robot handles may be at the frame's edge.
    Its state-dict names are `network.` and then the library's own.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, kind: str, architecture: EncoderArchitecture) -> None:
        """Build the network with random weights.

        Args:
            kind: "timm" or "transformers".
            architecture: as `complete_image_encoder` stores it.

        Raises:
            HptError: the library is not installed, or does not know the architecture.
        """
        super().__init__()
        self.network = build_network(kind, architecture)
        self.cells, self.cell_width = architecture.cells, architecture.cell_width
        self.architecture = architecture
        self.of_timm = kind == "timm"
        for name in ("mean", "std"):
            value = torch.tensor(getattr(architecture, name)).reshape(1, 3, 1, 1)
            self.register_buffer(name, value, persistent=False)

    def preprocess(self, frames: Tensor) -> Tensor:
        """Scale to [0, 1], resize (antialiased), and normalise: (N, H, W, 3) uint8 to (N, 3, side, side)."""
        side = (self.architecture.side_px, self.architecture.side_px)
        x = frames.permute(0, 3, 1, 2).to(self.mean.dtype) / 255.0
        if x.shape[-2:] != side:
            mode = self.architecture.interpolation
            x = functional.interpolate(x, side, mode=mode, align_corners=False, antialias=True)
            x = x.clamp(0.0, 1.0)  # bicubic interpolation overshoots at edges
        return (x - self.mean) / self.std

    def forward(self, frames: Tensor) -> Tensor:
        """Return cells (N, cells, cell_width), row by row from the top left, of frames (N, H, W, 3) uint8."""
        return self.cells_of(self.preprocess(frames))

    def cells_of(self, x: Tensor) -> Tensor:
        """Return cells (N, cells, cell_width) of preprocessed frames (N, 3, side, side)."""
        features = run_network(self.network, self.of_timm, x)
        match self.architecture.layout:
            case "tokens":
                return features[:, self.architecture.skipped_tokens :]
            case "channels_last":
                return features.flatten(1, 2)
            case _:
                return features.flatten(2).transpose(1, 2)


def library_encoder(config: LibraryEncoderConfig) -> LibraryEncoder:
    """Build the encoder of a configuration that `complete_image_encoder` has completed."""
    return LibraryEncoder(config.kind, require_architecture(config))


def require_architecture(config: LibraryEncoderConfig) -> EncoderArchitecture:
    """Return what rebuilds the network.

    Raises:
        ConfigError: the model has not been looked at yet.
    """
    if config.architecture is None:
        raise ConfigError(
            Code.MISSING, f"the image encoder {config.kind!r}", config.model,
            problem="names the model {value}, but image_encoder.architecture is missing",
            remedy="start from a recipe with 'hpt finetune', which fills it in, or call "
            "complete_image_encoder",
        )  # fmt: skip
    return config.architecture


def complete_image_encoder(config: ImageEncoderConfig) -> ImageEncoderConfig:
    """Return the configuration with the architecture of the named model; unchanged if there is none to fill in.

    Raises:
        HptError: the library is not installed, or the model is unknown, cannot be fetched, or has no cells.
    """
    if not isinstance(config, LibraryEncoderConfig) or config.architecture is not None:
        return config
    describe = describe_timm if isinstance(config, TimmConfig) else describe_transformers
    return replace(config, architecture=describe(config.model.removeprefix(HUB), config.side_px))


def describe_timm(model: str, side_px: int | None) -> EncoderArchitecture:
    """Look at a model of timm: a name (`timm.list_models()`), user/repo of the hub, or a folder.

    Raises:
        HptError: timm is not installed, the model is unknown, or its features are no cells.
    """
    timm = _timm()
    name = model
    if Path(model).is_dir():
        name = f"local-dir:{model}"
    elif "/" in model and not model.startswith("hf-hub:"):
        name = f"hf-hub:{model}"
    try:
        network = timm.create_model(name, pretrained=False, num_classes=0)
        facts = network.pretrained_cfg
        arguments = {key: value for key, value in network._model_args.items() if key != "num_classes"}
        if side_px is not None and facts.get("fixed_input_size"):
            arguments["img_size"] = side_px
        text = json.dumps(arguments)
    except (
        Exception
    ) as error:  # unknown name, no network, a damaged folder: the library's own message says which
        raise _unreadable("timm", model, error) from error
    built_for = arguments.get("img_size") or facts["input_size"][1:]  # what it was trained with may differ
    height, width = (built_for, built_for) if isinstance(built_for, int) else built_for
    if side_px is not None:
        height = width = side_px
    wanted = _choose_architecture(
        *("timm", model, facts["architecture"], text, (int(height), int(width))),
        *(facts["mean"], facts["std"], facts["interpolation"]),
    )
    return _measure("timm", model, wanted, getattr(network, "num_prefix_tokens", None))


def describe_transformers(model: str, side_px: int | None) -> EncoderArchitecture:
    """Look at a vision model of transformers: user/repo of the hub, or a folder with its two JSON files.

    Raises:
        HptError: transformers is not installed, or the model is unknown, cannot be read or has no cells.
    """
    transformers = _transformers()
    try:
        config = transformers.AutoConfig.from_pretrained(model, trust_remote_code=False)
        arguments = {key: value for key, value in config.to_diff_dict().items() if key not in NOT_STRUCTURE}
        text = json.dumps(arguments)
        pictures = _preprocessor(model)
    except (
        Exception
    ) as error:  # unknown name, no network, a damaged folder: the library's own message says which
        raise _unreadable("transformers", model, error) from error
    if hasattr(config, "vision_config") or not hasattr(config, "num_channels"):
        raise ConfigError(
            Code.INVALID, f"the model {model!r} of transformers", config.model_type, problem="is a {value}",
            expected="one of images alone",
            remedy="name such a model, or its image tower in timm (as vit_base_patch16_siglip_224)",
        )  # fmt: skip
    resample = pictures.get("resample", 3)
    size = (side_px, side_px) if side_px is not None else _size_of(pictures, config, model)
    wanted = _choose_architecture(
        *("transformers", model, str(config.model_type), text, size),
        *(pictures.get("image_mean"), pictures.get("image_std")),
        PIL_INTERPOLATION.get(resample, str(resample)),
    )
    return _measure("transformers", model, wanted, None)


def build_network(kind: str, architecture: EncoderArchitecture) -> nn.Module:
    """Build a network with random weights from what a checkpoint stores; nothing is fetched.

    Raises:
        HptError: the library is not installed, or does not know the architecture or an argument.
    """
    name, arguments = architecture.name, architecture.arguments
    try:
        given = json.loads(arguments)
        if not isinstance(given, dict):
            raise TypeError(f"they are a {type(given).__name__}")
    except (ValueError, TypeError) as error:
        raise ConfigError(
            Code.INVALID, f"image_encoder.architecture.arguments {arguments[:80]!r}",
            problem="are no JSON mapping", remedy="take them from the checkpoint's config.yaml unchanged",
            cause=error,
        ) from error  # fmt: skip
    library: Any = _timm() if kind == "timm" else _transformers()
    try:
        if kind == "timm":
            if not library.is_model(name) or any(key in TIMM_FETCHES for key in given):
                raise ValueError("unknown, or with arguments that fetch something")
            network = library.create_model(name, pretrained=False, num_classes=0, **given)
        else:
            config = library.AutoConfig.for_model(
                name, **{k: v for k, v in given.items() if k != "model_type"}
            )
            network = library.AutoModel.from_config(config, dtype=torch.float32, trust_remote_code=False)
    except (
        Exception
    ) as error:  # each library raises its own kinds for names and arguments that it does not know
        raise ConfigError(
            Code.UNSUPPORTED, f"{kind} {library.__version__}", name,
            problem="cannot build the image encoder {value}",
            remedy=f"install the version that it was made with, {architecture.version}", cause=error,
        ) from error  # fmt: skip
    pooler = getattr(network, "pooler", None)
    if isinstance(pooler, nn.Module) and any(True for _ in pooler.parameters()):
        network.pooler = None  # reads the class token, which we do not
    assert isinstance(network, nn.Module)
    return network


def run_network(network: nn.Module, of_timm: bool, pixels: Tensor) -> Tensor:
    """Return the last features (N, tokens, width), (N, width, rows, columns) or (N, rows, columns, width)."""
    if of_timm:
        features: Tensor = network.forward_features(pixels)  # type: ignore[operator]
        return features
    tokens: Tensor = network(pixel_values=pixels).last_hidden_state
    return tokens


def _measure(kind: str, model: str, wanted: EncoderArchitecture, skipped: int | None) -> EncoderArchitecture:
    """Run the network once on a blank frame, and describe what comes."""
    size = f"{wanted.side_px}x{wanted.side_px}"
    network = build_network(kind, wanted).eval()
    try:
        with torch.inference_mode():
            features = run_network(network, kind == "timm", torch.zeros(1, 3, wanted.side_px, wanted.side_px))
    except Exception as error:
        raise ConfigError(
            Code.UNSUPPORTED, f"the model {model!r} of {kind}", problem=f"cannot take frames of {size} pixels",
            remedy="set image_encoder.side_px to a size that it can take", cause=error,
        ) from error  # fmt: skip
    shape = tuple(features.shape[1:])
    if len(shape) == 2:
        # The grid is square, as the frame is; what is more than a square are the class token and registers.
        skipped = shape[0] - math.isqrt(shape[0]) ** 2 if skipped is None else skipped
        found = replace(wanted, cells=shape[0] - skipped, cell_width=shape[1], skipped_tokens=skipped)
        if skipped <= MOST_SKIPPED_TOKENS:
            return found
    elif len(shape) == 3:
        last = getattr(network, "output_fmt", "NCHW") == "NHWC"
        rows, columns, width = shape if last else (*shape[1:], shape[0])
        layout = "channels_last" if last else "channels_first"
        return replace(wanted, layout=layout, cells=rows * columns, cell_width=width)
    raise ConfigError(
        Code.WRONG_SHAPE, f"the model {model!r} of {kind}",
        problem=f"gives features of shape {shape} for a frame of {size} pixels", expected="a grid of cells",
        remedy="use a vision transformer or a convolutional network",
    )  # fmt: skip


def _choose_architecture(
    kind: str, model: str, name: str, arguments: str, size: tuple[int, int], mean: Any, std: Any, how: str
) -> EncoderArchitecture:
    """Return the architecture, whose features have not been looked at yet."""
    if size[0] != size[1] or how not in PIL_INTERPOLATION.values() or mean is None or std is None:
        raise ConfigError(
            Code.WRONG_SHAPE, f"the model {model!r} of {kind}",
            problem=f"wants frames of {size[0]}x{size[1]} pixels, {how} interpolation, mean {mean} and std "
            f"{std}", expected="a square, bicubic or bilinear interpolation, and three numbers each",
            remedy="use another model, or set image_encoder.side_px for another size",
        )  # fmt: skip
    library: Any = _timm() if kind == "timm" else _transformers()
    return EncoderArchitecture(
        name=name,
        side_px=size[0],
        mean=tuple(map(float, mean)),
        std=tuple(map(float, std)),
        layout="tokens",
        cells=1,
        cell_width=1,
        interpolation=how,
        arguments=arguments,
        version=library.__version__,
    )


def _timm() -> Any:
    return require_extra("timm", extra="timm", what="the image encoder 'timm'")


def _transformers() -> Any:
    return require_extra("transformers", extra="transformers", what="the image encoder 'transformers'")


def _unreadable(kind: str, model: str, error: Exception) -> ConfigError:
    return ConfigError(
        Code.UNREADABLE, f"the image encoder {kind!r}", model, problem="cannot be made from the model {value}",
        remedy="check the name and the network, or give a folder that holds the model", cause=error,
    )  # fmt: skip


def _preprocessor(model: str) -> Mapping[str, Any]:
    """Read how a model of transformers wants its pictures, of a folder or from the hub."""
    path = Path(model) / PREPROCESSOR
    if not Path(model).is_dir():
        from huggingface_hub import hf_hub_download

        path = Path(hf_hub_download(model, PREPROCESSOR))
    pictures = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(pictures, dict):
        raise ValueError(f"{PREPROCESSOR} is no mapping")
    return pictures


def _size_of(pictures: Mapping[str, Any], config: Any, model: str) -> tuple[int, int]:
    """Return rows and columns of what the network gets; its own preparation may resize more and crop then."""
    for key in ("crop_size", "size"):
        size = pictures.get(key)
        if key == "crop_size" and pictures.get("do_center_crop") is False:
            continue
        if isinstance(size, int):
            return size, size
        if isinstance(size, Mapping) and "height" in size:
            return int(size["height"]), int(size["width"])
        if isinstance(size, Mapping) and "shortest_edge" in size:
            return int(size["shortest_edge"]), int(size["shortest_edge"])
    side = getattr(config, "image_size", None)
    if not isinstance(side, int):
        raise ConfigError(
            Code.MISSING, f"the model {model!r} of transformers",
            problem="does not say how large its pictures are", remedy="set image_encoder.side_px",
        )  # fmt: skip
    return side, side
