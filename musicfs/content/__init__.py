"""The bytes of files, wherever they happen to be: on the shelf, on their way, or still with the service.

links      where a song's form lies now: minted once, shared, renewed
progress   waiters at a watermark
blob       the bytes of one version of one file, and what is known of them
download   a span on its way to the shelf, by range
whole      one pass from the first byte to the last
archive    stems: members of a ZIP that is not here
inflating  a deflated stem, onto its own shelf
reader     one open file
waiting    where reads wait for the network, where there are only so many places
content    the front: open, measure, read
"""

from musicfs.content.asset import Asset
from musicfs.content.content import Content
from musicfs.content.ports import Facts, Opened

__all__ = ["Asset", "Content", "Facts", "Opened"]
