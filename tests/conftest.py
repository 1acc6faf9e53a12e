"""What holds for all tests: Triton's interpreter, and no time that an example may take."""

from __future__ import annotations

import os

from hypothesis import settings

# It must be said before Triton is imported.
os.environ.setdefault("TRITON_INTERPRET", "1")
# Other work on the machine is no failure of ours.
settings.register_profile("marco", deadline=None)
settings.load_profile("marco")
