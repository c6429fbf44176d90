"""Bytes on the network: the only room that knows httpx, status codes on the byte servers, retries and hosts.

    sockets     one connection, plain or under TLS: all that is there a read
    doors       what requests leave by: GET only, token to one origin
    transport   the network below them: addresses checked at connect; built when it is first needed
    kept        its connections, from one request to the next
    targets     pure: a link read as a URL, and where a redirect leads
    headers     pure: what Content-Range, Retry-After, ETag … say
    gate        per host: connections, who is down, who asked for quiet, how many retries are left
    makers      how many of the connections go to what the service makes while we wait
    talk        conversations with the API: a provider's generator driven to its noun
    pull        bytes from a byte server into a sink, resumed at the byte where they broke

What must always be true: foreign exceptions end here; every wait has an end; nothing but GET leaves.
"""

from musicfs.wire.doors import Doors
from musicfs.wire.gate import Gates, Patience
from musicfs.wire.headers import Head
from musicfs.wire.pull import Sink, Source
from musicfs.wire.tally import Tally
from musicfs.wire.wire import Wire

__all__ = ["Doors", "Gates", "Head", "Patience", "Sink", "Source", "Tally", "Wire"]
