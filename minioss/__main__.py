"""``python -m minioss``."""

import sys

from minioss.cli import main

sys.exit(main())
