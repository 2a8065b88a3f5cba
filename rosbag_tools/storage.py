"""Opens the storage of a rosbag2 bag through `rosbags`, without what that repeats for every bag.

For a recording of a few seconds, `rosbags` spends longer on opening than on reading: it parses ``metadata.yaml`` with a
YAML library in Python, and the message definitions anew for each bag. Here the metadata of the usual bag, one MCAP
file, are read with libyaml and the file is opened by itself; and bags with the same definitions share one type store.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import yaml
from rosbags.interfaces import Connection, MessageDefinitionFormat
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from rosbag_tools.errors import BagError

METADATA = "metadata.yaml"
NEWEST_VERSION = 9  # of the metadata; a newer one may mean something else by a key
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # without libyaml: slower, but the same
_IDL_SEPARATOR = "=" * 80 + "\n"


@dataclass(frozen=True)
class Storage:
    """An open bag.

    Attributes:
        reader: `rosbags`' own.
        types: of its messages.
        custom: custom data of its metadata.
        silent: topics without messages that only the metadata know, with their types.
    """

    reader: Reader
    types: Typestore
    custom: Mapping[str, str]
    silent: Mapping[str, str]


@contextlib.contextmanager
def open_storage(source: Any) -> Iterator[Storage]:
    """Open a folder, a file, or what reads like one (`RecoveredMcap`); raises whatever a parser raises."""
    metadata = _metadata(source) if isinstance(source, Path) and source.is_dir() else {}
    file = _single_mcap(source, metadata)
    with Reader(source if file is None else file) as reader:
        storage: Any = reader.storage
        custom: Any = metadata.get("custom_data") if file is not None else storage.metadata.custom
        silent: dict[str, str] = {}
        if file is not None:
            if metadata["message_count"] != reader.message_count:
                raise BagError(
                    f"bag {str(source)!r} lists {metadata['message_count']} messages in its {METADATA}, but "
                    f"{file.name!r} has {reader.message_count}; it is damaged: copy or record it again"
                )
            there = {connection.topic for connection in reader.connections}
            for entry in metadata["topics_with_message_count"]:
                topic = entry["topic_metadata"]
                if topic["name"] not in there:
                    silent[str(topic["name"])] = str(topic["type"])
        texts = {str(key): str(value) for key, value in (custom or {}).items()}
        yield Storage(reader, _types(reader.connections), texts, silent)


def _metadata(folder: Path) -> dict[str, Any]:
    """The bag's information; empty if it is not what is expected, for `rosbags` to say why."""
    try:
        content = yaml.load((folder / METADATA).read_text(encoding="utf-8"), Loader=_LOADER)  # noqa: S506, a safe one
        found = content["rosbag2_bagfile_information"]
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def _single_mcap(folder: Any, metadata: dict[str, Any]) -> Path | None:
    """The file of a bag that is one MCAP file of plain messages; None where `rosbags` must look into the metadata."""
    files, version = metadata.get("relative_file_paths"), metadata.get("version")
    if (
        metadata.get("storage_identifier") != "mcap"
        or not isinstance(version, int)
        or not 1 <= version <= NEWEST_VERSION
        or str(metadata.get("compression_mode") or "none").lower() != "none"
        or not isinstance(files, list)
        or len(files) != 1
        or not {"message_count", "topics_with_message_count"} <= metadata.keys()
    ):
        return None
    file = Path(folder, PurePath(str(files[0])).name)
    return file if file.suffix == ".mcap" and file.is_file() else None


def _types(connections: list[Connection]) -> Typestore:
    definitions = {
        (item.msgtype, item.msgdef.format, item.msgdef.data, item.digest)
        for item in connections
        if item.msgdef.format != MessageDefinitionFormat.NONE
    }
    # A bag without any definition, as old sqlite3 bags are.
    return _typestore(tuple(sorted(definitions))) if definitions else get_typestore(Stores.ROS2_KILTED)


@functools.lru_cache(maxsize=8)
def _typestore(definitions: tuple[tuple[str, MessageDefinitionFormat, str, str], ...]) -> Typestore:
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
    store = get_typestore(Stores.EMPTY)
    store.register(found)
    for name, _, _, digest in definitions:
        if digest and (real := store.hash_rihs01(name)) != digest:
            raise BagError(
                f"the bag's definition of {name} has the hash {real[:24]}, but the bag says {digest[:24]}; it is "
                "damaged: copy or record it again"
            )
    return store
