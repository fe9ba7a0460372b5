"""Browsers and the usual tools get the page and the picture, as the log tells."""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor

from tests.support import PAGE, PICTURE, Server, require

CHANGES = ("", "no_picture")
LIMIT = 90.0  # seconds for a browser on a crowded machine; alone it takes one to three
CHROMIUM = (  # root can't have a sandbox; nothing is to be asked of other hosts
    "--headless --no-sandbox --disable-gpu --user-data-dir=profile --dump-dom "
    "--disable-background-networking --disable-component-update --no-first-run"
)
FIREFOX = "--headless --no-remote --profile profile"
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

    def look(self, changes: str, browser: str, options: str) -> tuple[int, bytes]:
        """Open the page; return the size of its screenshot, and what is printed."""
        with Server(changes=changes) as running:
            with tempfile.TemporaryDirectory() as folder:
                profile, shot = pathlib.Path(folder, "profile"), f"{folder}/shot.png"
                profile.mkdir()
                (profile / "user.js").write_text(FIREFOX_SETTINGS)
                size = (f"--screenshot={shot}", "--window-size=900,1600")
                output = run(folder, browser, *options.split(), *size, running.url)
                self.assertEqual(running.errors(), "")
                requests = re.findall(r'"GET (\S+) HTTP/1.1" 200', str(running.log()))
                self.assertEqual(requests, ["/", "/test.jpg"])
                return pathlib.Path(shot).stat().st_size, output

    def check(self, browser: str, options: str) -> bytes:
        """See that the screenshot would be much smaller without the picture."""
        with ThreadPoolExecutor(2) as pool:
            looks = [pool.submit(self.look, c, browser, options) for c in CHANGES]
        (size, output), (without, _) = (look.result() for look in looks)
        self.assertGreater(size, 1.5 * without)
        return output

    def test_chromium(self) -> None:
        """It has the page's heading, too."""
        shown = self.check(require("chromium", "google-chrome"), CHROMIUM)
        self.assertIn(re.findall(b"<h1>.*</h1>", PAGE)[0], shown)

    def test_firefox(self) -> None:
        """It keeps its settings in a file."""
        self.check(require("firefox-esr", "firefox"), FIREFOX)


class Tools(unittest.TestCase):
    """They print page and picture as the files are."""

    def check(self, *command: str) -> None:
        """Let a tool print both."""
        with Server() as running, tempfile.TemporaryDirectory() as folder:
            for path, content in {"": PAGE, "test.jpg": PICTURE}.items():
                with self.subTest(path):
                    self.assertEqual(run(folder, *command, running.url + path), content)

    def test_curl(self) -> None:
        """It can ask for a head, and send a body, too."""
        curl = require("curl")
        self.check(curl, "-sS")
        with Server() as running, tempfile.TemporaryDirectory() as folder:
            head = run(folder, curl, "-sSI", running.url).decode()
            self.assertRegex(head, r"^HTTP/1\.1 200 OK\r\n(.+\r\n)+\r\n$")
            body = pathlib.Path(folder, "body")
            body.write_bytes(b"x" * 10**7)
            answer = run(folder, curl, "-sS", "--data-binary", f"@{body}", running.url)
            self.assertRegex(answer.decode(), r"^405 .+\n$")

    def test_wget(self) -> None:
        """It speaks HTTP/1.1 as curl does."""
        self.check(require("wget"), "-qO-")

    def test_php(self) -> None:
        """It speaks HTTP/1.0 or 1.1, as its version wants."""
        self.check(require("php"), "-r", "readfile($argv[1]);")
