"""A web server from the socket up: one page, one picture, one loop.

    python server.py            then open http://127.0.0.1:8000/ in a browser
    curl -i 127.0.0.1:8000      in another terminal: the same, as bytes

The way of a request: main accepts a client, and converse talks with it. It receives
the request, parse takes the request apart, and respond chooses a page. Then converse
logs the answer, sends it and closes the connection.

A head is a start line (GET / HTTP/1.1), field lines (Host: a.org) and an empty line; a
body may follow. RFC 9110 says what HTTP means, and RFC 9112 how it looks: "9112 3.2" is
a section of it.

There are four parts: pages, the server, the log, the rules of HTTP. Who has read the
first two has understood the server.
"""

from __future__ import annotations  # type hints may name what comes later

import argparse
import email.utils
import errno
import functools
import itertools
import os
import pathlib
import re
import signal
import socket
import sys
import time
import traceback
import urllib.parse
from contextlib import closing, suppress
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from typing import Any, Generator, NamedTuple, Sequence, TextIO

# ---------------------------------- 1. Pages ----------------------------------


# A NamedTuple is a tuple whose parts have names.
class Request(NamedTuple):
    """What a client asks for; a page can look at all of it."""

    method: str  # GET or HEAD
    path: str  # unescaped: /café, and not /caf%C3%A9
    query: str  # what follows the "?", still escaped: urllib.parse.parse_qs reads it
    head: bytes  # as the client has sent it
    has_body: bool  # whether a body follows, which nobody reads

    @property  # request.fields is what this returns: it runs when a page asks
    def fields(self) -> dict[str, str]:
        """The values by lower-case names: request.fields["user-agent"]."""
        _, *lines = self.head.strip(b"\r\n").splitlines()  # all but the start line
        return read_fields(lines)


class Response(NamedTuple):
    """What goes back to a client; the server adds the date, the length and the end."""

    status: str
    content_type: str
    content: bytes
    fields: Sequence[str] = ()  # more lines for the head, such as "Allow: GET, HEAD"


class Refused(Exception):
    """Says why there is no page: raised with status and reason, maybe with fields."""


def read_file(name: str) -> bytes:
    """Return the bytes of a file beside this one, or exit with one sentence."""
    try:
        return pathlib.Path(__file__).resolve().with_name(name).read_bytes()
    except OSError as error:
        sys.exit(f"Cannot read {name} ({error.strerror}): it belongs to server.py.")


text_content = Response("200 OK", "text/html; charset=utf-8", read_file("index.html"))
pic_content = Response("200 OK", "image/jpeg", read_file("test.jpg"))


def respond(request: Request) -> Response:
    """Return the page for a GET or HEAD request: the place to add one."""
    if request.path in ("/", "/index.html"):
        return text_content
    if request.path == "/test.jpg":
        return pic_content
    raise Refused("404 Not Found", "nothing here has this path")


def refusal(status: str, why: str, *fields: str) -> Response:
    """Return the response that says in one line why there is no page."""
    content = f"{status}: {why}.\n".encode()
    return Response(status, "text/plain; charset=utf-8", content, fields)


bug_content = refusal(
    "500 Internal Server Error", "this page has a bug: see the server's terminal"
)


# -------------------------------- 2. The server --------------------------------

HEAD_SECONDS = 10.0  # for a head to come, and for reading on after the response
PIECE_SECONDS = 60.0  # without any progress in sending: networks can be gone for long
LAST_SECONDS = 0.5  # after a signal: whoever has come by then is answered
PIECE = 64 * 1024  # bytes: what is received at once, or sent together with a head
SIGNALS = (signal.SIGINT, signal.SIGTERM)  # Ctrl-C, and what kill sends
# What accept raises if no descriptor (the number of an open file or socket) is left, or
# no memory. Any other error means that nobody else has come, or is gone again.
NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

#   the loop:        wait -> go on with who can -> begin with who is new -> wait -> ...
#
#   a conversation:  receive ... answer, log, send ... read on ... close
#
# A conversation is a generator: a function that can pause. At "..." it would have to
# wait. So it yields a pause, which says for what: the socket of its client, an event on
# it, and a deadline. The loop lets it go on after the event or the deadline.
Conversation = Generator[Any, None, Any]  # yields pauses, gets nothing, may return


