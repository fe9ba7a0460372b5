"""Pages that only the tests ask for: /sleep?2 calls page_sleep with "2"."""

import builtins
import gc
import os
import time
from collections import namedtuple
from typing import Any

from server import Refused, Request, Response
from server import respond as usual_pages

TEXT = "text/plain; charset=utf-8"
# Parts of responses, by somebody who hasn't read what each of them is
PARTS: list[Any] = [
    *(("200 OK", TEXT, content) for content in ("text", None, 9, [b"a"])),
    *((status, TEXT, b"") for status in (200, b"200 OK", "", None)),
    *(("200 OK", kind, b"") for kind in (None, b"text/plain", "", "\u00e4")),
    *(("200 OK", TEXT, b"", fields) for fields in ("A: b", None, [b"A: b"], ["A"])),
]
for end in ("\n", "\r\n", "\r", "\nA: b", "\r\nA: b", "\r\n\r\nA"):
    PARTS.append((f"200 OK{end}", TEXT, b""))
    PARTS.append(("200 OK", f"text/plain{end}", b""))
    PARTS.append(("200 OK", TEXT, b"", [f"A: b{end}"]))
Lookalike = namedtuple("Lookalike", ["status", "content_type", "content", "fields"])
WRONG = [
    Lookalike("200 OK", TEXT, b"not a Response", ()),
    *(None, 1, "HTTP/1.1 200 OK", b"hello\r\n\r\nyou", ("200 OK", TEXT, b""), Response),
    *(Response(*parts) for parts in PARTS),
]


def respond(request: Request) -> Response:
    """Return one of these pages, or the usual ones."""
    page = globals().get(f"page_{request.path[1:]}")
    return page(request.query) if page else usual_pages(request)


def text(value: object, *fields: str) -> Response:
    """Return a page that holds a value."""
    return Response("203 Test", TEXT, str(value).encode(), fields)


def page_size(number: str) -> Response:
    """Return a page of so many bytes, made anew."""
    return Response("200 OK", "image/jpeg", bytes(int(number)))


def page_sleep(seconds: str) -> Response:
    """Let everybody wait."""
    time.sleep(float(seconds))
    return text("slept")


def page_bug(name: str) -> Response:
    """Raise an exception."""
    raise getattr(builtins, name)("a bug")


class Odd(NameError):
    """A bug that has a bug itself: Python can't even make its traceback."""

    def __getattr__(self, name: str) -> Any:
        """Raise another exception than Python expects."""
        raise KeyError(name)


def page_odd(_: str) -> None:
    """Raise it where Python looks for names that are like its own."""
    self = Odd("a bug", name="titel")
    raise self


def page_refuse(_: str) -> Response:
    """Refuse, with a status and fields of its own."""
    raise Refused("418 Teapot", "no coffee", "A: b", "C: d")


def page_wrong(number: str) -> Any:
    """Return what isn't a response."""
    return WRONG[int(number)]


def page_descriptor(_: str) -> Response:
    """Tell the lowest number that is free for a file."""
    number = os.dup(1)  # on Windows, 0 is locked while launch.py reads from it
    os.close(number)
    return text(number)


def page_clock(second: str) -> Response:
    """Set the clock."""
    time.time = lambda: float(second)
    return text("set")


def page_computed(_: str) -> Response:
    """Tell how many seconds the server has computed."""
    return text(time.process_time())


def page_field(value: str) -> Response:
    """Return a long field, and set the clock, as if each came a day later."""
    page_clock(str(86400 * int(value)))
    return text("", f"A: {value * 2000}")


def page_memory(_: str) -> Response:
    """Tell how many bytes Python has in use; this needs CPython."""
    import tracemalloc

    tracemalloc.start()
    gc.collect()
    return text(tracemalloc.get_traced_memory()[0])
