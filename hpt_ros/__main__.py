"""`python -m hpt_ros` is `hpt`."""

import sys

from hpt_ros.cli.main import main

sys.exit(main())
