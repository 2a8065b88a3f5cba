# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""HPT written down once more, plainly and in numpy, for tests of parity: it shares no code with hpt_ros.model.

Everything is in double precision and one sample at a time, straight from the description of the network: what goes in
are the tensors of a state dict, the sizes that no tensor shows, and raw arrays without the batch axis. Pictures come as
features. Random numbers of training (dropout, masking, drop path) are left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class PlainHpt:
    """The sizes that the tensors do not show, and the tensors."""

    tensors: Mapping[str, Vector]
    domain: str
    modalities: tuple[str, ...]  # in the order of their tokens
    stem_heads: int
    trunk_heads: int
    depth: int
    pooling: str
    action_shape: tuple[int, int]
    adds_modality_tokens: bool = False
    head_kind: str = "mlp"  # or conv, decoder, gmm
    head_heads: int = 0  # of the decoder's cross-attention

    def act(self, arrays: Mapping[str, Vector]) -> Vector:
        """The raw action chunk (horizon, Da) of one sample; what is not in `arrays` is left out."""
        tokens = [self.stem(name, arrays[name]) for name in self.modalities if name in arrays]
        if self.pooling == "action_token":
            tokens.append(self.tensors[f"action_tokens.{self.domain}"][0])
        x = np.concatenate(tokens)
        x = x + table(len(x), x.shape[1])
        for index in range(self.depth):
            x = self.block(f"trunk.trunk.blocks.{index}.", x)
        return self.unnormalised(self.head(x))

    # --- stems -------------------------------------------------------------------------------------------------------

    def stem(self, name: str, raw: Vector) -> Vector:
        """Tokens (n, d) of one modality."""
        entries, positions = self.entries(name, raw)
        x, prefix = entries + positions, f"stems.{self.domain}_{name}."
        linears = sorted({int(key.split(".")[3]) for key in self.tensors if key.startswith(f"{prefix}net.")})
        for index in linears:
            layer = f"{prefix}net.{index}."
            if self.tensors[f"{layer}weight"].ndim == 1:
                x = silu(layer_norm(x, self.tensors[f"{layer}weight"], self.tensors[f"{layer}bias"], 1e-5))
            else:
                x = x @ self.tensors[f"{layer}weight"].T + self.tensors[f"{layer}bias"]
                between = (
                    f"{prefix}net.{index + 1}.weight" in self.tensors
                )  # a LayerNorm follows, then its SiLU
                x = x if between or index == linears[-1] else silu(x)
        tokens = self.cross_attention(f"{prefix}cross_attention.", self.tensors[f"{prefix}tokens"][0], x)
        if self.adds_modality_tokens:
            tokens = tokens + self.tensors[f"modalities_tokens.{name}"][0]
        return tokens

    def entries(self, name: str, raw: Vector) -> tuple[Vector, Vector]:
        """What enters a stem, (K, D), and what is added to tell its rows apart."""
        if name in ("image", "depth"):  # features (T, V, cells, D)
            rows = raw.reshape(-1, raw.shape[-1])
        elif name == "language":  # (L, E)
            rows = raw
        elif name == "pointcloud":  # (T, C, P, 3)
            steps, clouds = raw.shape[:2]
            entries: list[Vector] = []
            places: list[int] = []
            for step in range(steps):
                for cloud in range(clouds):
                    for point in self.normalised("pointcloud", raw[step, cloud]):
                        waves = [[2.0**k * math.pi * x for x in point] for k in range(8)]
                        angles = np.concatenate([np.asarray(wave) for wave in waves])
                        entries.append(np.concatenate((point, np.sin(angles), np.cos(angles))))
                        places.append(step * clouds + cloud)
            return np.array(entries), table(steps * clouds, 51)[places]
        else:  # (T, D), or tactile (T, A, n): one row a step and array
            rows = self.normalised("action" if name == "actions" else name, raw).reshape(-1, raw.shape[-1])
        return rows, table(len(rows), rows.shape[1])

    def limits(self, feature: str) -> tuple[Vector, Vector]:
        prefix = f"normalizer.{self.domain}.params_dict.{feature}.input_stats."
        return self.tensors[f"{prefix}min"], self.tensors[f"{prefix}max"]

    def normalised(self, feature: str, x: Vector) -> Vector:
        """To [-1, 1] over the training data's range."""
        low, high = self.limits(feature)
        return (x - low) / (high - low) * 2.0 - 1.0

    def unnormalised(self, x: Vector) -> Vector:
        low, high = self.limits("action")
        return low + (x + 1.0) / 2.0 * (high - low)

    def cross_attention(self, prefix: str, queries: Vector, context: Vector, heads: int = 0) -> Vector:
        q = queries @ self.tensors[f"{prefix}to_q.weight"].T
        keys, values = np.split(context @ self.tensors[f"{prefix}to_kv.weight"].T, 2, axis=1)
        mixed = attend(q, keys, values, heads or self.stem_heads)
        return mixed @ self.tensors[f"{prefix}to_out.weight"].T + self.tensors[f"{prefix}to_out.bias"]

    # --- trunk and head ----------------------------------------------------------------------------------------------

    def block(self, prefix: str, x: Vector) -> Vector:
        """Pre-LN: x + attention(norm(x)), then x + mlp(norm(x))."""
        w = {key.removeprefix(prefix): value for key, value in self.tensors.items() if key.startswith(prefix)}
        y = layer_norm(x, w["norm_1.weight"], w["norm_1.bias"], 1e-6)
        q, k, v = np.split(y @ w["attn.in_proj_weight"].T + w["attn.in_proj_bias"], 3, axis=1)
        k, v = np.concatenate((k, w["attn.bias_k"][0])), np.concatenate((v, w["attn.bias_v"][0]))
        x = x + attend(q, k, v, self.trunk_heads) @ w["attn.out_proj.weight"].T + w["attn.out_proj.bias"]
        y = layer_norm(x, w["norm_2.weight"], w["norm_2.bias"], 1e-6)
        y = gelu(y @ w["mlp.fc1.weight"].T + w["mlp.fc1.bias"])
        return x + y @ w["mlp.fc2.weight"].T + w["mlp.fc2.bias"]

    def head(self, tokens: Vector) -> Vector:
        """The normalised action chunk."""
        pooled = self.pool(tokens)
        kind = {"mlp": self.mlp, "conv": self.convolution, "decoder": self.decoder, "gmm": self.mixture}
        return kind[self.head_kind](pooled).reshape(self.action_shape)

    def pool(self, tokens: Vector) -> Vector:
        """One feature (d,), one a step (horizon, d), or all tokens."""
        match self.pooling:
            case "mean":
                return tokens.mean(axis=0)
            case "max":
                return tokens.max(axis=0)
            case "last":
                return tokens[-1]
            case "attentive":
                query = self.tensors[f"poolings.{self.domain}.query"][0]
                prefix = f"poolings.{self.domain}.cross_attention."
                return self.cross_attention(prefix, query, tokens, self.trunk_heads)[0]
            case "action_token":
                return tokens[-self.action_shape[0] :]
            case _:
                return tokens

    def of_head(self, part: str) -> dict[str, Vector]:
        prefix = f"heads.{self.domain}.{part}"
        return {
            key.removeprefix(prefix): value for key, value in self.tensors.items() if key.startswith(prefix)
        }

    def hidden(self, pooled: Vector) -> Vector:
        """The published MLP head up to its last layer."""
        w = self.of_head("net.")
        x = silu(pooled @ w["0.weight"].T + w["0.bias"])
        x = x @ w["2.weight"].T + w["2.bias"]  # 3 is the dropout
        return silu(layer_norm(x, w["4.weight"], w["4.bias"], 1e-5))

    def mlp(self, pooled: Vector) -> Vector:
        w = self.of_head("net.")
        return np.tanh(self.hidden(pooled) @ w["6.weight"].T + w["6.bias"])

    def convolution(self, steps: Vector) -> Vector:
        """Each layer: of every step and its neighbours, zero outside, a weighted sum."""
        w, x = self.of_head("net."), steps
        layers = sorted({int(key.split(".")[0]) for key in w})
        for layer in layers:
            kernel, bias = w[f"{layer}.weight"], w[f"{layer}.bias"]  # (out, in, size)
            reach = kernel.shape[2] // 2
            out = np.zeros((len(x), len(bias))) + bias
            for step in range(len(x)):
                for offset in range(-reach, reach + 1):
                    if 0 <= step + offset < len(x):
                        out[step] += kernel[:, :, offset + reach] @ x[step + offset]
            x = np.tanh(out) if layer == layers[-1] else silu(out)
        return x

    def decoder(self, tokens: Vector) -> Vector:
        """Queries, one a step, over an MLP of the tokens; then a projection, where there is one."""
        w = self.of_head("")
        context = silu(tokens @ w["mlp.0.weight"].T + w["mlp.0.bias"]) @ w["mlp.2.weight"].T + w["mlp.2.bias"]
        prefix = f"heads.{self.domain}.cross_attention."
        steps = self.cross_attention(prefix, w["tokens"][0], context, self.head_heads)
        return steps @ w["out_proj.weight"].T + w["out_proj.bias"] if "out_proj.weight" in w else steps

    def mixture(self, pooled: Vector) -> Vector:
        """The mean of the mode that is most probable; a mode is a whole chunk."""
        w, hidden = self.of_head(""), self.hidden(pooled)
        logits = (hidden if hidden.ndim == 1 else hidden.mean(axis=0)) @ w["logits.weight"].T + w[
            "logits.bias"
        ]
        horizon, dim = self.action_shape
        means = np.tanh(hidden @ w["mean.weight"].T + w["mean.bias"]).reshape(horizon, len(logits), dim)
        return means[:, int(np.argmax(logits))]


def table(positions: int, width: int) -> Vector:
    """Sine on even columns, cosine on odd ones."""
    rows = np.empty((positions, width))
    for position in range(positions):
        for column in range(width):
            angle = position / 10000.0 ** (2 * (column // 2) / width)
            rows[position, column] = math.cos(angle) if column % 2 else math.sin(angle)
    return rows


def attend(q: Vector, k: Vector, v: Vector, heads: int) -> Vector:
    """Softmax attention, head by head."""
    width = q.shape[1] // heads
    mixed = []
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        scores = q[:, part] @ k[:, part].T / math.sqrt(width)
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        mixed.append(weights / weights.sum(axis=1, keepdims=True) @ v[:, part])
    return np.concatenate(mixed, axis=1)


def layer_norm(x: Vector, weight: Vector, bias: Vector, eps: float) -> Vector:
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + eps) * weight + bias


def silu(x: Vector) -> Vector:
    return x / (1.0 + np.exp(-x))


def gelu(x: Vector) -> Vector:
    return x * 0.5 * (1.0 + np.vectorize(math.erf)(x / math.sqrt(2.0)))
