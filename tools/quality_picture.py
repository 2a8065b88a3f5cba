# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Draw docs/pictures/quality.png: ``.venv/bin/python tools/quality_picture.py``, about two minutes; needs chromium.

Records the scripted teleoperator in the simulated scene, spoils two of its bags as hardware does (a camera that stops,
pictures that get lost), converts, and photographs the quality page.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from hpt_ros.cli.demo import DISTURBANCE_RAD
from hpt_ros.cli.main import main as hpt
from hpt_ros.resources import config_file

PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "quality.png"
DEMONSTRATIONS = 8
WIDTH_PX, HEIGHT_PX = 1240, 1500


def main() -> int:
    """Record, spoil, convert, report, photograph."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        print("quality_picture: error: no chromium was found; install it", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        collect = ["collect", "feed_dog", "-n", str(DEMONSTRATIONS), "--out", str(folder / "bags")]
        if status := hpt([*collect, "--disturbance-rad", str(DISTURBANCE_RAD)]):
            return status
        bags = sorted(path.parent for path in (folder / "bags").rglob("metadata.yaml"))
        spoil(bags[2], 0.5, 1.0, freeze=True)
        spoil(bags[5], 0.1, 0.25, freeze=False)
        shot = photograph(folder, browser)
        data = cv2.imread(str(shot))
        assert data is not None, shot
        cv2.imwrite(str(PICTURE), data, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1000:.0f} kB")
    return 0


def photograph(folder: Path, browser: str) -> Path:
    """The page of the bags in ``folder/bags``, as a picture."""
    embodiment = str(config_file("embodiments/feed_dog.yaml"))
    dataset, page, shot = folder / "feed_dog", folder / "quality.html", folder / "quality.png"
    for verb in (
        ["convert", str(folder / "bags"), "--embodiment", embodiment, "--out", str(dataset)],
        ["quality", str(dataset), "--out", str(page)],
    ):
        if status := hpt(verb):
            sys.exit(status)
    page.write_text(page.read_text().replace(f"{folder}/", ""))
    size = f"--window-size={WIDTH_PX},{HEIGHT_PX}"
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--screenshot={shot}",
        size,
    ]
    subprocess.run([browser, *options, page.as_uri()], check=True, capture_output=True, timeout=60)
    return shot


def spoil(bag: Path, start: float, stop: float, *, freeze: bool) -> None:
    """Repeat the first camera's picture between two fractions of a bag's time, or leave its pictures out."""
    store = get_typestore(Stores.ROS2_KILTED)
    spoiled, held = bag.with_name(f"{bag.name}.spoiled"), None
    with (
        Reader(bag) as reader,
        Writer(spoiled, version=9, storage_plugin=StoragePlugin.MCAP) as writer,
    ):
        topics = {
            item.id: writer.add_connection(
                item.topic, item.msgtype, msgdef=item.msgdef.data, rihs01=item.digest
            )
            for item in reader.connections
        }
        camera = min(item.topic for item in reader.connections if item.msgtype == "sensor_msgs/msg/Image")
        first_ns, last_ns = reader.start_time, reader.end_time
        for connection, log_ns, data in reader.messages():
            fraction = (log_ns - first_ns) / (last_ns - first_ns)
            if connection.topic == camera and start <= fraction <= stop:
                if not freeze:
                    continue
                message: Any = store.deserialize_cdr(data, connection.msgtype)
                held = message.data if held is None else held
                message.data = held
                data = bytes(store.serialize_cdr(message, connection.msgtype))
            writer.write(topics[connection.id], log_ns, data)
    shutil.rmtree(bag)
    spoiled.rename(bag)


if __name__ == "__main__":
    sys.exit(main())
