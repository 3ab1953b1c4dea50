"""The logger of all packages; a command decides which messages the terminal shows."""

import logging

log = logging.getLogger("cmath")
