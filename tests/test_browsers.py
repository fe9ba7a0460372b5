"""Chromium and Firefox open the page: its picture is shown, by two requests, without complaints."""

import contextlib
import functools
import http.client
import io
import json
import os
import pathlib
import re
import socket
import subprocess
import tempfile
import time
import unittest
from collections.abc import Callable, Iterator
from typing import Any

from tests.support import ROOT, Server, require

DEADLINE = 60.0  # seconds for any answer: Firefox starts in 3, but in 20 on a crowded machine
QUIET = 0.5  # seconds without a request, after which no more is expected: an icon comes at once

LOOK = """
const picture = document.querySelector("img");
return picture.decode().then(() => true, () => false).then(decoded => ({
    state: document.readyState, title: document.title,
    complete: picture.complete, decoded: decoded, visible: picture.clientWidth > 0,
    size: [picture.naturalWidth, picture.naturalHeight],
}));
"""
CHROMIUM_ARGUMENTS = (  # chromedriver adds a new profile and what keeps Chromium off the network
    "--headless=new",
    "--no-sandbox",  # root, as in CI, can't have one
    "--disable-component-update",
    "--remote-debugging-pipe",  # so it ends with its driver, however that ends
)
FIREFOX_ARGUMENTS = (
    "--headless",
    "--no-remote",
    "--marionette",  # this also sets most of what keeps Firefox off the network
    "--remote-allow-system-access",  # its consoles are out of a page's reach
)
FIREFOX_SETTINGS = """
user_pref("marionette.port", 0);
user_pref("app.normandy.enabled", false);
user_pref("browser.startup.page", 0);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("network.connectivity-service.enabled", false);
"""
# Firefox keeps what the scripts of a page log apart from what it reports about the page itself.
FIREFOX_LOGGED = """
const storage = Components.classes["@mozilla.org/consoleAPI-storage;1"];
return storage.getService(Components.interfaces.nsIConsoleAPIStorage)
    .getEvents(window.windowGlobalChild.innerWindowId)
    .filter(event => ["assert", "error", "warn"].includes(event.level))
    .map(event => event.level + ": " + event.arguments.join(" "));
"""
FIREFOX_REPORTED = """
return Services.console.getMessageArray().map(String).filter(text => text.includes(arguments[0]));
"""


class Chromium(unittest.TestCase):
    """Chromium, driven by its own driver."""

    def test_the_page(self) -> None:
        check(self, chromium)


class Firefox(unittest.TestCase):
    """Firefox, driven by the protocol that it has inside: in a class, to run beside the other."""

    def test_the_page(self) -> None:
        check(self, firefox)


def check(test: unittest.TestCase, browse: "Callable[[Server], tuple[Any, list[str]]]") -> None:
    """Compare what a new browser shows, asks for and complains about with what it should."""
    with Server() as server:
        seen, complaints = browse(server)
        test.assertEqual(server.stop(), (0, ""))
        requests = [line.partition("] ")[2].rpartition(" ")[0] for line in server.log()]

    page = (ROOT / "index.html").read_text(encoding="utf-8")
    title = re.findall(r"<title>(.+)</title>", page)[0]
    size = re.findall(r'<img [^>]*width="([1-9]\d*)" height="([1-9]\d*)"', page)[0]
    shown = {"complete": True, "decoded": True, "visible": True, "size": [*map(int, size)]}
    test.assertEqual(seen, {"state": "complete", "title": title, **shown})
    test.assertEqual(requests, ['"GET / HTTP/1.1" 200', '"GET /test.jpg HTTP/1.1" 200'])
    test.assertEqual(complaints, [])