def main() -> None:
    """Serve whoever comes, until half a second after a signal."""
    arguments = read_arguments()
    room = WaitingRoom()
    end = float("inf")  # no end yet

    def stop(number: int, _: object) -> None:
        """Let the loop end soon; if a page hangs, the next signal ends it at once."""
        nonlocal end  # that of main
        end = time.monotonic() + LAST_SECONDS  # on a clock that nobody can put back
        signal.signal(number, signal.SIG_DFL)  # the system's: no "finally" runs then

    handlers = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        with closing(room), listen(arguments.bind, arguments.port) as listener:
            room.selector.register(listener, EVENT_READ)
            while time.monotonic() < end:
                try:
                    room.wait()  # for all clients at once, and for new ones
                    for _ in range(100):  # then it is the turn of those that wait
                        client, address = listener.accept()
                        room.go_on(converse(client, address, arguments.verbose))
                except OSError as error:  # mostly BlockingIOError: nobody else has come
                    if error.errno in NO_ROOM:
                        room.close_oldest()
                except (MemoryError, ValueError):  # select on Windows: over 512 sockets
                    room.close_oldest()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)  # what it returned above: the one before


def read_arguments() -> argparse.Namespace:
    """Return port, bind and verbose, or exit with what is wrong on the command line."""
    parser = argparse.ArgumentParser(description="Serve a page and a picture.")
    parser.add_argument(
        "port", nargs="?", type=int, default=8000, help="0: a free one; default: 8000"
    )
    parser.add_argument(
        "--bind",
        metavar="ADDRESS",
        default="127.0.0.1",
        help="0.0.0.0: all of this computer",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="show the heads")
    arguments = parser.parse_args()
    if not 0 <= arguments.port <= 65535 or not arguments.bind:
        parser.error("a port is a number up to 65535, and an address isn't empty")
    return arguments


def listen(address: str, port: int) -> socket.socket:
    """Return a socket that listens, or exit with one sentence."""
    listener = None
    try:
        # SOCK_STREAM means TCP; IPv4 (127.0.0.1) and IPv6 (::1) are families.
        found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)
        family, kind, _, _, place = found[0]
        listener = socket.socket(family, kind)
        # Without this, bind may fail for a minute after the last server's end. On
        # Windows it means something else: two servers could share a port.
        with suppress(OSError):  # if the system refuses, go on without
            reuse = os.name == "posix"
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
        # Only Linux has this: who has asked is accepted at once, who is silent a second
        # later.
        with suppress(AttributeError, OSError):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1)
        listener.bind(place)
        listener.listen(socket.SOMAXCONN)  # with as long a queue as the system allows
    except (OSError, ValueError) as error:  # ValueError: a name that can't be one
        if listener:
            listener.close()
        sys.exit(f"Cannot use {address} port {port} ({error}): try another.")
    listener.setblocking(False)  # now accept raises BlockingIOError, and never waits
    host, port = listener.getsockname()[:2]
    host = f"[{host}]" if ":" in host else host
    # 0.0.0.0 and :: mean all addresses of this computer: show one that can be opened.
    host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)
    write(sys.stderr, f"Serving http://{host}:{port}/ (Ctrl-C stops)\n")
    return listener


def converse(client: socket.socket, address: Any, verbose: bool) -> Conversation:
    """Talk with one client, from its first byte to the close of its connection."""
    with client:
        client.setblocking(False)  # recv and send raise BlockingIOError, too
        deadline = time.monotonic() + HEAD_SECONDS
        # "yield from" runs another generator here. Its pauses are pauses of this one,
        # and what it returns at its end is the value.
        received = yield from receive(client, deadline)
        if not received.strip(b"\r\n"):
            return  # a spare connection of a browser: nothing to answer or to log
        is_late = time.monotonic() > deadline
        response, head = answer(received, is_late)
        try:
            log(address, received, response, head if verbose else b"")
        except Exception:  # a bug in log; one in a page is caught in answer
            show_bug()
            response, head = finish(received, bug_content)
        in_pieces = yield from send(client, head, response.content)
        if in_pieces or more_may_come(received, response.status):
            # A close with bytes unread ends the connection by an error, a reset: what
            # of the response is still on its way would be lost.
            yield from read_on(client)


