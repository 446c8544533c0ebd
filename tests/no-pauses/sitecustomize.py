"""Python loads this module at its start. Pauses are written down, and not made."""

import os
import time


def write_down(seconds):
    with open(os.environ["PAUSES"], "a") as pauses:
        print(seconds, file=pauses)


time.sleep = write_down
