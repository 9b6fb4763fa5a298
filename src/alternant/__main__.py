"""``python -m alternant``: the same as the command ``alternant``."""

import sys

from .cli import main

sys.exit(main())