def receive(client: socket.socket, deadline: float) -> Conversation:
    """Return bytes that can be answered, or fewer if the client ends or is late."""
    received = b""
    pause = (client, EVENT_READ, deadline)
    while True:
        piece = yield from attempt(client.recv, PIECE, pause)  # client.recv(PIECE)
        received += piece or b""  # None if the client is late or gone
        if not piece or is_enough(received) or time.monotonic() > deadline:
            return received
        yield pause  # after each piece it is the turn of others


def answer(received: bytes, is_late: bool) -> tuple[Response, bytes]:
    """Return the response to whatever a client has sent, and its head."""
    try:
        return finish(received, choose(received, is_late))
    except Exception:  # this client is told, and the next one is served
        show_bug()
        return finish(received, bug_content)


def choose(received: bytes, is_late: bool) -> Response:
    """Return a page, or the refusal of what breaks a rule or isn't complete in time."""
    try:
        return respond(parse(received))
    except Refused as refused:
        if is_late and isinstance(refused, Incomplete):
            return refusal("408 Request Timeout", "the head took more than ten seconds")
        return refusal(*refused.args)  # what it was raised with


def finish(received: bytes, response: Response) -> tuple[Response, bytes]:
    """Return a response as the request's method wants it, and its head."""
    if not isinstance(response, Response) or not isinstance(response.content, bytes):
        raise TypeError("a page returns a Response, and its content is bytes")
    status, content_type, content, fields = response
    length, second = len(content), int(time.time())
    head = write_head(status, content_type, length, tuple(fields), second)
    if received.lstrip(b"\r\n").startswith(b"HEAD "):
        response = response._replace(content=b"")  # the head is the same (9110 9.3.2)
    return response, head


# [ -~] is each visible character of ASCII, and the blank.
STATUS = re.compile(r"[2-5]\d\d [ -~]+")
FIELD = re.compile(r"[\w-]+: [ -~]+")


# lru_cache remembers the last results by the arguments. So these can't be lists, which
# can change, and the result depends on nothing else: here, the time is an argument.
# The same page is often sent again in the same second.
@functools.lru_cache(maxsize=4)
def write_head(
    status: str, content_type: str, length: int, fields: tuple[str, ...], second: int
) -> bytes:
    """Return a head, or raise ValueError if a line of it is wrong (9112 4 and 5)."""
    date, _ = dates(second)
    start = f"HTTP/1.1 {status}\r\nDate: {date}\r\nContent-Length: {length}"
    lines = ["Content-Type: " + content_type, *fields, "Connection: close"]
    # A page may put a stranger's query into a line; line ends in it would forge fields.
    if not STATUS.fullmatch(status) or not all(map(FIELD.fullmatch, lines)):
        raise ValueError(f"these are no lines of a head: {[status, *lines]}")
    return "\r\n".join([start, *lines, "\r\n"]).encode("ascii")  # with the empty line


@functools.lru_cache(maxsize=1)  # they are the same for a whole second
def dates(second: int) -> tuple[str, str]:
    """Return seconds since 1970 as a Date field and as a log has them, in English."""
    date = email.utils.formatdate(second, usegmt=True)  # 9110 5.6.7
    _, day, month, year, clock, _ = date.split()
    return date, f"{day}/{month}/{year}:{clock} +0000"


def send(client: socket.socket, head: bytes, content: bytes) -> Conversation:
    """Send a response; return whether all of it is sent, in several pieces."""
    pieces = 0
    # Two parts, for head + content would copy all of a long one, and so would slices of
    # it; a memoryview looks into it. Each time, send takes what there is room for.
    for unsent in (head + content[:PIECE], memoryview(content)[PIECE:]):
        while unsent:
            pause = (client, EVENT_WRITE, time.monotonic() + PIECE_SECONDS)
            if pieces:
                yield pause  # after each piece it is the turn of others
            sent = yield from attempt(client.send, unsent, pause)
            if not sent:
                return False
            unsent = unsent[sent:]
            pieces += 1
    return pieces > 1  # in the time between them, the client may have sent more


