# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Small HDF5 files and Zarr stores as robomimic, ALOHA and UMI write them; want the extra `export`."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

h5py = pytest.importorskip("h5py", reason="make setup EXTRAS=export")
zarr = pytest.importorskip("zarr", reason="make setup EXTRAS=export")

LENGTHS = (5, 12)  # of demo_0 and demo_10, which come in this order


def pictures(length, size=(16, 24)):
    levels = 30 + 10 * np.arange(length, dtype=np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (length, *size, 3)).copy()


def vectors(length, dim, shift=0.0):
    return np.sin(0.3 * np.arange(length * dim).reshape(length, dim) + shift).astype(np.float32)


def robomimic(path, **attributes):
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_name": "Lift", "env_kwargs": {"control_freq": 20}})
        for key, value in attributes.items():
            data.attrs[key] = value
        for number, length in zip((10, 0), LENGTHS[::-1], strict=True):
            demo = data.create_group(f"demo_{number}")
            demo["actions"] = vectors(length, 7)
            demo["rewards"] = np.eye(1, length, length - 1)[0]
            demo["dones"] = np.eye(1, length, length - 1, dtype=np.int64)[0]
            demo["states"] = vectors(length, 32)
            for name, dim in (("robot0_eef_pos", 3), ("robot0_eef_quat", 4), ("robot0_gripper_qpos", 2)):
                demo[f"obs/{name}"] = vectors(length, dim, dim)
                demo[f"next_obs/{name}"] = vectors(length, dim, dim)
            demo["obs/agentview_image"] = pictures(length)
            demo["obs/agentview_depth"] = np.ones((length, 16, 24, 1), np.float32)
    return path


def aloha(folder, compressed=False):
    folder.mkdir()
    for number, length in enumerate(LENGTHS):
        with h5py.File(folder / f"episode_{number}.hdf5", "w") as file:
            file.attrs["sim"] = False
            file["action"] = vectors(length, 14)
            for name in ("qpos", "qvel", "effort"):
                file[f"observations/{name}"] = vectors(length, 14, len(name))
            images = pictures(length)
            if compressed:
                files = [cv2.imencode(".jpg", image)[1].reshape(-1) for image in images]
                longest = max(map(len, files)) + 7
                images = np.stack([np.pad(data, (0, longest - len(data))) for data in files])
                file["compress_len"] = np.array([len(data) for data in files])
            file["observations/images/cam_high"] = images
    return folder


def replay_buffer(folder, *, floats=False):
    root = zarr.open_group(str(folder), mode="w", **({"zarr_format": 2} if zarr.__version__ >= "3" else {}))
    total = sum(LENGTHS)
    arrays = {
        "data/action": vectors(total, 7),
        "data/robot0_eef_pos": vectors(total, 3),
        "data/robot0_eef_rot_axis_angle": vectors(total, 3),
        "data/robot0_gripper_width": vectors(total, 1),
        "data/camera0_rgb": pictures(total) * np.float32(1.0) if floats else pictures(total),
        "meta/episode_ends": np.cumsum(LENGTHS),
    }
    for name, values in arrays.items():
        create = root.create_array if hasattr(root, "create_array") else root.create_dataset
        create(name, shape=values.shape, dtype=values.dtype)[:] = values
    return folder
