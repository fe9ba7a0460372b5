"""A web server from the socket up: one page, one picture, one loop.

    python server.py            then open http://127.0.0.1:8000/ in a browser
    curl -i 127.0.0.1:8000      in another terminal: the same, as the bytes that come back

The way of a request: main accepts a client; converse reads its head, sends what answer
decides on and closes. Patience bounds every wait. Comments name sections of RFC 9110 and 9112.
"""

import argparse
import contextlib
import functools
import os
import pathlib
import re
import select
import signal
import socket
import sys
import time
from typing import Optional, TextIO

START_LINE_LIMIT = 8 * 1024  # bytes; 8000 must fit (9112 3)
HEAD_LIMIT = 64 * 1024  # bytes; a browser sends about 700
SEND_BUFFER = 64 * 1024  # bytes; the picture fits, and a larger one leaves as it is read
PATIENCE = 10.0  # seconds for a client while nobody else waits: a person can type a head
GRACE = {"read": 0.1, "send": 0.1}  # seconds for all clients that keep somebody else waiting
Answer = tuple[bytes, str, int, bool]  # response; for the log; bytes of content; read on?


def make_response(status: str, content_type: str, content: bytes, *extra: str) -> bytes:
    """Return a whole response as bytes, ready to send but for its Date (9112 2.1)."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(content)}"
    return "\r\n".join([head, *extra, "Connection: close\r\n\r\n"]).encode() + content


beside = pathlib.Path(__file__).with_name
try:
    text_content = make_response(
        "200 OK", "text/html; charset=utf-8", beside("index.html").read_bytes()
    )
    pic_content = make_response("200 OK", "image/jpeg", beside("test.jpg").read_bytes())
except OSError as error:
    sys.exit(f"Cannot read {error.filename} ({error.strerror}): it belongs beside server.py.")
CONTENTS = {b"/": text_content, b"/index.html": text_content, b"/test.jpg": pic_content}  # add here
ERRORS = {
    int(status[:3]): make_response(status, "text/plain", f"{status}: {why}.\n".encode(), *extra)
    for status, why, *extra in (
        ("400 Bad Request", "this is not a well-formed HTTP/1.1 request"),
        ("404 Not Found", "nothing here has this path"),
        ("405 Method Not Allowed", "only GET and HEAD are answered here", "Allow: GET, HEAD"),
        ("408 Request Timeout", "the request took too long to arrive"),
        ("414 URI Too Long", "the start line is over 8 KiB"),
        ("431 Request Header Fields Too Large", "the head is over 64 KiB"),
        ("501 Not Implemented", "this method or transfer coding is unknown here"),
        ("505 HTTP Version Not Supported", "only HTTP/1.x is spoken here"),
    )
}
HINTS = {b"\x16": "That was TLS: open http://, not https://\n"}  # said once, not to each stranger
TCHAR = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]"  # 9110 5.6.2. On a first reading, go on to HEAD
PATH = r"(?:/(?:[0-9A-Za-z\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*)?"  # RFC 3986 3.3; or none
URI_HOST = r"(?:\[(?=.{0,4}:)[0-9A-Fa-f:.]+\]|(?:[0-9A-Za-z\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})*)"
# "/x?y", origin-form, or "http://host/x?y", absolute-form (9112 3.2); browsers' queries are lax
TARGET = rf"(?![ ?])(?:(?i:http)://(?![:/? ]){URI_HOST}(?::\d*)?)?({PATH})(?:\?[!\"$-~]*)?"
OTHER_TARGET = rf"(?<=OPTIONS )\*|(?<=PRI )\*|(?<=CONNECT ){URI_HOST}:\d+"  # PRI: HTTP/2 begins
# request-line = method SP request-target SP HTTP-version CRLF (9112 3), or LF alone (2.2)
REQUEST_LINE = rf"({TCHAR}+) (?:{TARGET}|{OTHER_TARGET}) HTTP/(\d\.\d)\r?\n"
# any other field-line = field-name ":" OWS field-value OWS CRLF (9112 5), never folded (5.2)
FIELD_LINE = rf"(?!(?i:Host|Content-Length):){TCHAR}+:[\t -~\x80-\xff]*\r?\n"
# Host = uri-host [ ":" port ] (9110 7.2), blanks in one way only; Content-Length = 1*DIGIT (8.6)
KNOWN_LINE = rf"(?i:Host:[ \t]*(?![ \t]){URI_HOST}(?::\d*)?|Content-Length:[ \t]*\d+)[ \t]*\r?\n"
HEAD = re.compile(rf"(?:\r?\n)*{REQUEST_LINE}(?:{FIELD_LINE}|{KNOWN_LINE})*\r?\n".encode())
FRAMING = re.compile(rb"\n(host|content-length|transfer-encoding):(.*)")  # read by answer


def main() -> None:
    """Listen, then serve one client after the other, until a signal ends the loop."""
    parser = argparse.ArgumentParser(description="Serve one page and one picture over HTTP.")
    parser.add_argument("port", nargs="?", type=int, default=8000, help="default 8000; 0: any")
    parser.add_argument("--bind", default="127.0.0.1", metavar="ADDRESS", help="0.0.0.0: all")
    parser.add_argument("-v", "--verbose", action="store_true", help="show heads line by line")
    args = parser.parse_args()
    if not 0 <= args.port <= 65535:
        parser.error("a port is a number from 0 to 65535")
    with socket.socket(socket.AF_INET6 if ":" in args.bind else socket.AF_INET) as listener:
        if os.name == "posix":  # restart on the same port at once; on Windows it means sharing it
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.settimeout(None if os.name == "posix" else 0.5)  # else, Ctrl-C waits there
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)  # clients inherit it
        patience = Patience(listener)
        try:
            listener.bind((args.bind, args.port))
            listener.listen(socket.SOMAXCONN)
        except (OSError, TypeError, ValueError) as error:
            sys.exit(f"Cannot use {args.bind} port {args.port} ({error}): try another port or IP.")

        def stop(number: int, _: object) -> None:
            with contextlib.suppress(OSError):  # if it is closed already
                listener.setblocking(False)  # accept fails once the queue is empty
            patience.stop_at = min(patience.stop_at, time.monotonic() + 0.8)  # though more come
            signal.signal(number, signal.SIG_DFL)  # a second Ctrl-C ends it at once

        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)
        ip, port = listener.getsockname()[:2]
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(ip, f"[{ip}]" if ":" in ip else ip)
        write(sys.stderr, f"Serving http://{host}:{port}/ (Ctrl-C stops)\n")
        while time.monotonic() < patience.stop_at:
            try:
                client, address = listener.accept()
                converse(client, address[0] if address else "-", patience, args.verbose)
            except BlockingIOError:  # stop was called, and the queue is empty
                return
            except OSError:
                time.sleep(0.01)  # mostly out of descriptors or memory: no busy loop


class Patience:
    """The one rule for every wait: ten seconds; if somebody else waits, what is left of a grace."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener, self.stop_at = listener, float("inf")
        self.grace = dict(GRACE)  # what is left of it

    def next_turn(self) -> None:
        """Begin the ten seconds of a client, or ten more of one that reads on."""
        self.now = time.monotonic()
        self.end = self.now + PATIENCE
        if self.grace != GRACE:  # it mends a bit; once nobody waits, all of it is back
            mended = 0.0001 if any(select.select([self.listener], [], [], 0)) else 1.0
            self.grace = {to: min(GRACE[to], left + mended) for to, left in self.grace.items()}

    def wait(self, client: socket.socket, to: str = "read", extra: float = 0.0) -> bool:
        """Return True as soon as client can be read (or sent to), False when its time is up."""
        ins, outs = ([client], []) if to == "read" else ([], [client])
        began, others, ready = self.now, False, False
        while not ready and self.now < min(self.end, self.stop_at):
            others = self.stop_at < float("inf") or any(select.select([self.listener], [], [], 0))
            if others:
                self.end = min(self.end, self.now + self.grace[to] + extra)
            # for 20 ms: a longer select sees neither a signal (PEP 475) nor who else comes
            ready = any(select.select(ins, outs, [], min(self.end - self.now, 0.02)))
            self.now = time.monotonic()
        if others:  # half of what this one took the next one lacks, so that all take two graces
            self.grace[to] -= min(self.now - began, self.grace[to]) / 2
        return ready


