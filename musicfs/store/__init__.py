"""Bytes on disk: the cache. The only room that opens cache files; `store.Store` is its front door."""

from musicfs.store.entry import Absent, Damaged, Entry
from musicfs.store.maps import Kind
from musicfs.store.store import KEEP_FREE, Snapshot, Store

__all__ = ["KEEP_FREE", "Absent", "Damaged", "Entry", "Kind", "Snapshot", "Store"]
