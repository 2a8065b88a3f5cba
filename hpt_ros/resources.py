"""Where the files that ship with the package lie: configuration and the demo's checkpoint."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hpt_ros.errors import HptError, did_you_mean

_PACKAGE = Path(__file__).resolve().parent


def config_file(relative: str) -> Path:
    """Path of a shipped file below ``config/``, e.g. ``"embodiments/feed_dog.yaml"``.

    Looks beside the source tree first (development install), then in the ``share`` folder of this Python's prefix
    and of each ROS prefix, where an installed package keeps it.

    Raises:
        HptError: the file is in none of them.
    """
    prefixes = [sys.prefix, *filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep))]
    folders = [
        _PACKAGE.parent / "config",
        *(Path(prefix) / "share" / "hpt_ros" / "config" for prefix in prefixes),
    ]
    for folder in folders:
        if (folder / relative).is_file():
            return folder / relative
    looked = ", ".join(str(folder) for folder in folders)
    raise HptError(f"the shipped file config/{relative} was found in none of {looked}; install hpt_ros again")


def checkpoint_folder(name_or_path: str) -> Path:
    """Folder of a checkpoint: a path, or the name of one shipped with the package (``"feed_dog"``).

    A folder that exists wins over a shipped name.

    Raises:
        HptError: neither a folder nor a shipped name.
    """
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return path
    shipped = {
        folder.name: folder for folder in (_PACKAGE / "data").glob("*") if (folder / "config.yaml").is_file()
    }
    if name_or_path in shipped:
        return shipped[name_or_path]
    known = ", ".join(sorted(shipped)) or "none"
    raise HptError(
        f"the checkpoint {name_or_path!r} is neither a folder nor shipped with the package (shipped: {known}); "
        f"give a folder that 'hpt finetune' wrote{did_you_mean(name_or_path, shipped)}"
    )
