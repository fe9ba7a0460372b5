"""Browsers and the usual tools get the page and the picture, and the server's log tells how."""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

from tests.support import ROOT, Server, require

LIMIT = 90.0  # seconds for a browser on a crowded machine; alone it takes one to three
BROKEN = 'server.pic_content = server.make_response("200 OK", "image/jpeg", b"no picture")'
CHROMIUM = (  # root, as in CI, can't have a sandbox; nothing is to be asked of other hosts
    *("--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir=profile", "--dump-dom"),
    *("--disable-background-networking", "--disable-component-update", "--no-first-run"),
)
FIREFOX_SETTINGS = """
user_pref("app.normandy.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("network.captive-portal-service.enabled", false);
"""


def run(folder: str, *command: str) -> bytes:
    """Return what a tool prints; all that it keeps goes into folder."""
    environment = {**os.environ, "HOME": folder, "TMPDIR": folder, "no_proxy": "127.0.0.1"}
    return subprocess.run(
        command, cwd=folder, env=environment, timeout=LIMIT, check=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ).stdout  # fmt: skip


class Browsers(unittest.TestCase):
    def look(self, code: str, *command: str) -> "tuple[int, bytes]":
        """Let a browser open the page; return the size of its screenshot, and its output."""
        with Server(code=code) as server, tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "profile").mkdir()
            pathlib.Path(folder, "profile", "user.js").write_text(FIREFOX_SETTINGS)
            shot = pathlib.Path(folder, "shot.png")
            output = run(folder, *command, f"--screenshot={shot}", server.url)
            self.assertEqual(server.kill(), "")
            requests = [line.partition("] ")[2].rpartition(" ")[0] for line in server.log()]
            self.assertEqual(requests, ['"GET / HTTP/1.1" 200', '"GET /test.jpg HTTP/1.1" 200'])
            return shot.stat().st_size, output

    def check(self, *command: str) -> bytes:
        """See that the picture is shown: without it, the screenshot would be much smaller."""
        size, output = self.look("", *command)
        self.assertGreater(size, 1.5 * self.look(BROKEN, *command)[0])
        return output

    def test_chromium(self) -> None:
        browser = require("chromium", "google-chrome")
        shown = self.check(browser, *CHROMIUM, "--window-size=900,1600").decode()
        self.assertIn(re.findall("<h1>.*</h1>", (ROOT / "index.html").read_text("utf-8"))[0], shown)

    def test_firefox(self) -> None:
        browser = require("firefox-esr", "firefox")
        options = ("--headless", "--no-remote", "--profile", "profile", "--window-size=900,1600")
        self.check(browser, *options)


class Tools(unittest.TestCase):
    def check(self, *command: str) -> None:
        """Let a tool print page and picture, as the files are."""
        with Server() as server, tempfile.TemporaryDirectory() as folder:
            for path, file in (("", "index.html"), ("test.jpg", "test.jpg")):
                with self.subTest(path):
                    got = run(folder, *command, server.url + path)
                    self.assertEqual(got, (ROOT / file).read_bytes())

    def test_curl(self) -> None:
        curl = require("curl")
        self.check(curl, "-sS")
        with Server() as server, tempfile.TemporaryDirectory() as folder:
            head = run(folder, curl, "-sSI", server.url).decode()
            self.assertRegex(head, r"^HTTP/1\.1 200 OK\r\n(.+\r\n)+\r\n$")
            body = pathlib.Path(folder, "body")
            body.write_bytes(b"x" * 10**7)
            answer = run(folder, curl, "-sS", "--data-binary", f"@{body}", server.url)
            self.assertRegex(answer.decode(), r"^405 .+\n$")

    def test_wget(self) -> None:
        self.check(require("wget"), "-qO-")

    def test_php(self) -> None:
        self.check(require("php"), "-r", "readfile($argv[1]);")