def converse(client: socket.socket, address: str, patience: Patience, verbose: bool) -> None:
    """Answer one request, log it and close the connection; one that leaves is no matter."""
    with contextlib.suppress(OSError), client:
        client.setblocking(False)  # recv and send never wait: only Patience does
        patience.next_turn()
        received, answered = read_head(client, patience)
        if not answered:
            return  # nothing was sent: browsers open spare connections
        response, entry, size, read_on = answered
        response, when = dated(response, int(time.time()))
        unsent, extra, grace = memoryview(response), 0.0, patience.grace["send"]
        while unsent := unsent[client.send(unsent) :]:  # only a picture larger than the buffer
            patience.grace["send"] = grace  # whoever reads on is not charged
            patience.next_turn()
            began = patience.now
            if not patience.wait(client, "send", extra):
                break
            extra = max(extra, min(0.5, 2 * (patience.now - began)))  # slow, but it reads on
        heads = marked(">", received) + marked("<", response) if verbose else ""
        write(sys.stdout, f"{heads}{address} - - [{when}] {entry} {size - len(unsent) or '-'}\n")
        if (read_on or extra) and not unsent:  # to close now would reset the connection (9112 9.6)
            write(sys.stderr, HINTS.pop(received[:1], ""))
            client.shutdown(socket.SHUT_WR)
            patience.next_turn()
            while patience.wait(client) and client.recv(HEAD_LIMIT):
                pass


