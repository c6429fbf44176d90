"""The mount as questions and answers in our own words; no kernel, no network, no errno.

finding      what a name stands for, what a folder holds
sizing       what `stat` shows
scanning     what a media server may have of what is not cached
notices      what the kernel is told to look up again
writing      the files that are written here: lyrics, facts, playlists
walks        in which orders a program may go from file to file
following    who goes so, and what is fetched ahead of him
usage        what programs met: times to the first byte, refusals
handles      the open files
filesystem   the verbs, the kernel's references
"""

from musicfs.filesystem.filesystem import NEGATIVE, Filesystem
from musicfs.filesystem.scanning import Budget
from musicfs.filesystem.sizing import STEADY, Attributes

__all__ = ["NEGATIVE", "STEADY", "Attributes", "Budget", "Filesystem"]
