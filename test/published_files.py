# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Folders as the released HPT code publishes them, made by hand, and what its network computes of their weights.

Nothing here uses hpt_ros: the names are those of the reference files, the sums are written out from the paper's code.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor
from torch.nn import functional

EMBODIMENT = """
format: hpt_ros/embodiment/1
name: small_arm
task: wipe the table
tick_hz: 10.0
observation_horizon: 2
streams:
  - {name: front, modality: image, topic: /front, type: sensor_msgs/msg/Image, rate_hz: 10.0, tolerance_s: 0.15,
     image: {height: 32, width: 48}}
  - {name: wrist, modality: image, topic: /wrist, type: sensor_msgs/msg/Image, rate_hz: 10.0, tolerance_s: 0.15,
     image: {height: 32, width: 48}}
  - {name: joints, modality: state, topic: /joint_states, type: sensor_msgs/msg/JointState, rate_hz: 100.0,
     tolerance_s: 0.1, joints: [a, b], fields: [position], unit: rad}
action:
  topic: /command
  type: trajectory_msgs/msg/JointTrajectory
  names: [a, b]
  rate_hz: 50.0
  horizon: 4
  limits:
    - {name: a, lower: -3.0, upper: 3.0, velocity: 2.0, acceleration: 9.0}
    - {name: b, lower: -3.0, upper: 3.0, velocity: 2.0, acceleration: 9.0}
"""


def published_config(**changes: Any) -> dict[str, Any]:
    """A config.yaml as the released code saves it: references unresolved, most keys of no meaning here."""
    config: dict[str, Any] = {
        "seed": 42,
        "output_dir": "${hydra:runtime.output_dir}",
        "domains": "lab_arm",
        "dataset": {
            "horizon": 1,
            "action_horizon": 4,
            "observation_horizon": 2,
            "precompute_feat": True,
            "image_encoder": "resnet",
            "use_multiview": True,
            "normalize_state": True,
            "proprioception_expand": False,
        },
        "network": {
            "_target_": "hpt.models.policy.Policy",
            "embed_dim": 32,
            "num_blocks": 2,
            "num_heads": 4,
            "drop_path": 0.1,
            "use_modality_embedding": True,
            "observation_horizon": "${dataset.horizon}",
            "action_horizon": 1,
            "token_postprocessing": "mean",
            "no_trunk": False,
            "finetune_encoder": False,
        },
        "stem": {
            "modalities": ["image", "state"],
            "modality_embed_dim": "${network.embed_dim}",
            "normalize_state": "${dataset.normalize_state}",
            "precompute_feat": True,
            "image_encoder": "${dataset.image_encoder}",
            "crossattn_dim_head": 8,
            "crossattn_heads": 4,
            "crossattn_modality_dropout": 0.1,
            "observation_horizon": "${dataset.observation_horizon}",
            "random_horizon_masking": True,
            "crossattn_latent": {"image": 6, "state": 5},
            "image": {
                "_target_": "hpt.models.policy_stem.MLP",
                "input_dim": 512,
                "output_dim": "${network.embed_dim}",
                "widths": [16],
                "num_of_copy": 2,
            },
            "state": {
                "_target_": "hpt.models.policy_stem.MLP",
                "input_dim": 2,
                "output_dim": "${network.embed_dim}",
                "widths": [16, 24],
            },
        },
        "head": {
            "_target_": "hpt.models.policy_head.MLP",
            "input_dim": "${network.embed_dim}",
            "tanh_end": True,
            "output_dim": 8,
            "widths": [20, 12],
            "normalize_action": "${head.tanh_end}",
            "dropout": True,
        },
    }
    for name, value in changes.items():
        *path, last = name.split("__")
        place = config
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    return config


