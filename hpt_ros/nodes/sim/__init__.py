# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The simulated robot and the scripted teleoperator as nodes, and episodes over them."""
