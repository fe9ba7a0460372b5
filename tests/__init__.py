"""Tests of server.py: run `python -m unittest` in the folder above."""

import concurrent.futures
import unittest
from typing import Any

WAITING = ("test_browsers", "test_readme", "test_fuzz")  # these mostly wait for other processes


class SideBySide(unittest.TestSuite):
    """Tests that run at the same time, each class in a thread of its own."""

    def run(self, result: unittest.TestResult, debug: bool = False) -> unittest.TestResult:
        """Run them all, and the slowest first."""
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(lambda suite: suite.run(result, debug), self))
        return result


def load_tests(loader: unittest.TestLoader, _: Any, __: Any) -> unittest.TestSuite:
    """Return all tests: first those that wait, then one by one those with a clock in them."""
    names = (
        "test_browsers",
        "test_readme",
        "test_fuzz",
        "test_answer",
        "test_operator",
        "test_patience",
    )
    suites = {name: loader.loadTestsFromName(f"tests.{name}") for name in names}
    waiting = [classes for name in WAITING for classes in suites.pop(name)]
    return unittest.TestSuite([SideBySide(waiting), *suites.values()])