def published_tensors(
    *, dropout: bool = True, copies: int = 2, seed: int = 3, more: dict[str, int] | None = None
) -> dict[str, Tensor]:
    """A model.pth of domain lab_arm: two stems, an MLP head, normalisers; and a stem and head of another domain.

    `more` names further modalities of both, with the width of an entry; they get three tokens.
    """
    random = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random) / max(shape[-1], 1) ** 0.5

    width, tensors = 32, {}

    def linear(name: str, out: int, into: int) -> None:
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = draw(out, into), 0.1 * draw(out)

    def norm(name: str, size: int) -> None:
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = 1.0 + 0.1 * draw(size), 0.1 * draw(size)

    for block in ("trunk.trunk.blocks.0", "trunk.trunk.blocks.1"):
        tensors[f"{block}.attn.in_proj_weight"], tensors[f"{block}.attn.in_proj_bias"] = (
            draw(96, width),
            draw(96),
        )
        tensors[f"{block}.attn.bias_k"], tensors[f"{block}.attn.bias_v"] = (
            draw(1, 1, width),
            draw(1, 1, width),
        )
        linear(f"{block}.attn.out_proj", width, width)
        norm(f"{block}.norm_1", width)
        linear(f"{block}.mlp.fc1", 4 * width, width)
        linear(f"{block}.mlp.fc2", width, 4 * width)
        norm(f"{block}.norm_2", width)

    def attention(name: str) -> None:
        tensors[f"{name}.to_q.weight"], tensors[f"{name}.to_kv.weight"] = draw(32, width), draw(64, width)
        linear(f"{name}.to_out", width, 32)

    for domain in ("lab_arm", "kitchen"):
        image, state = f"stems.{domain}_image", f"stems.{domain}_state"
        tensors[f"{image}.tokens"], tensors[f"{state}.tokens"] = draw(1, 6, width), draw(1, 5, width)
        linear(f"{image}.net.0", 16, 512)
        linear(f"{image}.net.2", width, 16)
        linear(f"{state}.net.0", 16, 2)
        linear(f"{state}.net.2", 24, 16)
        norm(f"{state}.net.3", 24)
        linear(f"{state}.net.5", width, 24)
        attention(f"{image}.cross_attention")
        attention(f"{state}.cross_attention")
        for modality, into in (more or {}).items():
            name = f"stems.{domain}_{modality}"
            tensors[f"{name}.tokens"] = draw(1, 3, width)
            linear(f"{name}.net.0", 16, into)
            linear(f"{name}.net.2", width, 16)
            attention(f"{name}.cross_attention")
        if copies:
            for name in [name for name in tensors if name.startswith(f"{image}.net.")]:
                value = tensors.pop(name)
                for copy in range(copies):
                    tensors[name.replace(".net.", f".net.{copy}.")] = value
        head, gap = f"heads.{domain}.net", 1 if dropout else 0
        linear(f"{head}.0", 20, width)
        linear(f"{head}.2", 12, 20)
        norm(f"{head}.{3 + gap}", 12)
        linear(f"{head}.{5 + gap}", 8, 12)
        for feature in ("action", "state"):
            where = f"normalizer.{domain}.params_dict.{feature}"
            low, high = torch.tensor([-1.5, 0.25]), torch.tensor([2.0, 0.75])
            scale = 2.0 / (high - low)
            tensors |= {f"{where}.scale": scale, f"{where}.offset": -1.0 - scale * low}
            tensors |= {f"{where}.input_stats.min": low, f"{where}.input_stats.max": high}
            tensors |= {
                f"{where}.input_stats.mean": 0.5 * (low + high),
                f"{where}.input_stats.std": torch.ones(2),
            }
    for modality in ("image", "state", *(more or {})):
        tensors[f"modalities_tokens.{modality}"] = draw(1, 1, width)
    return tensors


def publish(
    folder: Path, config: dict[str, Any], tensors: dict[str, Tensor], *, name: str = "model.pth"
) -> Path:
    """Write a folder as it is published."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(tensors, folder / name)
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return folder


def publish_as_json(folder: Path) -> None:
    """Put config.json with resolved references in config.yaml's place."""
    text = (folder / "config.yaml").read_text(encoding="utf-8")
    config = yaml.safe_load(text.replace("${network.embed_dim}", "32").replace("${dataset.horizon}", "1"))
    (folder / "config.json").write_text(json.dumps(config, indent=4, sort_keys=True), encoding="utf-8")
    (folder / "config.yaml").unlink()


# --- the network, written out ----------------------------------------------------------------------------------------