def more_may_come(received: bytes, status: str) -> bool:
    """Return whether bytes of the client may be left that nobody reads (9112 9.6)."""
    if not status.startswith("2"):
        return True  # it may have been refused before its end had come
    request = parse(received)
    return request.has_body or len(request.head) < len(received)


def read_on(client: socket.socket) -> Conversation:
    """Say that all is sent, and read until the client closes or its time is over."""
    deadline = time.monotonic() + HEAD_SECONDS
    with suppress(OSError):  # the client is gone, or late: BlockingIOError is one, too
        client.shutdown(socket.SHUT_WR)
        yield client, EVENT_READ, deadline
        while client.recv(PIECE) and time.monotonic() < deadline:
            yield client, EVENT_READ, deadline


def attempt(call: Any, argument: Any, pause: Any) -> Conversation:
    """Return call(argument) as soon as it works; None if the client is late or gone."""
    while True:
        try:
            return call(argument)  # recv(PIECE) or send(unsent)
        except BlockingIOError:  # a blocking socket would wait now
            _, _, deadline = pause
            if time.monotonic() > deadline:
                return None
        except OSError:
            return None
        yield pause  # only BlockingIOError leads here: wait, and try again


class WaitingRoom:
    """The clients whose conversations pause, in the order in which these began."""

    def __init__(self) -> None:
        """Open an empty room."""
        self.selector = DefaultSelector()  # epoll, kqueue or select, as the system has
        self.pauses: dict[Conversation, Any] = {}  # by conversation, what it yielded
        self.next_look = 0.0  # when to look at all deadlines again

    def wait(self) -> None:
        """Wait until something happens; let those go on who can, or who are late."""
        for key, _ in self.selector.select(0.2):  # seconds; then main looks at "end"
            if key.data:  # the listener has none
                self.go_on(key.data)
        # Whose deadline is over goes on, too. It calls recv or send once more, for it
        # may be this program that was late. If that still can't be done, a late head
        # gets its 408, and sending ends, or reading on.
        now = time.monotonic()
        if now > self.next_look:  # five times a second
            self.next_look = now + 0.2
            all_pauses = list(self.pauses.items())  # a copy, for go_on changes the dict
            for conversation, (_, _, deadline) in all_pauses:
                if deadline < now:
                    self.go_on(conversation)

    def go_on(self, conversation: Conversation) -> None:
        """Let a conversation go on to its next pause, or to its end."""
        if conversation in self.pauses:  # so it isn't new
            client, _, _ = self.pauses[conversation]
            self.selector.unregister(client)
        try:
            pause = next(conversation)
            client, event, _ = pause
            self.pauses[conversation] = pause  # in a dict, an old key keeps its place
            self.selector.register(client, event, conversation)  # as key.data in wait
        except StopIteration:  # it has returned: its client is closed
            self.pauses.pop(conversation, None)
        except Exception:  # it costs this client alone
            self.pauses.pop(conversation, None)
            conversation.close()  # if it still pauses, for register failed
            show_bug()

    def close_oldest(self) -> None:
        """Close the eight that came first: newcomers, and files of pages, need room."""
        # With one alone, the next newcomer would leave no room for a file of its page.
        oldest = list(itertools.islice(self.pauses, 8))
        for conversation in oldest:
            client, _, _ = self.pauses.pop(conversation)
            self.selector.unregister(client)
            # This raises GeneratorExit at the yield where it pauses, however deep. That
            # isn't a kind of Exception, so no "except" of ours catches it: on its way
            # out, only "with client" acts, and closes the client.
            conversation.close()
        if not oldest:
            time.sleep(0.01)  # other programs have taken all; some may come back

    def close(self) -> None:
        """Close all conversations that pause."""
        for conversation in self.pauses:
            conversation.close()
        self.selector.close()


# ---------------------------------- 3. The log ----------------------------------

unwritten: dict[int, bytes] = {}  # by descriptor: the rest of a line, not yet taken


