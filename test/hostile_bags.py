# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Bags that were made to do harm, each named after what it tries."""

from __future__ import annotations

import bz2
import functools
import itertools
import shutil
import sqlite3
import struct
from pathlib import Path

import lz4.frame
import yaml
from backports import zstd

from rosbag_tools.bag_schema import KEY_EMBODIMENT
from rosbag_tools.reading.mcap_index import MAGIC

GIB = 1 << 30
_BLOCK = bytes(16 << 20)


@functools.cache
def bomb(codec, size=8 * GIB):
    """A few kilobytes (LZ4: megabytes) that become `size` bytes."""
    compress = {"zstd": zstd.compress, "lz4": lz4.frame.compress, "bz2": bz2.compress}[codec]
    return compress(_BLOCK) * (size // len(_BLOCK))


def record(opcode, content):
    return struct.pack("<BQ", opcode, len(content)) + content


def text(value):
    return struct.pack("<I", len(value)) + value.encode()


def mcap(path, chunks, definition="string data\n", *, topic="/unused", index=True):
    """An MCAP file with these chunks: (first, last, claimed size, compression, bytes)."""
    schema = record(
        3, struct.pack("<H", 1) + text("std_msgs/msg/String") + text("ros2msg") + text(definition)
    )
    channel = record(4, struct.pack("<HH", 1, 1) + text(topic) + text("cdr") + struct.pack("<I", 0))
    data = MAGIC + record(1, text("ros2") + text("")) + schema + channel
    indices = b""
    for first, last, claimed, compression, stored in chunks:
        chunk = record(
            6,
            struct.pack("<QQQI", first, last, claimed, 0)
            + text(compression)
            + struct.pack("<Q", len(stored))
            + stored,
        )
        place = len(data)
        data += chunk
        offsets = struct.pack("<HQ", 1, len(data))
        indices += record(
            8,
            struct.pack("<QQQQI", first, last, place, len(chunk), len(offsets))
            + offsets
            + struct.pack("<Q", 31)
            + text(compression)
            + struct.pack("<QQ", len(stored), claimed),
        )
        data += record(7, struct.pack("<HI", 1, 16) + bytes(16))
    data += record(15, bytes(4))
    start = len(data) if index else 0
    if index:
        counts = struct.pack("<HQ", 1, len(chunks))
        statistics = (
            struct.pack("<QHIIIIQQI", len(chunks), 1, 1, 0, 0, len(chunks), 1, 9, len(counts)) + counts
        )
        data += schema + channel + indices + record(11, statistics)
    data += record(2, struct.pack("<QQI", start, 0, 0)) + MAGIC
    path.write_bytes(data)
    return path


def message(content=b"", log_ns=5):
    cdr = struct.pack("<BBBBI", 0, 1, 0, 0, len(content) + 1) + content + b"\0"
    return record(5, struct.pack("<HIQQ", 1, 0, log_ns, log_ns) + cdr)


def bag1(path, codec):
    """A rosbag1 file whose one chunk becomes gigabytes."""

    def part(fields, data):
        header = b"".join(struct.pack("<I", len(k) + 1 + len(v)) + k + b"=" + v for k, v in fields.items())
        return struct.pack("<I", len(header)) + header + struct.pack("<I", len(data)) + data

    four = struct.Struct("<I").pack
    about = {
        b"topic": b"/unused",
        b"type": b"std_msgs/String",
        b"md5sum": b"992ce8a1687cec8c8bd883ec73ca41d1",
    }
    about[b"message_definition"] = b"string data"
    connection = part({b"op": b"\x07", b"conn": four(0), b"topic": b"/unused"}, b"")
    header = b"".join(struct.pack("<I", len(k) + 1 + len(v)) + k + b"=" + v for k, v in about.items())
    connection = connection[:-4] + four(len(header)) + header
    chunk = part({b"op": b"\x05", b"compression": codec.encode(), b"size": four(1000)}, bomb(codec, 4 * GIB))
    index = part({b"op": b"\x04", b"ver": four(1), b"conn": four(0), b"count": four(1)}, bytes(12))
    magic = b"#ROSBAG V2.0\n"
    size = len(
        part({b"op": b"\x03", b"index_pos": bytes(8), b"conn_count": four(1), b"chunk_count": four(1)}, b"")
    )
    at = len(magic) + size
    info = {b"op": b"\x06", b"ver": four(1), b"chunk_pos": struct.pack("<Q", at), b"start_time": bytes(8)}
    info |= {b"end_time": bytes(8), b"count": four(1)}
    place = struct.pack("<Q", at + len(chunk) + len(index))
    head = part({b"op": b"\x03", b"index_pos": place, b"conn_count": four(1), b"chunk_count": four(1)}, b"")
    path.write_bytes(magic + head + chunk + index + connection + part(info, four(0) + four(1)))
    return path


def _edit(bag, change):
    place = bag / "metadata.yaml"
    content = yaml.safe_load(place.read_text())
    change(content["rosbag2_bagfile_information"])
    place.write_text(yaml.safe_dump(content))
    return bag


def make_all(robot, folder):
    """Write one of each; returns their names."""
    folder.mkdir(parents=True)
    starts = itertools.count(robot.start_ns, 10**12)  # no bag is a copy of another

    def plain(name, **how):
        return robot.write(folder / name, robot.messages(1.5, start_ns=next(starts)), **how)

    def defined(name, definition):
        content = message(name.encode())
        mcap(folder / f"{name}.mcap", [(1, 9, len(content), "zstd", zstd.compress(content))], definition)

    small = zstd.compress(message())
    mcap(folder / "chunk_claims_little.mcap", [(1, 9, 1000, "zstd", bomb("zstd"))])
    mcap(folder / "chunk_claims_gigabytes.mcap", [(1, 9, 8 * GIB, "zstd", bomb("zstd"))])
    mcap(folder / "chunk_claims_exabytes.mcap", [(1, 9, (1 << 63) - 1, "zstd", small)])
    mcap(folder / "chunk_of_lz4.mcap", [(1, 9, 1000, "lz4", bomb("lz4", 2 * GIB))])
    mcap(folder / "chunk_without_index.mcap", [(1, 9, 1000, "zstd", bomb("zstd"))], index=False)
    mcap(folder / "no_index_claims_gigabytes.mcap", [(1, 9, 8 * GIB, "zstd", bomb("zstd"))], index=False)
    many = zstd.compress(_BLOCK)
    mcap(folder / "chunks_overlap.mcap", [(1, 9, len(_BLOCK), "zstd", many) for _ in range(800)])
    defined("definition_of_itself", "String inside\n")
    defined("definition_array", "string[4000000000] d\n")
    fields = "".join(f"uint8 f{number}\n" for number in range(20_000))
    defined("definition_fields", fields)
    defined("definition_of_megabytes", "#" * 5_000_000)
    defined("definition_nested", "(" * 50_000)
    wide = message(b"a" * 3_000_000)
    mcap(
        folder / "topic_of_megabytes.mcap",
        [(1, 9, len(wide), "zstd", zstd.compress(wide))],
        topic="/" + "t" * 3_000_000,
    )
    for codec in ("bz2", "lz4"):
        bag1(folder / f"{codec}_chunk.bag", codec)
    (folder / "file_bomb.mcap.zstd").write_bytes(bomb("zstd", 4 * GIB))

    in_message = plain("message_bomb", compression="message")
    (file,) = in_message.glob("*.mcap")
    body = record(5, struct.pack("<HIQQ", 1, 0, 5, 5) + bomb("zstd"))
    mcap(file, [(1, 9, len(body), "", body)])
    _edit(in_message, lambda about: about.update(message_count=1))

    deep = plain("metadata_nested")
    (deep / "metadata.yaml").write_text("[" * 200_000)
    laughs = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
    laughing = plain("metadata_of_aliases")
    meta = (laughing / "metadata.yaml").read_text()
    (laughing / "metadata.yaml").write_text(
        laughs + meta.replace("custom_data:", "custom_data: {k: *a59}\n  x:")
    )
    _edit(plain("metadata_of_tomorrow"), lambda about: about.update(version=99))
    _edit(plain("metadata_of_words"), lambda about: about.update(message_count="many"))
    _edit(plain("metadata_names_none"), lambda about: about.update(relative_file_paths=[]))
    _edit(
        plain("metadata_leads_out"),
        lambda about: about.update(relative_file_paths=["../../../../etc/passwd"]),
    )
    huge = plain("metadata_of_megabytes")
    (huge / "metadata.yaml").write_text("x: " + "y" * (17 << 20))

    plain("embodiment_nested", custom={KEY_EMBODIMENT: "[" * 100_000})
    plain("embodiment_of_megabytes", custom={KEY_EMBODIMENT: "name: " + "x" * 5_000_000})
    plain(
        "embodiment_leads_out", custom={KEY_EMBODIMENT: robot.text.replace("name: left", "name: ../../left")}
    )
    plain("embodiment_loads_code", custom={KEY_EMBODIMENT: "!!python/object/apply:os.system ['touch pwned']"})

    for name, change in {
        "sqlite3_computes": (
            "ALTER TABLE messages RENAME TO old",
            "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER,"
            " data BLOB GENERATED ALWAYS AS (zeroblob(1000000000)))",
            "INSERT INTO messages(id, topic_id, timestamp) SELECT id, topic_id, timestamp FROM old",
        ),
        "sqlite3_endless_view": (
            "ALTER TABLE messages RENAME TO old",
            "CREATE VIEW messages AS WITH RECURSIVE m(id, topic_id, timestamp, data) AS (SELECT 1, 1, 1, x'00' UNION"
            " ALL SELECT id + 1, 1, 1, x'00' FROM m) SELECT * FROM m",
        ),
        "sqlite3_of_words": ("UPDATE messages SET timestamp = 'noon', data = 'x'",),
        "sqlite3_of_nothing": ("UPDATE messages SET data = x''",),
        "sqlite3_topic_of_megabytes": (f"UPDATE topics SET name = '/{'t' * 3_000_000}'",),
    }.items():
        bag = plain(name, storage="sqlite3")
        (file,) = bag.glob("*.db3")
        database = sqlite3.connect(file)
        for statement in change:
            database.execute(statement)
        database.commit()
        database.close()
        (bag / "metadata.yaml").unlink()
    (folder / "endless.mcap").symlink_to("/dev/zero")
    return sorted(path.name for path in folder.iterdir())


def add_good(robot, folder):
    """Two bags that convert, before and after the hostile ones."""
    robot.write(folder / "0_good", robot.messages(1.5))
    robot.write(folder / "z_good", robot.messages(1.6))


def copies(bag, place, data):
    """The same bag with other bytes in its storage file."""
    if bag.is_file():
        place = place.with_suffix(bag.suffix)
        place.write_bytes(data)
        return place
    if not place.exists():
        shutil.copytree(bag, place)
    storage_file(place).write_bytes(data)
    return place


def storage_file(bag: Path) -> Path:
    if bag.is_file():
        return bag
    (file,) = [path for path in bag.iterdir() if path.name != "metadata.yaml"]
    return file