def table(positions: int, width: int) -> Tensor:
    rows = []
    for position in range(positions):
        angles = torch.tensor([position / 10000 ** (2 * (j // 2) / width) for j in range(width)])
        even = torch.arange(width) % 2 == 0
        rows.append(torch.where(even, angles.sin(), angles.cos()))
    return torch.stack(rows)


def layer(t: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return x @ t[f"{name}.weight"].T + t[f"{name}.bias"]


def layer_norm(t: dict[str, Tensor], name: str, x: Tensor, eps: float) -> Tensor:
    mean, variance = x.mean(-1, keepdim=True), x.var(-1, unbiased=False, keepdim=True)
    return (x - mean) / (variance + eps).sqrt() * t[f"{name}.weight"] + t[f"{name}.bias"]


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    def split(x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], x.shape[1], heads, -1).transpose(1, 2)

    q, k, v = split(q), split(k), split(v)
    weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
    return (weights @ v).transpose(1, 2).flatten(2)


def stem(t: dict[str, Tensor], name: str, entries: Tensor) -> Tensor:
    x = entries + table(entries.shape[1], entries.shape[2])
    if f"{name}.net.0.0.weight" in t:  # the copies that are one network
        name_of = f"{name}.net.0"
    else:
        name_of = f"{name}.net"
    x = functional.silu(layer(t, f"{name_of}.0", x))
    if f"{name_of}.5.weight" in t:
        x = functional.silu(layer_norm(t, f"{name_of}.3", layer(t, f"{name_of}.2", x), 1e-5))
        x = layer(t, f"{name_of}.5", x)
    else:
        x = layer(t, f"{name_of}.2", x)
    queries = t[f"{name}.tokens"].expand(x.shape[0], -1, -1) @ t[f"{name}.cross_attention.to_q.weight"].T
    keys, values = (x @ t[f"{name}.cross_attention.to_kv.weight"].T).chunk(2, -1)
    return layer(t, f"{name}.cross_attention.to_out", attend(queries, keys, values, 4))


def trunk(t: dict[str, Tensor], x: Tensor, blocks: int) -> Tensor:
    for index in range(blocks):
        name = f"trunk.trunk.blocks.{index}"
        y = layer_norm(t, f"{name}.norm_1", x, 1e-6)
        q, k, v = (y @ t[f"{name}.attn.in_proj_weight"].T + t[f"{name}.attn.in_proj_bias"]).chunk(3, -1)
        k = torch.cat((k, t[f"{name}.attn.bias_k"].expand(x.shape[0], 1, -1)), 1)
        v = torch.cat((v, t[f"{name}.attn.bias_v"].expand(x.shape[0], 1, -1)), 1)
        x = x + layer(t, f"{name}.attn.out_proj", attend(q, k, v, 4))
        y = layer_norm(t, f"{name}.norm_2", x, 1e-6)
        x = x + layer(t, f"{name}.mlp.fc2", functional.gelu(layer(t, f"{name}.mlp.fc1", y)))
    return x


def act(
    t: dict[str, Tensor],
    domain: str,
    cells: Tensor,
    state: Tensor,
    *,
    tanh: bool = True,
    prev_actions: Tensor | None = None,
    language: Tensor | None = None,
) -> Tensor:
    """Raw actions (B, 4, 2) of cells (B, T, V, 49, 512), raw states (B, T, 2), raw actions before, embeddings."""
    normaliser = f"normalizer.{domain}.params_dict"
    state = state * t[f"{normaliser}.state.scale"] + t[f"{normaliser}.state.offset"]
    tokens = [stem(t, f"stems.{domain}_image", cells.flatten(1, 3)), stem(t, f"stems.{domain}_state", state)]
    if prev_actions is not None:
        scale, offset = t[f"{normaliser}.action.scale"], t[f"{normaliser}.action.offset"]
        tokens.append(stem(t, f"stems.{domain}_prev_actions", prev_actions * scale + offset))
    if language is not None:
        tokens.append(stem(t, f"stems.{domain}_language", language))
    x = torch.cat(tokens, 1)
    feature = trunk(t, x + table(x.shape[1], x.shape[2]), 2).mean(1)
    head = f"heads.{domain}.net"
    gap = 1 if f"{head}.4.weight" in t else 0
    y = functional.silu(layer(t, f"{head}.0", feature))
    y = functional.silu(layer_norm(t, f"{head}.{3 + gap}", layer(t, f"{head}.2", y), 1e-5))
    y = layer(t, f"{head}.{5 + gap}", y)
    y = (y.tanh() if tanh else y).reshape(-1, 4, 2)
    return (y - t[f"{normaliser}.action.offset"]) / t[f"{normaliser}.action.scale"]
