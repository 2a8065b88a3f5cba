# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Says what a file or folder is, by how it begins and what lies in it, and which verb takes it.

Magic numbers: HDF5 file format III.A; gzip RFC 1952; MCAP and rosbag2, rosbag1 2.0, SQLite, ZIP, Parquet and Git LFS
specifications of their formats.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

from hpt_ros.dataset.errors import DatasetError
from hpt_ros.dataset.layout import EMBODIMENT, is_dataset
from hpt_ros.errors import Code

_BEGIN_BYTES = 512
# Folders below one that was named in which a dataset is looked for: Hugging Face's cache has three (snapshots/HASH).
_DEPTH = 3


@dataclass(frozen=True, slots=True)
class Kind:
    """What something is.

    Attributes:
        name: with its article, e.g. "a bag".
        remedy: what to do with it, e.g. "convert it with `hpt convert`".
    """

    name: str
    remedy: str


BAG = Kind("a bag", "make a dataset of it with `hpt convert`")
HDF5 = Kind("an HDF5 file", "make a dataset of it with `hpt import`")
ZARR = Kind("a Zarr store", "make a dataset of it with `hpt import`")
TFRECORD = Kind("a TFRecord file", "make a dataset of its folder with `hpt import`")
LEROBOT = Kind("a LeRobot dataset", "make a dataset of it with `hpt import`")
OWN = Kind("a dataset of this project", "train on it as it is, or look at it with `hpt quality`")
LEROBOT_1 = Kind("a LeRobot dataset of version 1", "bring it to version 2 with lerobot's own scripts first")
ARRAY_RECORD = Kind("an ArrayRecord file", "write the dataset as TFRecord with TensorFlow Datasets first")
PARQUET = Kind("a Parquet file", "give the folder of the whole dataset, which has meta/info.json")
CUT_ZIP = Kind("a ZIP file that is cut short", "copy it again")
POINTER = Kind("a Git LFS pointer, not the file itself", "fetch the files with `git lfs pull`")
ARCHIVE = Kind("an archive", "unpack it and give the folder")

# How files begin.
_MAGIC: tuple[tuple[bytes, Kind], ...] = (
    (b"\x89HDF\r\n\x1a\n", HDF5),
    (b"\x89MCAP0\r\n", BAG),
    (b"#ROSBAG V", BAG),
    (b"SQLite format 3\0", BAG),
    (b"version https://git-lfs.github.com/spec/", POINTER),
    (b"PAR1", PARQUET),
)
ENDINGS_RLDS = ("*.tfrecord*",)
ENDINGS_HDF5 = (".hdf5", ".h5")


def recognise(path: Path) -> Kind | None:
    """Return what a file or folder is; None if it is nothing that any verb takes or that is known by a remedy."""
    try:
        return _of_folder(path) if path.is_dir() else _of_file(path)
    except OSError:
        return None


def _of_file(path: Path) -> Kind | None:
    with path.open("rb") as file:
        begin = file.read(_BEGIN_BYTES)
    for magic, kind in _MAGIC:
        if begin.startswith(magic):
            return kind
    if begin.startswith(b"PK") and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        inside = any(name.rpartition("/")[2] in (".zgroup", ".zarray", "zarr.json") for name in names)
        return ZARR if inside else ARCHIVE
    if begin.startswith(b"PK\x03\x04"):
        return CUT_ZIP
    for part, kind in ((".tfrecord", TFRECORD), (".array_record", ARRAY_RECORD)):
        if part in path.name:
            return kind
    if (
        begin.startswith(b"\x1f\x8b")
        or begin[:6] in (b"\xfd7zXZ\0", b"7z\xbc\xaf\x27\x1c")
        or begin[257:262] == b"ustar"
    ):
        return ARCHIVE
    return None


def _of_folder(path: Path) -> Kind | None:
    if is_dataset(path):
        return OWN if (path / EMBODIMENT).is_file() else LEROBOT
    if (path / "meta_data/info.json").is_file():
        return LEROBOT_1
    if any((path / name).is_file() for name in (".zgroup", ".zattrs", ".zarray", "zarr.json")):
        return ZARR
    # Files whose names begin with a dot are easily lost on the way.
    if any((path / "meta/episode_ends" / name).is_file() for name in (".zarray", "zarr.json")):
        return ZARR
    bags = ("metadata.yaml", "*.mcap", "*.mcap.zstd", "*.db3", "*.db3.zstd", "*.bag")
    if any(any(path.glob(ending)) for ending in bags):
        return BAG
    if find_hdf5(path):
        return HDF5
    for endings, kind in (
        (ENDINGS_RLDS, TFRECORD),
        (("*.array_record*",), ARRAY_RECORD),
    ):
        if any(any(path.glob(ending)) for ending in endings):
            return kind
    return None


def find_hdf5(folder: Path) -> list[Path]:
    """Return the files of a folder that are called HDF5, in capitals or not."""
    return [path for path in folder.iterdir() if path.suffix.lower() in ENDINGS_HDF5 and path.is_file()]


def unreadable(path: Path, what: str, error: BaseException) -> DatasetError:
    """Return the error of a file that a library refuses.

    Args:
        path: the file.
        what: it cannot be, e.g. "decoded" or "read as parquet".
        error: what the library raised.
    """
    if not path.exists():
        return DatasetError(
            Code.NOT_FOUND, f"the dataset file {str(path)!r}", problem="is missing",
            remedy="copy the dataset again or convert its bags again",
        )  # fmt: skip
    kind = recognise(path)
    if kind is POINTER:
        return DatasetError(
            Code.UNREADABLE, repr(str(path)), kind.name, problem=f"is {kind.name}", remedy=kind.remedy,
        )  # fmt: skip
    return DatasetError(
        Code.DAMAGED, repr(str(path)), problem=f"cannot be {what}", cause=error,
        remedy="it is damaged or truncated: copy the dataset again or convert its bags again",
    )  # fmt: skip


def find_below(path: Path) -> list[Path]:
    """Return datasets of any format in the folders below one, sorted; those of the first depth that has any."""
    level = [path]
    for _ in range(_DEPTH):
        level = sorted(child for folder in level for child in _folders(folder))
        if found := [folder for folder in level if recognise(folder) is not None]:
            return found
    return []


def _folders(path: Path) -> list[Path]:
    try:
        return [child for child in path.iterdir() if child.is_dir()]
    except OSError:
        return []
