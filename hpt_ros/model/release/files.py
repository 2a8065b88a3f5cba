# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Folders of published HPT weights: where their files are, and what their configuration says.

The released code (liruiw/HPT at 549433f) saves its whole Hydra configuration as `config.yaml`, with references such as
``${network.embed_dim}`` unresolved, and the same resolved as `config.json`. This reads either, and only what it is
asked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpt_ros.errors import Code
from hpt_ros.model.config import TRUNK_SIZES, TrunkConfig
from hpt_ros.model.weight_files import HUB, WeightsError, resolve, sha256_of, split_address
from hpt_ros.structured import read_yaml_file

CONFIG_FILES = ("config.yaml", "config.json")
TRUNK_FILES = ("trunk.safetensors", "trunk.pth", "model.safetensors", "model.pth")
MODEL_FILES = ("model.safetensors", "model.pth")
MAX_REFERENCES = 16  # of one value; more means that they go round in circles
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_.]*)\}")


@dataclass(frozen=True, slots=True)
class PublishedConfig:
    """The configuration beside published weights; names are dotted, as ``network.embed_dim``."""

    mapping: Mapping[str, Any]
    where: str

    def find(self, name: str) -> Any:
        """Return the value of that name, references resolved; None where there is none."""
        value = self._look_up(name)
        for _ in range(MAX_REFERENCES):
            match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
            if match is None:
                return value
            value = self._look_up(match.group(1))
        raise WeightsError(
            Code.INVALID, f"{self.where}, key {name!r}", problem="refers to itself",
            remedy="write its value there",
        )  # fmt: skip

    def integer(self, name: str, default: int | None = None) -> int:
        """Return a whole number of at least 1.

        Raises:
            WeightsError: absent without a default, or no such number.
        """
        value = self.find(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self._wrong(name, value, "a whole number of at least 1")
        return value

    def number(self, name: str, default: float) -> float:
        """Return a number."""
        value = self.find(name)
        if value is None:
            return default
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise self._wrong(name, value, "a number")
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        """Return true or false."""
        value = self.find(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self._wrong(name, value, "true or false")
        return value

    def text(self, name: str, default: str) -> str:
        """Return a text."""
        value = self.find(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self._wrong(name, value, "a text")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts, at least one."""
        value = self.find(name)
        if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
            raise self._wrong(name, value, "a list of names")
        return tuple(value)

    def trunk(self) -> TrunkConfig:
        """Return the trunk's size, which weights alone do not show (the number of heads) and names may belie."""
        return TrunkConfig(
            width=self.integer("network.embed_dim"),
            depth=self.integer("network.num_blocks"),
            heads=self.integer("network.num_heads"),
            drop_path=self.number("network.drop_path", 0.0),  # 0: the released code's own default
        )

    def _look_up(self, name: str) -> Any:
        value: Any = self.mapping
        for part in name.split("."):
            if not isinstance(value, Mapping):
                return None
            value = value.get(part)
        return value

    def _wrong(self, name: str, value: object, expected: str) -> WeightsError:
        if value is None:
            return WeightsError(
                Code.MISSING, self.where, name, problem="lacks the key {value}", expected=expected,
                remedy="is it the configuration that was published with the weights?",
            )  # fmt: skip
        return WeightsError(Code.INVALID, f"{self.where}, key {name!r},", value, expected=expected)


@dataclass(frozen=True, slots=True)
class Published:
    """A published folder: its configuration and its weights, both on this machine."""

    source: str
    config_file: Path
    config: PublishedConfig
    weights: Path

    @property
    def origin(self) -> str:
        """Lines for a card: where it came from, with the hashes of both files."""
        return (
            f"- source: `{self.source}`\n"
            f"- weights: `{self.weights.name}`, sha256 {sha256_of(self.weights)}\n"
            f"- configuration: `{self.config_file.name}`, sha256 {sha256_of(self.config_file)}"
        )


def open_published(source: str | Path, names: Sequence[str]) -> Published:
    """Find a published folder's configuration and the first of the weight files `names`.

    Args:
        source: a folder, a weight file with its configuration beside it, or hf://user/repo[/file].
        names: file names to look for where the source names none.

    Raises:
        WeightsError: a file is missing, unreadable, or the hub cannot be reached.
        StructureError: the configuration is no mapping.
    """
    text = str(source)
    if text.startswith(HUB):
        repository, file = split_address(text)
        address = f"{HUB}{repository}/{file.rpartition('/')[0]}".rstrip("/")
        if "/" in file:  # one address names one file, so the configuration's is made from it
            config_file = resolve(f"{address}/{CONFIG_FILES[0]}")
        else:
            config_file = resolve(address, CONFIG_FILES)
        weights = resolve(text, names)
    else:
        path = Path(source)
        folder = path if path.is_dir() or not path.exists() else path.parent
        weights = resolve(path, names)
        config_file = resolve(folder, CONFIG_FILES)
    return Published(text, config_file, read_config_file(config_file), weights)


def read_config_file(file: Path) -> PublishedConfig:
    """Read a published config.yaml or config.json."""
    where = f"the configuration {str(file)!r}"
    if file.suffix != ".json":
        return PublishedConfig(read_yaml_file(file), where)
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise WeightsError(
            Code.UNREADABLE, where, problem="is no JSON", remedy="fetch it again", cause=error
        ) from error
    if not isinstance(data, dict):
        raise WeightsError(Code.UNREADABLE, where, problem="holds no JSON object", remedy="fetch it again")
    return PublishedConfig(data, where)


def find_heads(file: Path, metadata: Mapping[str, str], width: int, depth: int) -> int | None:
    """Return the attention heads that are recorded for a trunk of this size; None where nothing says them.

    Looked up in the file's own metadata, then in a configuration beside it (published, or of a checkpoint) that is for
    this size, then in the sizes of the paper.
    """
    if metadata.get("heads", "").isdecimal():
        return int(metadata["heads"])
    for name in CONFIG_FILES:
        beside = file.with_name(name)
        if not beside.is_file():
            continue
        config = read_config_file(beside)
        for keys in (
            ("network.embed_dim", "network.num_blocks", "network.num_heads"),
            ("policy.trunk.width", "policy.trunk.depth", "policy.trunk.heads"),
        ):
            *size, heads = (config.find(key) for key in keys)
            if size == [width, depth] and isinstance(heads, int):
                return heads
    return next((s.heads for s in TRUNK_SIZES.values() if (s.width, s.depth) == (width, depth)), None)
