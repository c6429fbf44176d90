"""The mount as questions and answers in our own words; no kernel, no network, no errno.

finding      what a name stands for, what a folder holds
sizing       what `stat` shows
scanning     what a media server may have of what is not cached
notices      what the kernel is told to look up again
usage        what programs met: times to the first byte, refusals
filesystem   the verbs, the kernel's references, the open files
"""

from musicfs.filesystem.filesystem import NEGATIVE, Filesystem
from musicfs.filesystem.scanning import Budget
from musicfs.filesystem.sizing import STEADY, Attributes
from musicfs.filesystem.usage import title

__all__ = ["NEGATIVE", "STEADY", "Attributes", "Budget", "Filesystem", "title"]
