"""``python -m alternant``: the same as the command ``alternant``."""

import sys

from .cli.app import main

sys.exit(main())
