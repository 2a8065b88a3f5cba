# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt export DATASET --out OUT.hdf5|OUT.zarr`: a dataset for other trainers."""

from __future__ import annotations

import argparse
from pathlib import Path

from hpt_ros.atomic import clear_leftovers, replace_atomically
from hpt_ros.cli.output import make_parent
from hpt_ros.errors import Code, HptError, format_count
from hpt_ros.extras import require_extra

FORMATS = {"hdf5": ".hdf5", "zarr": ".zarr"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "dataset", metavar="DATASET", help="LeRobotDataset v3.0 folder, as `hpt convert` writes it"
    )
    parser.add_argument(
        "--out", required=True, metavar="PATH", help="new file ending in .hdf5, or new folder ending in .zarr"
    )
    parser.add_argument(
        "--embodiment", metavar="FILE", help="embodiment file; left out: the one that the dataset carries"
    )
    parser.add_argument("--format", choices=tuple(FORMATS), help="default: what the ending of --out says")


def run(args: argparse.Namespace) -> int:
    """Write the file so that it is there complete or not at all; returns 0."""
    from hpt_ros.cli.export_formats import write_hdf5, write_zarr
    from hpt_ros.cli.terminal import Terminal
    from hpt_ros.dataset import open_dataset
    from hpt_ros.embodiment import Embodiment

    out = Path(args.out)
    kind = args.format or next((name for name, ending in FORMATS.items() if out.suffix == ending), None)
    if kind is None:
        raise HptError(
            Code.INVALID, f"the format of {args.out!r}", problem="is not known from its ending",
            remedy=f"end it in {' or '.join(FORMATS.values())}, or add --format",
        )  # fmt: skip
    if out.exists():
        raise HptError(Code.EXISTS, repr(args.out), remedy="name another")
    if kind == "hdf5":
        require_extra("h5py", extra="export", what="hpt export to HDF5")
    else:
        require_extra("zarr", extra="export", what="hpt export to Zarr")
    embodiment = Embodiment.load(args.embodiment) if args.embodiment else None
    dataset = open_dataset(args.dataset, embodiment)
    clear_leftovers(make_parent(out).absolute().parent)
    write = write_hdf5 if kind == "hdf5" else write_zarr
    try:
        with Terminal() as report, replace_atomically(out) as work:
            write(work, dataset, lambda done, total: report.bar("exporting", done, total))
    except OSError as error:
        raise HptError(
            Code.UNWRITABLE, repr(args.out), remedy="make room, or name another place", cause=error
        ) from error
    print(f"wrote {format_count(len(dataset.episodes), 'episode')}, {dataset.length} ticks to {out}")
    return 0
