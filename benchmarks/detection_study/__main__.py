"""``python benchmarks/detection_study``; see ``detection_study.py``."""

import sys

from detection_study import main

from endofm.errors import EndoFMError

if __name__ == "__main__":
    try:
        sys.exit(main())
    except EndoFMError as error:
        sys.exit(f"detection_study: {error}")
