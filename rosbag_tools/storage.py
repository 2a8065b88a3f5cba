# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Opens the storage of a rosbag2 bag through `rosbags`, without what that repeats for every bag.

For a recording of a few seconds, `rosbags` spends longer on opening than on reading: it parses ``metadata.yaml`` with a
YAML library in Python, and the message definitions anew for each bag. Here the metadata of the usual bag, one MCAP
file, are read with libyaml and the file is opened by itself; and bags with the same definitions share one type store.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import yaml
from rosbags.interfaces import Connection, MessageDefinitionFormat, Nodetype
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from rosbag_tools.bounded import MOST_METADATA_BYTES, guard_rosbags, load_yaml
from rosbag_tools.errors import BagError
from rosbag_tools.parts import METADATA, check_chunks, listed_files, open_files, storage_files
from rosbag_tools.recovery import has_index, is_complete, is_mcap

# Message definitions beyond this are hostile: the library makes code of each field, and of each element of some arrays.
MOST_DEFINITION_CHARACTERS, MOST_FIELDS, MOST_ARRAY = 1 << 18, 2000, 1_000_000
NEWEST_VERSION = 9  # of the metadata; a newer one may mean something else by a key
_IDL_SEPARATOR = "=" * 80 + "\n"


@dataclass(frozen=True)
class Storage:
    """An open bag.

    Attributes:
        reader: `rosbags`' own, or `Joined`, which reads alike.
        types: of its messages.
        ros1: they are serialized as in ROS 1.
        custom: custom data of its metadata.
        silent: topics without messages that only the metadata know, with their types.
        note: what was lost or is out of the ordinary, in one sentence; else empty.
    """

    reader: Any
    types: Typestore
    ros1: bool
    custom: Mapping[str, str]
    silent: Mapping[str, str]
    note: str

    def deserialize(self, data: Any, type_: str) -> Any:
        """A message out of its bytes."""
        if self.ros1:
            return self.types.deserialize_ros1(data, type_)
        return self.types.deserialize_cdr(data, type_)


@contextlib.contextmanager
def open_storage(path: Path, *, recover: bool = False) -> Iterator[Storage]:
    """Open a folder or a file; raises whatever a parser raises.

    Args:
        path: which is a bag, as `rosbag_tools.reader` found.
        recover: read what was cut short as far as it goes.
    """
    metadata, note = _metadata(path, recover) if path.is_dir() else ({}, "")
    silent = {
        str(entry["topic_metadata"]["name"]): str(entry["topic_metadata"]["type"])
        for entry in metadata.get("topics_with_message_count", ())
    }
    custom = metadata.get("custom_data") or {}
    texts = {str(key): value for key, value in custom.items() if isinstance(value, str)}
    with contextlib.ExitStack() as stack:
        file = _single_mcap(path, metadata)
        reader: Any
        if file is not None:
            reader, ros1, notes = stack.enter_context(Reader(file)), False, [note]
            check_chunks(reader.storage.chunks)
        else:
            if metadata:
                files = listed_files(path, metadata, recover=recover)
            else:
                files = storage_files(path) if path.is_dir() else [path]
            reader = stack.enter_context(open_files(files, metadata, recover=recover))
            ros1, notes = reader.ros1, [note, *reader.notes]
        expected = metadata.get("message_count", reader.message_count)
        if expected != reader.message_count and not (recover and any(notes)):
            raise BagError(
                f"bag {str(path)!r} lists {expected} messages in its {METADATA}, but its files have "
                f"{reader.message_count}; it is damaged: copy or record it again"
            )
        for connection in reader.connections:
            silent.pop(connection.topic, None)
        types = _types(reader.connections, ros1)
        yield Storage(reader, types, ros1, texts, silent, "; ".join(filter(None, notes)))


