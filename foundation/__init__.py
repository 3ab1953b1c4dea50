"""Basic modules that all other packages use; they import nothing else of the project.

They cover arithmetic, device, worker processes, atomic file writes, checkpoints, identities, and the base class of all
settings.
"""

from foundation.arithmetic import set_arithmetic

set_arithmetic()
