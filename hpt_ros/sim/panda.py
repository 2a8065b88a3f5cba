# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The Franka Panda's published kinematics and limits.

Source of every number in this file: "Robot and interface specifications" in Franka's FCI documentation
(modified Denavit-Hartenberg parameters; joint position, velocity and acceleration limits). The tests compare the scene
with it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from hpt_ros.sim.arm import Arm, link

Array = npt.NDArray[np.float64]

JOINT_NAMES: Final = tuple(f"panda_joint{i}" for i in range(1, 8))
LOWER_RAD: Final[Array] = np.array([-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973])
UPPER_RAD: Final[Array] = np.array([2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973])
VELOCITY_RAD_S: Final[Array] = np.array([2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61])
ACCELERATION_RAD_S2: Final[Array] = np.array([15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0])

# Modified (Craig) Denavit-Hartenberg rows: a_m, d_m, alpha_rad; the last one is the fixed flange.
DH_ROWS: Final = (
    (0.0, 0.333, 0.0),
    (0.0, 0.0, -np.pi / 2),
    (0.0, 0.316, np.pi / 2),
    (0.0825, 0.0, np.pi / 2),
    (-0.0825, 0.384, -np.pi / 2),
    (0.0, 0.0, np.pi / 2),
    (0.088, 0.0, np.pi / 2),
    (0.0, 0.107, 0.0),
)

# The elbow branch that the redundant degree of freedom stays on.
POSTURE_RAD: Final[Array] = np.array([-0.1, 0.1, 0.0, -2.2, 0.0, 2.3, 0.0])

PANDA: Final = Arm(
    "panda",
    JOINT_NAMES,
    LOWER_RAD,
    UPPER_RAD,
    VELOCITY_RAD_S,
    ACCELERATION_RAD_S2,
    tuple(link(*row, modified=True) for row in DH_ROWS),
)
