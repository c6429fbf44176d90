"""What a person asks the daemon to do: bring songs for good, look after the cache, let go of a song.

errands    long work: begun, looked at, called off
paths      what a person typed becomes the files it means
pins       what is kept whatever happens, and how much of it there may be
warming    files brought whole, checked and pinned
cache      what is in the cache, what is damaged, what may go: over the store alone, with or without a daemon
tending    the verbs of the control socket

How it thinks: an answer comes at once; whatever takes longer is an errand that runs in the house's nursery
and is asked about by its number. What must always be true: an errand waits for nobody who has gone away,
and gives the loop back at each block. It refuses to touch the mount: names are walked in the tree.
"""

from musicfs.tending.tending import Tending, Verb

__all__ = ["Tending", "Verb"]
