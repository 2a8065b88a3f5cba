# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`python -m hpt_ros` is `hpt`."""

import sys

from hpt_ros.cli.main import main

sys.exit(main())