def log(address: Any, received: bytes, response: Response, sent: bytes) -> None:
    """Write a line in the Common Log Format, after both heads if sent isn't empty."""
    if received.startswith(b"\x16"):  # with this byte TLS begins
        write(sys.stderr, "That was TLS: open http://, not https://\n")
    host = address[0] if address else "-"  # on macOS, a client that is gone has none
    _, when = dates(int(time.time()))
    start_line = first_line(received.lstrip(b"\r\n"))[:START_LINE_LIMIT]
    # A quote of the client's would end its part of the line.
    line = escape(start_line).replace('"', r"\x22")
    result = f"{response.status[:3]} {len(response.content)}"
    entry = f'{host} - - [{when}] "{line}" {result}\n'
    if sent:
        entry = mark(">", received) + mark("<", sent) + entry
    write(sys.stdout, entry)


def show_bug() -> None:
    """Write the traceback of the exception that is handled to standard error."""
    try:
        lines = traceback.format_exc().splitlines()
    except Exception:  # it calls methods of a page's exception: these can have bugs
        lines = ["This is a bug whose traceback can't be made."]
    for line in lines:  # it may quote what a client has sent
        write(sys.stderr, escape(line) + "\n")


def mark(sign: str, message: bytes) -> str:
    """Return the lines of a head as text, with a sign before each."""
    head = re.split(rb"\n\r?\n", message.strip(b"\r\n"), maxsplit=1)[0]
    return "".join(f"{sign} {escape(line)}\n" for line in head.splitlines())


def escape(sent: str | bytes) -> str:
    """Return what was sent as text that can't do anything to a terminal."""
    return ascii(sent).lstrip("b")[1:-1]  # without quotes, and the b before bytes


def write(stream: TextIO, text: str) -> None:
    """Write a line at once, and whole, or lose it; wait for a stream that waits."""
    line = text.encode()
    try:
        descriptor = stream.fileno()
    except (AttributeError, ValueError):  # there is no stream, or it is IDLE's
        with suppress(AttributeError, OSError, ValueError):
            stream.write(text)
        return
    try:
        for rest in (unwritten.pop(descriptor, b""), line):
            while rest:
                written = os.write(descriptor, rest)  # bytes: it may take a part
                rest = rest[written:]
    except OSError:  # a closed pipe, a full disk, or a full pipe that never waits
        # As long as rest is the very object line, no byte of it is out, and it is lost.
        # But if a part of a line is out, the rest of it must go before the next.
        if rest is not line:
            unwritten[descriptor] = rest


# ----------------- 4. The rules of HTTP: may be skipped at first -----------------

START_LINE_LIMIT = 8 * 1024  # bytes; 8000 must fit (9112 3)
HEAD_LIMIT = 64 * 1024  # bytes; a browser sends about 700
BAD_REQUEST = "400 Bad Request"
OTHER_METHODS = ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"]

# The comments quote the RFCs: *(x) is x any number of times, 1*(x) at least once, [x]
# may be left out; SP is a blank, OWS blanks and tabs, CRLF the end of a line.
# In the patterns, %b takes in a part that is named behind the %; (?P<name>x) is a group
# with a name, (?:x) one that is not kept; (?i) takes capitals for small letters; (?a)
# lets \w be ASCII; (?!x) means "not followed by x".
#
# token (9110 5.6.2)
TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
# request-line = method SP request-target SP HTTP-version (9112 3); the target is looked
# at later: [!-~] is each visible character, and bytes over 0x7f can stand in a query
REQUEST_LINE = (
    rb"(?P<method>%b) (?P<target>[!-~\x80-\xff]+) HTTP/(?P<version>\d\.\d)\r?\n" % TOKEN
)
# field-line = field-name ":" OWS field-value OWS (9112 5)
FIELD_LINE = rb"%b:[\t -~\x80-\xff]*\r?\n" % TOKEN
# start-line CRLF *( field-line CRLF ) CRLF (9112 2.1), after empty lines (2.2); HEAD
# matches as many lines as are good; "empty" is None if no empty line comes after them
HEAD = re.compile(rb"(?:\r?\n)*%b(?:%b)*(?P<empty>\r?\n)?" % (REQUEST_LINE, FIELD_LINE))
# the fields that the server itself needs, each behind the end of another line; findall
# gives what is between the ( ) that are kept; .* takes a CR, too
NEEDED = re.compile(rb"(?i)\n((?:host|content-length|transfer-encoding):.*)")
# "http" "://" uri-host [ ":" port ], the beginning of an http-URI (9110 4.2.1), and the
# "/" behind it
ABSOLUTE_FORM = re.compile(r"(?i)http://([^:/?#][^/?#]*)/?")
# absolute-path = 1*( "/" segment ) (9110 4.1); browsers send [ ] | as they are
PATH = re.compile(r"(?a)/[\w\-.~!$&'()*+,;=%:@/\[\]|]*")
# Host = uri-host [ ":" port ] (9110 7.2): an IPv6 address in brackets, or a name, which
# may be empty
HOST = re.compile(r"(?a)(?:\[([\da-fA-F:.]+)\]|[\w\-.~!$&'()*+,;=%]*)(?::\d*)?")
# pct-encoded = "%" HEXDIG HEXDIG (3986 2.1), in a path or a host
WRONG_ESCAPE = re.compile(r"%(?![\da-fA-F]{2})")


