"""A web server from the socket up: one page, one picture, one loop.

    python server.py            then open http://127.0.0.1:8000/ in a browser
    curl -i 127.0.0.1:8000      in another terminal: the same, as the bytes that come back

main accepts, converse receives, parse checks, respond chooses, converse sends, closes."""

import argparse
import email.utils
import functools
import os
import pathlib
import re
import signal
import socket
import sys
import time
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from typing import Generator, NamedTuple, Optional, TextIO

START_LINE_LIMIT = 8 * 1024  # bytes; 8000 must fit (9112 3: RFC 9112, section 3)
HEAD_LIMIT = 64 * 1024  # bytes; a browser sends about 700
SEND_BUFFER = 64 * 1024  # bytes; of a larger response, more is sent as it is read
PATIENCE = 10.0  # seconds for a head, and for each piece of a response that is taken
Talk = Generator[tuple[int, float], None, None]  # yields event, deadline
escaped = functools.lru_cache(64)(lambda b: str(b, "latin-1").encode("unicode_escape").decode())
escaped(b"")  # loads its codec while files can be opened; log needs it


def make_response(status: str, content_type: str, content: bytes, *fields: str) -> bytes:
    """Return a response without Date; a field is text like "Allow: GET" (9112 2.1)."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(content)}"
    return "\r\n".join([head, *fields, "Connection: close\r\n\r\n"]).encode() + content


beside = pathlib.Path(__file__).resolve().with_name
try:
    page, picture = beside("index.html").read_bytes(), beside("test.jpg").read_bytes()
except OSError as error:
    sys.exit(f"Cannot read {error.filename} ({error.strerror}): it belongs to server.py.")
text_content = make_response("200 OK", "text/html; charset=utf-8", page)
pic_content = make_response("200 OK", "image/jpeg", picture)
ERRORS = {
    int(status[:3]): make_response(status, "text/plain", f"{status}: {why}.\n".encode(), *fields)
    for status, why, *fields in (
        ("400 Bad Request", "this is not a well-formed HTTP/1.1 request"),
        ("404 Not Found", "nothing here has this path"),
        ("405 Method Not Allowed", "only GET and HEAD work here", "Allow: GET, HEAD"),
        ("408 Request Timeout", "the request took too long to arrive"),
        ("414 URI Too Long", "the start line is over 8 KiB"),
        ("431 Request Header Fields Too Large", "the head is over 64 KiB"),
        ("500 Internal Server Error", "this page has a bug: see the server's terminal"),
        ("501 Not Implemented", "this method or transfer coding is unknown here"),
        ("505 HTTP Version Not Supported", "only HTTP/1.x is spoken here"),
    )
}


class Request(NamedTuple):  # what parse finds out
    error: int = 0  # the status of what is wrong
    method: str = ""  # GET or HEAD; "" after an error
    path: str = ""  # without the query
    more_may_come: bool = True  # bytes after its head; after an error, always assumed


def respond(request: Request) -> bytes:
    """Return the response to a GET or HEAD: the place to add a page."""
    if request.path in ("/", "/index.html"):
        return text_content
    if request.path == "/test.jpg":
        return pic_content
    return ERRORS[404]


def main() -> None:
    """Serve whoever comes, until a signal ends the loop."""
    parser = argparse.ArgumentParser(description="Serve a page and a picture over HTTP.")
    parser.add_argument("port", nargs="?", type=int, default=8000, help="0: any; default 8000")
    parser.add_argument("--bind", default="127.0.0.1", metavar="ADDRESS", help="0.0.0.0: all")
    parser.add_argument("-v", "--verbose", action="store_true", help="show the heads")
    args = parser.parse_args()
    if not 0 <= args.port <= 65535 or not args.bind:
        parser.error("a port is a number from 0 to 65535, and an address isn't empty")
    waiting = Waiting()
    signal.signal(signal.SIGINT, waiting.stop)
    signal.signal(signal.SIGTERM, waiting.stop)
    with waiting.selector, listen(args.bind, args.port) as listener:
        waiting.selector.register(listener, EVENT_READ)
        while time.monotonic() < waiting.end:
            try:
                waiting.wait()  # the server waits for clients here, and nowhere else
                for _ in range(100):  # then it is the turn of those who are set aside
                    client, address = listener.accept()
                    waiting.go_on(client, converse(client, address, args.verbose))
            except (BlockingIOError, ConnectionError):
                pass  # nobody else is in the queue, or somebody has left it
            except (OSError, ValueError):  # more than accept or select can hold
                waiting.close_longest()


class Listener(socket.socket):  # for speed: accept is given numbers, not slow enums
    family, type = socket.SocketType.family, socket.SocketType.type  # type: ignore[assignment]


def listen(address: str, port: int) -> socket.socket:  # or exit with one sentence
    try:
        family, kind, _, _, place = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
        listener = Listener(family, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, os.name == "posix")
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        if hasattr(socket, "TCP_DEFER_ACCEPT"):  # Linux: accept whoever has asked, mostly
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1)
        listener.bind(place)
        listener.listen(socket.SOMAXCONN)
        listener.setblocking(False)
    except (OSError, ValueError) as error:
        sys.exit(f"Cannot use {address} port {port} ({error}): try another port or address.")
    ip, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(ip, f"[{ip}]" if ":" in ip else ip)
    write(sys.stderr, f"Serving http://{host}:{port}/ (Ctrl-C stops)\n")
    return listener


def converse(client: socket.socket, address: tuple[object, ...], verbose: bool) -> Talk:
    """Receive a request, send the response and close; yield wherever that has to wait."""
    received, request = b"", None
    deadline = time.monotonic() + PATIENCE
    with client:
        client.setblocking(False)  # now recv and send raise BlockingIOError
        try:
            while request is None:
                try:
                    piece = client.recv(8192)
                    received += piece
                    request = parse(received) if piece else Request(error=400)
                except BlockingIOError:
                    pass  # nothing has come so far
                if request is None:
                    yield EVENT_READ, deadline
        except TimeoutError:  # go_on raises it at the yield
            request = Request(error=408)
        asked = received.lstrip(b"\r\n")  # 9112 2.2
        if not asked:
            return  # a spare connection of a browser: nothing to answer or to log
        try:
            response = ERRORS[request.error] if request.error else respond(request)
            response, when, result = dated(response, asked[:5] == b"HEAD ", int(time.time()))
        except Exception as bug:  # this client is told, and the next one is served
            sys.excepthook(type(bug), bug, bug.__traceback__)  # prints the traceback
            response, when, result = dated(ERRORS[500], asked[:5] == b"HEAD ", int(time.time()))
        log(address, when, asked, result, response if verbose else b"")
        unsent = memoryview(response)  # its slices are no copies
        while unsent:
            try:
                unsent = unsent[client.send(unsent) :]
            except BlockingIOError:
                yield EVENT_WRITE, time.monotonic() + PATIENCE
        if request.more_may_come or len(response) > SEND_BUFFER:
            client.shutdown(socket.SHUT_WR)  # close could destroy the response (9112 9.6)
            deadline = time.monotonic() + PATIENCE
            while received:
                yield EVENT_READ, deadline
                received = client.recv(8192)  # b"" when the client has closed, too


class Waiting:  # the clients that are set aside until they can go on, or are out of time
    def __init__(self) -> None:
        self.selector = DefaultSelector()  # epoll, kqueue or select, as the system has
        self.deadlines: dict[socket.socket, float] = {}
        self.end = float("inf")

    def stop(self, number: int, _: object) -> None:
        self.end = min(self.end, time.monotonic() + 0.5)  # who asks till then is answered
        signal.signal(number, signal.SIG_DFL)  # a second Ctrl-C ends the program at once

    def wait(self) -> None:  # until somebody comes, can go on or is late
        for key, _ in self.selector.select(0.2):  # seconds: no signal ends it (PEP 475)
            if key.data:  # the listener has none
                self.go_on(*key.data)
        now = time.monotonic()
        for client in [each for each in self.deadlines if self.deadlines[each] < now]:
            self.go_on(*self.selector.get_key(client).data, why=TimeoutError)

    def go_on(self, client: socket.socket, talk: Talk, *, why: Optional[type] = None) -> None:
        """Let a conversation go on until it ends, or is set aside by its next yield."""
        if self.deadlines.pop(client, None):  # it was set aside
            self.selector.unregister(client)
        try:
            event, deadline = talk.throw(why) if why else next(talk, (0, 0.0))
            if event:  # 0: it has ended
                self.selector.register(client, event, (client, talk))
                self.deadlines[client] = deadline
        except (OSError, StopIteration):  # it has left, is late, or all is said
            talk.close()

    def close_longest(self) -> None:  # whose deadline comes first
        for client in sorted(self.deadlines, key=self.deadlines.__getitem__)[:1]:
            self.go_on(*self.selector.get_key(client).data, why=ConnectionAbortedError)
        time.sleep(0 if self.deadlines else 0.01)  # not to try again at once, in vain


TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # 9110 5.6.2
REQUEST_LINE = rb"(%b) ([^\x00- \x7f]+) HTTP/(\d\.\d)\r?\n" % TOKEN  # method, target, version
FIELD_LINE = rb"%b:[\t -~\x80-\xff]*\r?\n" % TOKEN  # field-name ":" field-value (9112 5)
HEAD = re.compile(rb"(?:\r?\n)*%b(?:%b)*\r?\n" % (REQUEST_LINE, FIELD_LINE))  # 9112 2.1, 3
FRAMING = re.compile(rb"\n(?:host|content-length|transfer-encoding):.*")
PATH = rb"/(?:[\w\-.~!$&'()*+,;=:@/\[\]|]|%[\da-fA-F]{2})*"  # browsers send [ ] |
HOST = re.compile(rb"(?:\[([\da-fA-F:.]+)\]|(?:[\w\-.~!$&'()*+,;=]|%[\da-fA-F]{2})*)(?::\d*)?")
FORM = re.compile(rb"\S+ (%b)(?:\?[^#]*)?|OPTIONS \*|CONNECT [^/?#@\x80-\xff]+:\d+" % PATH)
ABSOLUTE_FORM = re.compile(rb"(?i)^http://([^:/?#][^/?#]*)/?")  # for a proxy (3.2.2)
UNRESERVED = re.compile(r"%(2[DdEe]|3[0-9]|[46][1-9A-Fa-f]|[57][0-9Aa]|5[Ff]|7[Ee])")
METHODS = {*b"GET HEAD POST PUT DELETE PATCH OPTIONS TRACE CONNECT".split()}
CODINGS = {*b"chunked compress deflate gzip x-compress x-gzip".split()}  # 9112 7


@functools.lru_cache(maxsize=16)  # browsers send the same head again and again
def parse(received: bytes) -> Optional[Request]:
    """Return what is asked, or what is wrong with it; None if more must come first."""
    asked = received[:HEAD_LIMIT].lstrip(b"\r\n")  # 9112 2.2
    ended = asked.rfind(b"\n\r\n") > 0 or asked.rfind(b"\n\n") > 0  # by the empty line
    head = HEAD.match(received) if ended else None
    if head and head.end(3) - head.start(1) <= START_LINE_LIMIT:
        framing = b"".join(FRAMING.findall(head[0].lower()))
        return check(*head.groups(), framing, len(received) > head.end())
    begun = re.match(TOKEN, asked)  # a TLS hello, for one, begins no request
    if begun and len(asked.partition(b"\n")[0].rstrip(b"\r")) > START_LINE_LIMIT:
        return Request(error=414)
    if ended or (asked and not begun):
        return Request(error=400)
    return Request(error=431) if len(received) >= HEAD_LIMIT else None


@functools.lru_cache(maxsize=64)  # apart from parse: most heads differ in other fields
def check(method: bytes, target: bytes, version: bytes, framing: bytes, more: bool) -> Request:
    """Return what is asked, or what is wrong; framing is the lines that FRAMING finds."""
    if not version.startswith(b"1."):
        return Request(error=505)
    hosts = re.findall(rb"\nhost:(.*)", framing)
    lengths = {*map(bytes.strip, re.findall(rb"\ncontent-length:(.*)", framing))}
    coded = re.findall(rb"\ntransfer-encoding:(.*)", framing)
    codings = [coding.strip() for coding in b",".join(coded).split(b",") if coding.strip()]
    bad_host = len(hosts) > 1 or (not hosts and version != b"1.0") or not all(map(is_host, hosts))
    if bad_host or len(lengths) > 1 or not all(map(bytes.isdigit, lengths)):  # 9112 3.2, 6.3
        return Request(error=400)
    chunked_last = codings[-1:] == [b"chunked"] and codings.count(b"chunked") == 1
    if coded and (lengths or version == b"1.0" or not chunked_last):  # 9112 6.1, 6.3
        return Request(error=400)
    if method not in METHODS or not CODINGS.issuperset(codings):
        return Request(error=501)
    form = FORM.fullmatch(method + b" " + ABSOLUTE_FORM.sub(b"/", target))
    if not form or not all(map(is_host, ABSOLUTE_FORM.findall(target))):
        return Request(error=400)
    if method not in (b"GET", b"HEAD"):
        return Request(error=405)
    path = UNRESERVED.sub(lambda escape: chr(int(escape[1], 16)), form[1].decode())
    return Request(0, method.decode(), path, bool(more or lengths or coded))


def is_host(value: bytes) -> bool:  # uri-host [":" port] (9110 7.2)
    host = HOST.fullmatch(value.strip())
    try:
        return bool(host and (not host[1] or socket.inet_pton(socket.AF_INET6, host[1].decode())))
    except OSError:  # no IPv6 address
        return False


@functools.lru_cache(maxsize=4)  # Date: 9110 6.6.1; time, status and size are for the log
def dated(response: bytes, head_only: bool, second: int) -> tuple[bytes, str, str]:
    end = response.index(b"\r\n\r\n") + 4
    response = response[:end] if head_only else response
    result = f"{response[9:12].decode()} {len(response) - end}"
    date = email.utils.formatdate(second, usegmt=True)
    _, day, month, year, clock, _ = date.split()
    response = response.replace(b"\r\n", f"\r\nDate: {date}\r\n".encode(), 1)
    return response, f"{day}/{month}/{year}:{clock} +0000", result


def log(address: tuple[object, ...], when: str, asked: bytes, result: str, response: bytes) -> None:
    """Write a line in the Common Log Format; first both heads, if response is given."""
    if asked.startswith(b"\x16"):
        write(sys.stderr, "That was TLS: open http://, not https://\n")
    for mark, message in ((">", asked), ("<", response)) if response else ():
        for each in re.split(rb"\n\r?\n", message, maxsplit=1)[0].splitlines():
            write(sys.stdout, f"{mark} {escaped(each)}\n")
    line = escaped(asked[:START_LINE_LIMIT].partition(b"\n")[0].rstrip(b"\r")).replace('"', r"\x22")
    write(sys.stdout, f'{address[0] if address else "-"} - - [{when}] "{line}" {result}\n')


def write(stream: TextIO, text: str) -> None:  # at once; if it can't be, it costs no response
    try:
        try:
            os.write(stream.fileno(), text.encode())
        except (AttributeError, ValueError):  # no descriptor: IDLE, or a notebook
            stream.write(text)
    except (AttributeError, OSError, ValueError):  # closed, or full
        pass


if __name__ == "__main__":
    main()
