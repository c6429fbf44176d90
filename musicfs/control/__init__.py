"""The socket behind `status` and `why`: one line of JSON in, one line of JSON out.

How it thinks: the daemon serves a unix socket, mode 0600 in a folder of mode 0700, so the only client is
its user. A request is `{"verb": …, "args": {…}}`, a reply `{"reply": {…}}` or `{"error": "a sentence"}`;
a connection may carry several, one after the other. A small file per mount in the runtime folder
(`register`) tells a command that has only a mountpoint where the socket is. `server` is imported by its
full name, because commands should start without trio.

What must always be true: no client can hold the daemon, and what a killed daemon left is replaced by the
next. It refuses to know what the verbs mean.
"""

from musicfs.control.client import Declined, NotRunning, ask
from musicfs.control.register import Daemon, daemons, find, is_running, register

__all__ = ["Daemon", "Declined", "NotRunning", "ask", "daemons", "find", "is_running", "register"]
