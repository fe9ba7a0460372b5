"""Starts a server for the tests: python launch.py FOLDER CHANGES [argument ...].

Changes are names of functions below, each with values after colons, such as
"pages limit:64". Without them, server.py runs as a user starts it. It ends when its
standard input does, so no server outlives the tests.
"""

import _thread
import builtins
import contextlib
import errno
import io
import itertools
import locale
import os
import pathlib
import runpy
import selectors
import signal
import socket
import sys
import threading
import time
from typing import Any, Callable

ROOT = pathlib.Path(__file__).resolve().parent.parent


def main() -> None:
    """Make the changes, and start the server."""
    folder, changes, *arguments = sys.argv[1:]
    threading.Thread(target=end_with_the_tests, daemon=True).start()
    sys.argv = [os.path.join(folder, "server.py"), *arguments]
    sys.path[:1] = [folder, str(ROOT)]
    if not changes:
        runpy.run_path(sys.argv[0], run_name="__main__")
        return
    import server

    for change in changes.split():
        name, *values = change.split(":")
        globals()[name](*values)
    server.main()


def end_with_the_tests() -> None:
    """End this process when whoever started it is gone."""
    os.read(0, 1)
    os._exit(1)


def wrap(owner: Any, name: str, new: Callable[..., Any]) -> None:
    """Call new, which gets the usual function first, in place of that one."""
    usual = getattr(owner, name)
    setattr(owner, name, lambda *a, **b: new(usual, *a, **b))


def once_it_listens(action: Callable[[], None]) -> None:
    """Call this soon after the server listens."""

    def listen(usual: Any, *values: Any) -> None:
        usual(*values)
        threading.Timer(0.2, action).start()

    wrap(socket.socket, "listen", listen)


def pages() -> None:
    """Add the pages of pages.py."""
    import server
    from tests.pages import respond

    server.respond = respond


def no_picture() -> None:
    """Send no picture in its place."""
    import server

    server.pic_content = server.Response("200 OK", "image/jpeg", b"none")


def patience(head: float, piece: float = 60, last: float = 0.5) -> None:
    """Let clients have so many seconds."""
    import server

    server.HEAD_SECONDS = float(head)
    server.PIECE_SECONDS = float(piece)
    server.LAST_SECONDS = float(last)


def hurry(times: str) -> None:
    """Let the clock go so many times as fast."""
    wrap(time, "monotonic", lambda usual: usual() * float(times))


# How clients come, and what they send


def no_defer_accept() -> None:
    """Do without what only Linux has."""
    vars(socket).pop("TCP_DEFER_ACCEPT", None)


def small_reads(size: str, pause: str = "0") -> None:
    """Let requests come in pieces of so many bytes, and each take so many seconds."""

    def recv(usual: Any, client: socket.socket, _: int) -> Any:
        time.sleep(float(pause))
        return usual(client, int(size))

    wrap(socket.socket, "recv", recv)


def small_sends(size: str, pause: str) -> None:
    """Let the system take so many bytes at once, and so many seconds each time."""

    def send(usual: Any, client: socket.socket, data: bytes) -> Any:
        time.sleep(float(pause))
        return usual(client, data[: int(size)])

    wrap(socket.socket, "send", send)


def small_buffers() -> None:
    """Let the system take little of a response at once, as far networks do."""

    def bind(usual: Any, listener: socket.socket, place: Any) -> None:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        usual(listener, place)

    wrap(socket.socket, "bind", bind)


def endless_bodies() -> None:
    """Let a client send its POST again and again, faster than anybody reads."""

    def recv(usual: Any, client: socket.socket, size: int) -> Any:
        piece = usual(client, size, socket.MSG_PEEK)
        return piece if piece.startswith(b"POST") else usual(client, size)

    wrap(socket.socket, "recv", recv)


def endless_newcomers() -> None:
    """Let somebody new, who is gone again, always be there."""

    def accept(usual: Any, listener: socket.socket) -> Any:
        try:
            return usual(listener)
        except BlockingIOError:
            ours, theirs = socket.socketpair()
            theirs.close()
            return ours, ("", 0)

    wrap(socket.socket, "accept", accept)


def no_addresses() -> None:
    """Let accept give no address, as macOS does for a client that is gone."""
    wrap(socket.socket, "accept", lambda usual, listener: (usual(listener)[0], None))


# What the system refuses, or tells


def accept_fails(*names: str) -> None:
    """Let each second accept fail, with these errors in turn."""
    turns = itertools.count()

    def accept(usual: Any, listener: socket.socket) -> Any:
        turn, fails = divmod(next(turns), 2)
        if fails:
            raise OSError(getattr(errno, names[turn % len(names)]), "not now")
        return usual(listener)

    wrap(socket.socket, "accept", accept)


def room_for(number: str, name: str) -> None:
    """Let accept fail, with this error, where so many clients are there."""
    clients: list[socket.socket] = []

    def accept(usual: Any, listener: socket.socket) -> Any:
        clients[:] = [client for client in clients if client.fileno() != -1]
        if len(clients) >= int(number):
            raise OSError(getattr(errno, name), "no room")
        client, address = usual(listener)
        clients.append(client)
        return client, address

    wrap(socket.socket, "accept", accept)


