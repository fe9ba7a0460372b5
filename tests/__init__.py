"""Tests of server.py: run `python -m unittest` in the folder above."""

import concurrent.futures
import unittest
from typing import Any

MODULES = ("browsers", "readme", "fuzz", "answer", "operator", "patience")  # the slowest first
# these patch what others use, or hold a clock, or need the machine to themselves
ALONE = ("TableOfAnswers", "Ports", "Faults", "StalledClients", "SteadyReader", "TheRule")
ALONE_TOO = ("BehindNginx",)  # nginx leaves a copy out for ten seconds, should it be slow once


class SideBySide(unittest.TestSuite):
    """Test classes that run at the same time, each in a thread: they mostly wait for processes."""

    def run(self, result: unittest.TestResult, debug: bool = False) -> unittest.TestResult:
        """Run them all."""
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda suite: suite(result), self))
        return result


def load_tests(loader: unittest.TestLoader, _: Any, __: Any) -> unittest.TestSuite:
    """Return all tests: first those that may run side by side, then the others one by one."""
    together, alone = SideBySide(), unittest.TestSuite()
    for module in MODULES:
        for tests in loader.loadTestsFromName(f"tests.test_{module}"):
            assert isinstance(tests, unittest.TestSuite)
            name = type(next(iter(tests))).__name__
            (alone if name in ALONE + ALONE_TOO else together).addTest(tests)
    return unittest.TestSuite([together, alone])
