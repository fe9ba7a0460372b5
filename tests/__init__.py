"""Tests of server.py: run `python -m unittest` in the folder above.

| file               | what it tests                                                |
|--------------------|--------------------------------------------------------------|
| test_answer.py     | the table of answers, requests, pages that somebody adds     |
| test_waiting.py    | many clients, slow ones, deadlines, a full table, stopping   |
| test_faults.py     | bugs, refused system calls, what is left behind              |
| test_operator.py   | the command line, the log, the streams, Ctrl-C               |
| test_browsers.py   | real browsers, curl, wget, PHP                               |
| test_readme.py     | what README says and shows                                   |
| test_fuzz.py       | noise; FUZZ_SECONDS=600 makes more of it                     |

support.py has the server and the clients that all of them use. launch.py starts a
server with changes, such as short deadlines, errors of the system, or the pages of
pages.py. bench.py is no test: it measures.

One file, or one test:

    python -m unittest tests.test_answer
    python -m unittest tests.test_operator.Log.test_lines

A new page or rule needs a row in test_answer.py. For /time, made anew each time:

    *rows("README", 200, "the time", TARGET, b"/time", content=b""),

Tests know what README promises: parse, respond, main, Request, Response, Refused, the
three times, and what goes over the wire. They don't know how server.py does it.

Before a change is sent: `bash .ci/run`.
"""