def refuse(name: str) -> None:
    """Let a function of the socket module, or a method of a socket, fail."""

    def call(*_: object, **__: object) -> None:
        raise OSError(errno.EAFNOSUPPORT, "not here")

    setattr(socket if hasattr(socket, name) else socket.socket, name, call)


def limit(number: str, kind: str = "NOFILE") -> None:
    """Have no more than that of what the system gives, such as descriptors."""
    import resource

    most = int(number)
    resource.setrlimit(getattr(resource, f"RLIMIT_{kind}"), (most, most))


def memory_limit(megabytes: str) -> None:
    """Let the server have not much more memory than it begins with, on Linux."""
    statm = pathlib.Path("/proc/self/statm")
    if sys.platform != "linux" or not statm.exists():  # Wine has a /proc, too
        return
    if sys.implementation.name == "cpython":
        used, *_ = map(int, statm.read_text().split())
        size = used * os.sysconf("SC_PAGE_SIZE") + (int(megabytes) << 20)
        limit(str(size), "AS")


def few(number: str, name: str = "ValueError") -> None:
    """Let nobody wait for more than that, as select can't on Windows."""

    def select(usual: Any, selector: Any, timeout: float) -> Any:
        if len(selector.get_map()) > int(number):
            raise getattr(builtins, name)("too many file descriptors in select()")
        return usual(selector, timeout)

    wrap(selectors.DefaultSelector, "select", select)


def inherit(number: str) -> None:
    """Have other files open."""
    for _ in range(int(number)):
        os.dup(0)


def no_descriptors() -> None:
    """Let others take all descriptors, and give them back later."""
    limit("64")

    def take() -> None:
        taken = []
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        time.sleep(0.5)
        for number in taken:
            os.close(number)

    once_it_listens(take)


def as_windows() -> None:
    """Say that this isn't a POSIX system, from the first use of a socket on."""

    def getaddrinfo(usual: Any, *values: Any, **named: Any) -> Any:
        os.name = "nt"
        return usual(*values, **named)

    wrap(socket, "getaddrinfo", getaddrinfo)


def tell_options() -> None:
    """Print the options that are set."""

    def setsockopt(usual: Any, *values: Any) -> None:
        *_, option, value = values
        print(f"option {option} is {value}", flush=True)
        usual(*values)

    wrap(socket.socket, "setsockopt", setsockopt)


def tell_names() -> None:
    """Print a line for each name that is looked up."""
    for name in dir(socket):
        if name.startswith(("gethostby", "getnameinfo", "getfqdn")):
            setattr(socket, name, lambda *_: print("looked up", flush=True))


# Bugs, streams, and programs


def bug_in(place: str, name: str) -> None:
    """Raise this in a function that has got or given /bug."""
    import server

    def call(usual: Any, *values: Any) -> Any:
        result = usual(*values)
        if "/bug" in repr((values, result)):
            raise getattr(builtins, name)("a bug")
        return result

    owners = {"parse": server, "recv": socket.socket, "write": os}
    wrap(owners[place], place, call)


def program(name: str) -> None:
    """Run a program of README on a free port, and say where, as server.py does."""

    def bind(usual: Any, listener: socket.socket, place: Any) -> None:
        usual(listener, (place[0], 0))

    def listen(usual: Any, listener: socket.socket, *size: int) -> None:
        usual(listener, *size)
        host, port = listener.getsockname()
        line = f"Serving http://{host}:{port}/ (Ctrl-C stops)"
        print(line, file=sys.stderr, flush=True)

    wrap(socket.socket, "bind", bind)
    wrap(socket.socket, "listen", listen)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    runpy.run_path(name, run_name="__main__")
    sys.exit()


def french() -> None:
    """Speak another language."""
    locale.setlocale(locale.LC_ALL, "fr_FR")


def no_stdout() -> None:
    """Have no standard output, as pythonw has none."""
    vars(sys)["stdout"] = None


def closed_stdout() -> None:
    """Close standard output."""
    sys.stdout.close()


def idle(base: str) -> None:
    """Have streams without a descriptor, as IDLE, a notebook or a test has."""
    for number, name in enumerate(("stdout", "stderr"), 1):
        stream = getattr(io, base)()
        stream.write = lambda text, number=number: os.write(number, text.encode())
        setattr(sys, name, stream)


def interrupt() -> None:
    """Interrupt the server as IDLE does, which sends no signal."""
    once_it_listens(_thread.interrupt_main)


def twice() -> None:
    """Call main, wait for a Ctrl-C of the program's own, and call main again."""
    import server

    interrupted = threading.Event()

    def main(usual: Any) -> None:
        usual()
        print("main is over", flush=True)
        interrupted.wait()
        print("my own Ctrl-C", flush=True)
        usual()

    signal.signal(signal.SIGINT, lambda *_: interrupted.set())
    wrap(server, "main", main)


if __name__ == "__main__":
    main()