class Incomplete(Refused):
    """Says that the head has no end yet: it can't be judged before more comes."""


def is_enough(received: bytes) -> bool:
    """Return whether this can be answered: it has a head, or can't become one."""
    try:
        parse(received)
        return True
    except Incomplete:
        return False
    except Exception:  # a refusal, or a bug: answer meets it again
        return True


# Each request is parsed up to three times, and browsers send the same head again. A
# Request may be remembered, for nobody can change a tuple of texts and bytes.
@functools.lru_cache(maxsize=4)
def parse(received: bytes) -> Request:
    """Return the request that these bytes begin with, or raise Refused."""
    asked = received[:HEAD_LIMIT].lstrip(b"\r\n")
    check_start(asked)
    if b"\n\r\n" not in asked and b"\n\n" not in asked:
        if len(received) < HEAD_LIMIT:
            why = "the head isn't complete: an empty line ends it"
            raise Incomplete(BAD_REQUEST, why)
        raise Refused("431 Request Header Fields Too Large", "the head is over 64 KiB")
    head = HEAD.match(received, 0, HEAD_LIMIT)  # from the first byte to the limit
    if not head:  # what stands before the start line are not just empty lines
        raise Refused(BAD_REQUEST, r"a lone \r stands before the start line")
    if not head["empty"]:
        raise Refused(BAD_REQUEST, wrong_line(received[head.end() :]))
    method, version = head["method"].decode(), head["version"].decode()
    if not version.startswith("1."):
        raise Refused("505 HTTP Version Not Supported", "only HTTP/1.x is spoken here")
    # A page may ask for the other fields; most pages don't, and most clients send many.
    fields = read_fields(NEEDED.findall(head[0]))
    check_host(version, fields)
    check_framing(version, fields)
    if method in OTHER_METHODS:
        why = "only GET and HEAD work here"
        raise Refused("405 Method Not Allowed", why, "Allow: GET, HEAD")
    if method not in ("GET", "HEAD"):
        raise Refused("501 Not Implemented", f"{shown(method)} is no method known here")
    path, query = read_target(head["target"].decode("utf-8", "replace"))
    has_body = "content-length" in fields or "transfer-encoding" in fields
    return Request(method, path, query, head[0], has_body)


def read_fields(lines: list[bytes]) -> dict[str, str]:
    """Return values by lower-case names; several are joined by commas (9110 5.3)."""
    values: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.decode("latin-1").partition(":")  # a letter for each byte
        values.setdefault(name.lower(), []).append(value.strip(" \t\r"))
    return {name: ", ".join(several) for name, several in values.items()}


def check_host(version: str, fields: dict[str, str]) -> None:
    """Raise Refused unless there is one Host, and a good one (9112 3.2)."""
    if "host" not in fields and version != "1.0":
        raise Refused(BAD_REQUEST, "HTTP/1.1 needs a Host field, such as Host: a.org")
    host = fields.get("host", "")
    if ", " in host:  # read_fields has joined several
        raise Refused(BAD_REQUEST, f"there must be one Host, and not {shown(host)}")
    if not is_host(host):
        raise Refused(BAD_REQUEST, f"Host is a name or address, not {shown(host)}")


def is_host(text: str) -> bool:
    """Return whether this is a host, maybe with a port (9110 7.2)."""
    host = HOST.fullmatch(text)
    if not host or WRONG_ESCAPE.search(text):
        return False
    try:
        if host[1]:  # what stands in brackets
            socket.inet_pton(socket.AF_INET6, host[1])
        return True
    except OSError:  # no IPv6 address
        return False