def read_head(client: socket.socket, patience: Patience) -> tuple[bytes, Optional[Answer]]:
    """Return what was received until it had an answer, or none could come of it."""
    received = b""
    while True:
        with contextlib.suppress(BlockingIOError):  # nothing there yet
            piece = client.recv(HEAD_LIMIT + 1 - len(received))  # one byte more is too large
            received += piece
            if (answered := answer(received, 0 if piece else 400)) or not piece:
                return received, answered
        if not patience.wait(client):
            return received, answer(received, 408)


@functools.lru_cache(maxsize=64)  # most heads come again
def answer(received: bytes, late_status: int) -> Optional[Answer]:
    """Return the answer, or None if there is none yet or nothing was asked. Sees no socket."""
    request = received.lstrip(b"\r\n")  # 9112 2.2
    start_line = request.partition(b"\n")[0].rstrip(b"\r")
    ended = b"\n\r\n" in request or b"\n\n" in request
    head = HEAD.match(received) if ended else None
    method, path, version = head.groups() if head else (b"", b"", b"1.1")
    fields = FRAMING.findall(head[0].lower()) if head else []
    hosts = [value for name, value in fields if name == b"host"]
    lengths = {value.strip() for name, value in fields if name == b"content-length"}
    coded = [value for name, value in fields if name == b"transfer-encoding"]
    codings = [coding for each in b",".join(coded).split(b",") if (coding := each.strip())]
    table = (  # of all that can be wrong: the first row that applies counts
        (400, not head and start_line and not re.match(TCHAR.encode(), start_line)),  # first byte
        (414, len(start_line) > START_LINE_LIMIT),
        (400, ended and not head),
        (431, (head.end() if head else len(received)) > HEAD_LIMIT),
        (late_status if start_line else 0, not head),  # 0: none yet; below here, head is whole
        (505, not version.startswith(b"1.")),
        (400, len(hosts) > 1 or (not hosts and version != b"1.0")),  # 9112 3.2
        (400, len(lengths) > 1 or (coded and (lengths or version == b"1.0"))),  # 9112 6.1, 6.3
        (501, set(codings) - {*b"chunked compress deflate gzip x-compress x-gzip".split()}),
        (400, coded and (codings[-1:] != [b"chunked"] or codings.count(b"chunked") > 1)),
        (405, method in {b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE", b"CONNECT"}),
        (501, method not in (b"GET", b"HEAD")),
        (404, (path or b"/") not in CONTENTS),  # "http://host" has no path
    )
    if not (status := next((status for status, applies in table if applies), 200)):
        return None
    response = ERRORS.get(status) or CONTENTS[path or b"/"]
    content_at = response.index(b"\r\n\r\n") + 4
    size = 0 if start_line.startswith(b"HEAD ") else len(response) - content_at  # 9110 9.3.2
    escaped = repr(start_line[:START_LINE_LIMIT])[2:-1].replace('"', r"\x22")  # without b''
    read_on = not head or head.end() < len(received) or bool(lengths or coded)
    return response[: content_at + size], f'"{escaped}" {status}', size, read_on


@functools.lru_cache(maxsize=2)  # page and picture of this second
def dated(response: bytes, second: int) -> tuple[bytes, str]:
    """Return a response with its Date (9110 6.6.1), and the same second for the log."""
    now = time.gmtime(second)
    date = time.strftime("\r\nDate: %a, %d %b %Y %H:%M:%S GMT\r\n", now).encode()
    when = time.strftime("%d/%b/%Y:%H:%M:%S +0000", now)
    return response.replace(b"\r\n", date, 1), when  # after the status line


def marked(mark: str, message: bytes) -> str:
    """Return the lines of a message's head, marked as curl marks them."""
    head = re.split(rb"\n\r?\n", message.lstrip(b"\r\n"), maxsplit=1)[0]
    return "".join(f"{mark} {repr(line)[2:-1]}\n" for line in [*head.splitlines(), b""])


def write(stream: Optional[TextIO], text: str) -> None:
    """Write text at once, past all buffers: a log that can't be written costs no response."""
    with contextlib.suppress(OSError):
        os.write(stream.fileno() if stream else -1, text.encode())  # None: closed from the start


if __name__ == "__main__":
    main()