def chromium(server: Server) -> "tuple[Any, list[str]]":
    """Open the page in Chromium; return what LOOK sees and what the console complains about."""
    browser, driver = require("chromium", "google-chrome"), require("chromedriver")
    options = {"binary": browser, "args": CHROMIUM_ARGUMENTS}
    wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
    with contextlib.ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(running(home, driver, "--port=0"))
        port = int(find(home, "output", r"successfully on port (\d+)"))
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
        stack.enter_context(contextlib.closing(connection))
        command = functools.partial(webdriver, connection)
        created = command("POST", "/session", capabilities={"alwaysMatch": wanted})
        session = f"/session/{created['sessionId']}"
        stack.callback(command, "DELETE", session)  # Chromium has ended when this returns
        command("POST", f"{session}/url", url=server.url)
        seen = command("POST", f"{session}/execute/sync", script=LOOK, args=[])
        wait_until_quiet(server)
        entries = command("POST", f"{session}/se/log", type="browser")
    return seen, [entry["message"] for entry in entries if entry["level"] in ("WARNING", "SEVERE")]


def webdriver(
    connection: http.client.HTTPConnection, method: str, path: str, **parameters: Any
) -> Any:
    """Return the result of a command of the WebDriver standard: JSON over HTTP."""
    connection.request(method, path, json.dumps(parameters))
    response = connection.getresponse()
    result = json.loads(response.read())["value"]
    assert response.status == 200, result
    return result


def firefox(server: Server) -> "tuple[Any, list[str]]":
    """Open the page in Firefox; return what LOOK sees and what the consoles complain about."""
    browser = require("firefox-esr", "firefox")
    with contextlib.ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory())
        pathlib.Path(home, "user.js").write_text(FIREFOX_SETTINGS)
        process = stack.enter_context(running(home, browser, *FIREFOX_ARGUMENTS, "--profile", home))
        port = int(find(home, "MarionetteActivePort", r"(\d+)"))
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), DEADLINE))
        stream = stack.enter_context(connection.makefile("rwb"))
        read_message(stream)  # its greeting
        command = functools.partial(marionette, stream)
        command("WebDriver:NewSession")
        stack.callback(process.wait, DEADLINE)
        stack.callback(command, "Marionette:Quit", flags=["eForceQuit"])
        run = functools.partial(command, "WebDriver:ExecuteScript")
        command("WebDriver:Navigate", url=server.url)
        seen = run(script=LOOK, args=[])["value"]
        wait_until_quiet(server)
        logged = run(script=FIREFOX_LOGGED, args=[], sandbox="system")["value"]
        command("Marionette:SetContext", value="chrome")
        reported = run(script=FIREFOX_REPORTED, args=[server.url])["value"]
    return seen, logged + reported


def marionette(stream: io.BufferedRWPair, name: str, **parameters: Any) -> Any:
    """Return the result of a command of Firefox's own protocol: JSON after its length."""
    message = json.dumps([0, 0, name, parameters]).encode()  # 0: a command; 0: its number
    stream.write(b"%d:%b" % (len(message), message))
    stream.flush()
    _, _, error, result = read_message(stream)
    assert not error, error
    return result


def read_message(stream: io.BufferedRWPair) -> Any:
    """Return the next message from Firefox."""
    length = b""
    while (byte := stream.read(1)).isdigit():
        length += byte
    return json.loads(stream.read(int(length)))


@contextlib.contextmanager
def running(home: str, *command: str) -> "Iterator[subprocess.Popen[bytes]]":
    """Run command for the length of a with statement; what it keeps and prints goes to home."""
    environment = {**os.environ, "HOME": home, "TMPDIR": home}
    with open(f"{home}/output", "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def find(home: str, name: str, pattern: str) -> str:
    """Return the group of pattern in a file in home as soon as it is there."""
    path, text, give_up = pathlib.Path(home, name), "", time.monotonic() + DEADLINE
    while time.monotonic() < give_up:
        text = path.read_text() if path.exists() else ""
        if found := re.search(pattern, text):
            return found[1]
        time.sleep(0.02)
    raise AssertionError(f"no {pattern} in {name}: {text}")


def wait_until_quiet(server: Server) -> None:
    """Return as soon as the log hasn't grown for a while."""
    size, since, give_up = 0, time.monotonic(), time.monotonic() + DEADLINE
    while time.monotonic() < min(since + QUIET, give_up):
        if size < (size := os.stat(server.log_file.fileno()).st_size):
            since = time.monotonic()
        time.sleep(0.02)