def check_framing(version: str, fields: dict[str, str]) -> None:
    """Raise Refused unless it is clear where a body would end (9112 6.3)."""
    lengths = fields.get("content-length", "0").split(", ")  # read_fields joined them
    if len(set(lengths)) > 1:  # a set holds equal ones once
        raise Refused(BAD_REQUEST, "there are two Content-Lengths, and they differ")
    if not lengths[0].isdecimal():
        why = f"Content-Length is a number, not {shown(lengths[0])}"
        raise Refused(BAD_REQUEST, why)
    if "transfer-encoding" not in fields:
        return
    coding = fields["transfer-encoding"].lower()
    if "content-length" in fields or version == "1.0":
        why = "Transfer-Encoding goes neither with Content-Length nor with HTTP/1.0"
        raise Refused(BAD_REQUEST, why)
    # All but the last, and the last; commas with nothing before or behind are fine.
    *others, last = [each.strip(" \t") for each in coding.strip(", \t").split(",")]
    if last != "chunked" or last in others:
        raise Refused(BAD_REQUEST, f"chunked comes last, and once, not {shown(coding)}")
    if others:
        raise Refused("501 Not Implemented", f"{shown(coding)} is more than chunked")


def read_target(target: str) -> tuple[str, str]:
    """Return path, unescaped, and query, or raise Refused (9112 3.2)."""
    if "#" in target:
        raise Refused(BAD_REQUEST, "a # and what follows it are not for the server")
    if not target.startswith("/"):
        absolute = ABSOLUTE_FORM.match(target)
        if not absolute or not is_host(absolute[1]):
            why = f"no / or http:// and a host begins {shown(target)}"
            raise Refused(BAD_REQUEST, why)
        target = "/" + target[absolute.end() :]
    path, _, query = target.partition("?")
    if WRONG_ESCAPE.search(path):
        raise Refused(BAD_REQUEST, f"two hexadecimal digits follow a %: {shown(path)}")
    if not PATH.fullmatch(path):
        raise Refused(BAD_REQUEST, f"this path has a byte to be escaped: {shown(path)}")
    return urllib.parse.unquote(path), query


def first_line(text: bytes) -> bytes:
    """Return what stands before the first end of a line, LF or CRLF."""
    line = text.partition(b"\n")[0]
    return line[:-1] if line.endswith(b"\r") else line


def check_start(asked: bytes) -> None:
    """Raise Refused if no start line can come of this, whatever follows (9112 3)."""
    line = first_line(asked)
    if asked and not re.match(TOKEN, asked):
        why = f"no request begins with {shown(asked[:1])}: open http://, not https://"
        raise Refused(BAD_REQUEST, why)
    if len(line) > START_LINE_LIMIT:
        raise Refused("414 URI Too Long", "the start line is over 8 KiB")
    if b"\n" not in asked or re.match(REQUEST_LINE, asked):
        return  # more of it may come, or it is right
    form = "a start line is METHOD, blank, target, blank, HTTP/1.1"
    parts = line.split(b" ")
    if b"" in parts:
        raise Refused(BAD_REQUEST, f"there is a blank too many: {form}")
    if len(parts) < 3:
        raise Refused(BAD_REQUEST, f"target or version is missing: {form}")
    raise Refused(BAD_REQUEST, f"{form}, and not {shown(line)}")


def wrong_line(rest: bytes) -> str:
    """Return what is wrong with the line after the last good one (9112 5)."""
    line = first_line(rest)
    name, colon, _ = line.partition(b":")
    if line.startswith((b" ", b"\t")):
        return f"a field line doesn't begin with a blank: {shown(line)}"
    if not colon:
        return f"this line has no colon: {shown(line)}"
    if name.endswith((b" ", b"\t")):
        return f"no blank stands before the colon: {shown(line)}"
    return f"no name, or a byte that no name or value has: {shown(line)}"


def shown(sent: str | bytes) -> str:
    """Return the beginning of what a client has sent, with nothing in it to fear."""
    return f"'{escape(sent[:40])}'"


if __name__ == "__main__":
    main()
