"""Whether two answers speak of the same bytes, and which of them says it better."""

from __future__ import annotations


def agree(known: str, heard: str) -> bool:
    """Compare two validators (`"etag …"`, `"size …"`).

    Where they are of different kinds (one edge sends an ETag, another does not) they say nothing about each
    other; the lengths, which the caller compares too, must do.
    """
    if not known or not heard:
        return True
    return known == heard or known.partition(" ")[0] != heard.partition(" ")[0]


def better(known: str, heard: str) -> bool:
    """Tell whether `heard` identifies the bytes more strongly than `known`, so that it is worth keeping."""
    return _strength(heard) > _strength(known)


def _strength(validator: str) -> int:
    """Rank a validator: none, a length, a date and a length, a name or digest of the bytes."""
    return {"": 0, "size": 1, "date": 2}.get(validator.partition(" ")[0], 3)
