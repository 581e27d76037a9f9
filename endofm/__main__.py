"""``python -m endofm``: the command line where the ``endofm`` script is not on the path."""

import sys

from endofm.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
