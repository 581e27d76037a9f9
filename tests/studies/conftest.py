"""Studies are programs of the repository, not part of the installed package: they are imported from its root."""

from __future__ import annotations

import sys

from helpers.paths import REPOSITORY

# Appended: an installed endofm keeps its precedence over the checkout.
sys.path.append(str(REPOSITORY))