def _metadata(folder: Path, recover: bool) -> tuple[dict[str, Any], str]:
    """The bag's information, empty without; and why it is, if it is damaged and that is forgiven."""
    place = folder / METADATA
    if not place.is_file():
        return {}, ""
    try:
        if place.stat().st_size > MOST_METADATA_BYTES:
            raise ValueError(f"more than {MOST_METADATA_BYTES} bytes")
        found = load_yaml(place.read_text(encoding="utf-8"))["rosbag2_bagfile_information"]
        version = found["version"]
        if not isinstance(version, int) or not 1 <= version <= NEWEST_VERSION:
            raise ValueError(f"version {str(version)[:20]}, but 1 to {NEWEST_VERSION} was expected")
        for entry in found.get("topics_with_message_count", ()):
            format_ = entry["topic_metadata"]["serialization_format"]
            if format_ != "cdr":
                raise ValueError(f"serialization {str(format_)[:40]!r}, but 'cdr' was expected")
            _ = entry["topic_metadata"]["name"], entry["topic_metadata"]["type"]
        if not isinstance(found.get("custom_data") or {}, dict):
            raise ValueError("custom_data is no mapping")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
        text = " ".join(str(error).split())[:200]
        if recover:
            return {}, f"its {METADATA} is damaged ({text})"
        raise BagError(
            f"bag {str(folder)!r} cannot be read, since its {METADATA} is damaged ({text}); pass --recover to do "
            "without, or copy it again"
        ) from error
    return found, ""


def _single_mcap(folder: Path, metadata: Mapping[str, Any]) -> Path | None:
    """The file of a bag that is one whole MCAP file with an index and plain messages; None for every other bag."""
    files = metadata.get("relative_file_paths")
    if (
        metadata.get("storage_identifier") != "mcap"
        or str(metadata.get("compression_mode") or "none").lower() != "none"
        or not isinstance(files, list)
        or len(files) != 1
    ):
        return None
    file = Path(folder, PurePath(str(files[0])).name)
    plain = file.suffix == ".mcap" and file.is_file() and is_mcap(file)
    return file if plain and is_complete(file) and has_index(file) else None


def _types(connections: Sequence[Connection], ros1: bool) -> Typestore:
    definitions = {
        (item.msgtype, item.msgdef.format, item.msgdef.data, item.digest)
        for item in connections
        if item.msgdef.format != MessageDefinitionFormat.NONE
    }
    # A bag without any definition, as old sqlite3 bags are.
    if not definitions:
        return get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.ROS2_KILTED)
    if max(len(text) for _, _, text, _ in definitions) > MOST_DEFINITION_CHARACTERS:
        raise BagError(
            f"the bag has a message definition of more than {MOST_DEFINITION_CHARACTERS} characters"
        )
    return _typestore(tuple(sorted(definitions)), ros1)


@functools.lru_cache(maxsize=8)
def _typestore(
    definitions: tuple[tuple[str, MessageDefinitionFormat, str, str], ...], ros1: bool
) -> Typestore:
    """A type store of what a bag says about its types.

    Raises:
        BagError: a definition is not the one whose hash the bag carries.
    """
    found: Any = {}
    for name, kind, text, _ in definitions:
        if kind == MessageDefinitionFormat.MSG:
            found.update(get_types_from_msg(text, name))
        elif text.startswith(f"{_IDL_SEPARATOR}IDL: "):
            for part in text.split(_IDL_SEPARATOR)[1:]:
                found.update(get_types_from_idl(part.partition("\n")[2]))
        else:
            found.update(get_types_from_idl(text))
    for name, (_, fields) in found.items():
        if len(fields) > MOST_FIELDS or any(_array_length(kind) > MOST_ARRAY for _, kind in fields):
            raise BagError(
                f"the bag's definition of {name[:100]} has more than {MOST_FIELDS} fields or an array of more than "
                f"{MOST_ARRAY} elements; the bag is damaged or hostile: leave it out"
            )
    store = get_typestore(Stores.EMPTY)
    store.register(found)
    for name, _, _, digest in definitions:
        real = store.generate_msgdef(name)[1] if ros1 and digest not in ("", "*") else digest
        if not ros1 and digest:
            real = store.hash_rihs01(name)
        if real != digest:
            raise BagError(
                f"the bag's definition of {name} has the hash {real[:24]}, but the bag says {digest[:24]}; it is "
                "damaged: copy or record it again"
            )
    return store


def _array_length(kind: Any) -> int:
    return int(kind[1][1]) if kind[0] == Nodetype.ARRAY else 0


guard_rosbags()
