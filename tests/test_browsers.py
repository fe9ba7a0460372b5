"""Browsers and the usual tools get the page and the picture, as the log tells."""

import functools
import os
import pathlib
import re
import subprocess
import unittest
from concurrent.futures import ThreadPoolExecutor
from tempfile import TemporaryDirectory

from tests.support import PAGE, PICTURE, Server, require

LIMIT = 90.0  # seconds for a browser on a crowded machine; alone it takes one to three
CHROMIUM = (  # root can't have a sandbox; nothing is to be asked of other hosts
    "--headless --no-sandbox --disable-gpu --user-data-dir=. "
    "--disable-background-networking --disable-component-update --no-first-run "
    "--window-size=900,1600"
)
FIREFOX = "--headless --no-remote --profile . --window-size=900,1600"
PHP = "readfile($argv[1]);"
FIREFOX_SETTINGS = """
user_pref("app.normandy.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("network.captive-portal-service.enabled", false);
"""


def run(folder: str, *command: str) -> bytes:
    """Return what a tool prints; all that it keeps goes into folder."""
    places = {"HOME": folder, "TMPDIR": folder, "no_proxy": "127.0.0.1"}
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **places},
        timeout=LIMIT,
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ).stdout


class Browsers(unittest.TestCase):
    """The page is shown with its picture."""

    def look(self, browser: str, options: str, changes: str) -> int:
        """Open the page, and return the size of its screenshot."""
        with Server(changes=changes) as running, TemporaryDirectory() as folder:
            pathlib.Path(folder, "user.js").write_text(FIREFOX_SETTINGS)
            shot = pathlib.Path(folder, "shot.png")
            last = (f"--screenshot={shot}", running.url)
            run(folder, browser, *options.split(), *last)
            self.assertEqual(running.errors(), "")
            requests = re.findall(r'"GET (\S+) HTTP/1.1" 200', str(running.log()))
            self.assertEqual(requests, ["/", "/test.jpg"])
            return shot.stat().st_size

    def check(self, browser: str, options: str) -> None:
        """See that the screenshot would be much smaller without the picture."""
        look = functools.partial(self.look, browser, options)
        with ThreadPoolExecutor(2) as pool:
            size, without = pool.map(look, ("", "no_picture"))
        self.assertGreater(size, 1.5 * without)

    def test_chromium(self) -> None:
        """It takes its settings from its options."""
        self.check(require("chromium", "google-chrome"), CHROMIUM)

    def test_firefox(self) -> None:
        """It takes its settings from a file."""
        self.check(require("firefox-esr", "firefox"), FIREFOX)


class Tools(unittest.TestCase):
    """They get page and picture as the files are."""

    def test_files(self) -> None:
        """They speak HTTP/1.1, and some versions of PHP 1.0."""
        commands = (("curl", "-sS"), ("wget", "-qO-"), ("php", "-r", PHP))
        with Server() as running, TemporaryDirectory() as folder:
            for name, *options in commands:
                with self.subTest(name):
                    for path, content in {"": PAGE, "test.jpg": PICTURE}.items():
                        command = (require(name), *options, running.url + path)
                        self.assertEqual(run(folder, *command), content)

    def test_curl(self) -> None:
        """It can ask for a head, and send a body, too."""
        curl = require("curl")
        with Server() as running, TemporaryDirectory() as folder:
            head = run(folder, curl, "-sSI", running.url)
            self.assertRegex(head, rb"^HTTP/1\.1 200 OK\r\n(.+\r\n)+\r\n$")
            pathlib.Path(folder, "body").write_bytes(b"x" * 10**7)
            answer = run(folder, curl, "-sS", "--data-binary", "@body", running.url)
            self.assertRegex(answer, rb"^405 .+\n$")
