"""Whether two answers speak of the same bytes."""

from __future__ import annotations


def agree(known: str, heard: str) -> bool:
    """Compare two validators (`"etag …"`, `"size …"`).

    Where they are of different kinds (one edge sends an ETag, another does not) they say nothing about each
    other; the lengths, which the caller compares too, must do.
    """
    if not known or not heard:
        return True
    return known == heard or known.partition(" ")[0] != heard.partition(" ")[0]
