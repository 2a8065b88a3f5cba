# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Pages that need nothing else: templates, charts as inline SVG, small images; light and dark."""
