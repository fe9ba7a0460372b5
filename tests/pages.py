"""Pages that only the tests ask for: /sleep?2 calls sleep with "2"."""

import builtins
import contextlib
import gc
import os
import pathlib
import threading
import time
from typing import Any, Callable

from server import Refused, Request, Response
from server import respond as usual_pages

TEXT = "text/plain; charset=utf-8"
GIVEN: Any = Response  # by somebody who hasn't read what its parts are
WRONG = [
    *(None, 1, "HTTP/1.1 200 OK", b"hello\r\n\r\nyou", ("200 OK", TEXT, b""), Response),
    *(GIVEN("200 OK", TEXT, content) for content in ("text", None, 9, [b"a"])),
    *(GIVEN(status, TEXT, b"") for status in (200, b"200 OK", "", None)),
    *(GIVEN("200 OK", kind, b"") for kind in (None, b"text/plain", "", "\u00e4")),
    *(
        GIVEN("200 OK", TEXT, b"", fields)
        for fields in ("A: b", None, [b"A: b"], ["A"])
    ),
]
for end in ("\n", "\r\n", "\r", "\nA: b", "\r\nA: b", "\r\n\r\nA"):
    WRONG.append(GIVEN(f"200 OK{end}", TEXT, b""))
    WRONG.append(GIVEN("200 OK", f"text/plain{end}", b""))
    WRONG.append(GIVEN("200 OK", TEXT, b"", [f"A: b{end}"]))

PAGES: dict[str, Callable[[str], Any]] = {}


def page(function: Callable[[str], Any]) -> Callable[[str], Any]:
    """Make a page of a function."""
    PAGES[f"/{function.__name__}"] = function
    return function


def respond(request: Request) -> Response:
    """Return one of these pages, or the usual ones."""
    added = PAGES.get(request.path)
    return added(request.query) if added else usual_pages(request)


def text(value: object, *fields: str) -> Response:
    """Return a page that holds a value."""
    return Response("203 Test", TEXT, str(value).encode(), fields)


@page
def size(number: str) -> Response:
    """Return a page of so many bytes, made anew."""
    return Response("200 OK", "image/jpeg", bytes(int(number)))


@page
def sleep(seconds: str) -> Response:
    """Let everybody wait."""
    time.sleep(float(seconds))
    return text("slept")


@page
def bug(name: str) -> Response:
    """Raise an exception."""
    raise getattr(builtins, name)("a bug")


@page
def refuse(_: str) -> Response:
    """Refuse, with a status and fields of its own."""
    raise Refused("418 Teapot", "no coffee", "A: b", "C: d")


@page
def wrong(number: str) -> Any:
    """Return what isn't a response."""
    return WRONG[int(number)]


@page
def opened(_: str) -> Response:
    """Open a file, as a page with a database does."""
    return text(len(pathlib.Path(__file__).read_bytes()))


@page
def descriptor(_: str) -> Response:
    """Tell the lowest number that is free for a file."""
    number = os.dup(0)
    os.close(number)
    return text(number)


@page
def fill(seconds: str) -> Response:
    """Let the log be a pipe that is full, and is read later."""
    reader, writer = os.pipe()
    os.dup2(writer, 1)
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x")
    os.set_blocking(writer, True)
    threading.Timer(float(seconds), os.read, (reader, 1 << 16)).start()
    return text("filled")


@page
def clock(second: str) -> Response:
    """Set the clock."""
    time.time = lambda: float(second)
    return text("set")


@page
def computed(_: str) -> Response:
    """Tell how many seconds the server has computed."""
    return text(time.process_time())


@page
def field(value: str) -> Response:
    """Return a long field, and set the clock, as if each came a day later."""
    clock(str(86400 * int(value)))
    return text("", f"A: {value * 2000}")


@page
def memory(_: str) -> Response:
    """Tell how many bytes Python has in use; this needs CPython."""
    import tracemalloc

    tracemalloc.start()
    gc.collect()
    return text(tracemalloc.get_traced_memory()[0])
