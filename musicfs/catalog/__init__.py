"""What exists, and how sure we are.

dates     when the names in each big folder last changed
listing   one service's listing: accounts, pages, what broke
catalog   every song known, kept over restarts; refreshed behind whoever looks
"""

from musicfs.catalog.catalog import Catalog, Standing

__all__ = ["Catalog", "Standing"]
