# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The Universal Robots UR5e's published kinematics and limits.

Source: "DH Parameters for calculations of kinematics and dynamics" on Universal Robots' support pages (classical
Denavit-Hartenberg parameters) and the UR5e's technical details (joint ranges, 180 degrees/s). The elbow is limited to
half of its range, as its drivers do by default. Accelerations are not published; these are our choice.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from hpt_ros.sim.arm import Arm, link

JOINT_NAMES: Final = (
    "shoulder_pan_joint",
    "shoulder_lift_joint",
    "elbow_joint",
    "wrist_1_joint",
    "wrist_2_joint",
    "wrist_3_joint",
)

# Classical Denavit-Hartenberg rows: a_m, d_m, alpha_rad.
DH_ROWS: Final = (
    (0.0, 0.1625, np.pi / 2),
    (-0.425, 0.0, 0.0),
    (-0.3922, 0.0, 0.0),
    (0.0, 0.1333, np.pi / 2),
    (0.0, 0.0997, -np.pi / 2),
    (0.0, 0.0996, 0.0),
)
# It stands turned by half a rotation, so that it reaches along x as the other arm does.
BASE: Final = np.diag([-1.0, -1.0, 1.0, 1.0])

# The elbow branch above the table, with the tool below the flange.
POSTURE_RAD: Final = np.array([-0.24, -1.43, 1.69, -1.63, -1.62, -1.81])

_TURN: Final = 2.0 * np.pi
UR5E: Final = Arm(
    "ur5e",
    JOINT_NAMES,
    np.array([-_TURN, -_TURN, -np.pi, -_TURN, -_TURN, -_TURN]),
    np.array([_TURN, _TURN, np.pi, _TURN, _TURN, _TURN]),
    np.full(6, np.pi),
    np.full(6, 20.0),
    (BASE, *(link(*row, modified=False) for row in DH_ROWS)),
)
