"""``python benchmarks/segmentation_study``; see ``study.py``."""

import sys

from study import main

from endofm.errors import EndoFMError

if __name__ == "__main__":
    try:
        sys.exit(main())
    except EndoFMError as error:
        sys.exit(f"segmentation_study: {error}")
