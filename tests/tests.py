"""Whoever starts the tests in this folder gets here, and reads what is wrong."""

import os
import sys

if __name__ == "tests":  # in the folder above, this name is the folder's
    print("Start the tests in the folder above: cd .. && python -m unittest")
    sys.stdout.flush()
    os._exit(2)
