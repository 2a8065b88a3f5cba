# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Opens a bag: what its metadata tell, and the files that it is made of."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hpt_ros.errors import Code
from rosbag_tools.errors import BagError
from rosbag_tools.reading.bag_files import (
    METADATA,
    Joined,
    list_bag_files,
    open_files,
    storage_files,
    unreadable_file,
)
from rosbag_tools.reading.channels import usual_name, usual_topic
from rosbag_tools.reading.safe_decompress import MOST_METADATA_BYTES, load_yaml

# Bags are opened twice by a conversion: checked all, and then converted one after another.
_REMEMBERED, _MOST_REMEMBERED_CHARACTERS = 512, 1 << 15
NEWEST_VERSION = 9  # of the metadata; a newer one may mean something else by a key


@dataclass(frozen=True)
class Storage:
    """An open bag.

    Attributes:
        files: that it is made of.
        custom: custom data of its metadata.
        silent: topics without messages that only the metadata know, with their types.
        note: what was lost or is out of the ordinary, in one sentence; else empty.
    """

    files: Joined
    custom: Mapping[str, str]
    silent: Mapping[str, str]
    note: str


@contextlib.contextmanager
def open_storage(path: Path, *, recover: bool = False) -> Iterator[Storage]:
    """Open a folder or a file; raises whatever a parser raises.

    Args:
        path: which is a bag, as `rosbag_tools.reading.reader` found.
        recover: read what was cut short as far as it goes.
    """
    metadata, note = _metadata(path, recover) if path.is_dir() else ({}, "")
    silent = {
        usual_topic(str(entry["topic_metadata"]["name"])): usual_name(str(entry["topic_metadata"]["type"]))
        for entry in metadata.get("topics_with_message_count", ())
    }
    custom = metadata.get("custom_data") or {}
    texts = {str(key): value for key, value in custom.items() if isinstance(value, str)}
    notes = [note]
    if metadata:
        files, said = list_bag_files(path, metadata, recover=recover)
        notes += said
    else:
        files = storage_files(path) if path.is_dir() else [path]
    with open_files(files, recover=recover) as joined:
        notes += joined.notes
        expected = metadata.get("message_count", joined.message_count)
        if expected != joined.message_count and not any(notes):
            # Each file tells by itself whether it is complete.
            notes.append(
                f"its {METADATA} lists {expected} messages, but its files have {joined.message_count}"
            )
        for channel in joined.channels:
            silent.pop(channel.topic, None)
        yield Storage(joined, texts, silent, "; ".join(filter(None, notes)))


def _metadata(folder: Path, recover: bool) -> tuple[dict[str, Any], str]:
    """The bag's information, empty without; and why it is, if it is damaged and that is forgiven."""
    place = folder / METADATA
    if not place.is_file():
        return {}, ""
    try:
        if place.stat().st_size > MOST_METADATA_BYTES:
            raise ValueError(f"more than {MOST_METADATA_BYTES} bytes")
        text = place.read_text(encoding="utf-8")
        load = _load_again if len(text) <= _MOST_REMEMBERED_CHARACTERS else load_yaml
        found = load(text)["rosbag2_bagfile_information"]
        version = found["version"]
        if not isinstance(version, int) or not 1 <= version <= NEWEST_VERSION:
            raise ValueError(f"version {str(version)[:20]}, but 1 to {NEWEST_VERSION} was expected")
        for entry in found.get("topics_with_message_count", ()):
            _ = entry["topic_metadata"]["name"], entry["topic_metadata"]["type"]
        if not isinstance(found.get("custom_data") or {}, dict):
            raise ValueError("custom_data is no mapping")
    except OSError as error:
        raise unreadable_file(place, error) from error
    except (ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
        text = " ".join(str(error).split())[:200]
        if recover:
            return {}, f"its {METADATA} is damaged ({text})"
        raise BagError(
            Code.DAMAGED, f"bag {str(folder)!r}", problem=f"cannot be read, since its {METADATA} is damaged",
            cause=text, remedy="pass --recover to do without, or copy it again",
        ) from error  # fmt: skip
    return found, ""


@functools.lru_cache(maxsize=_REMEMBERED)
def _load_again(text: str) -> Any:
    """As `load_yaml`, of what nobody changes."""
    return load_yaml(text)
