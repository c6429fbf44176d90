"""The guest wing: one pure file per service. A module here that has `provider(media_url)` is a provider.

How it thinks: a provider says, as values, what to ask a service, and reads its answers into nouns; JSON
field names stand here and nowhere else. Dropping a file in this folder adds a service; nothing is
registered.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping

from musicfs.model import Provider

NAMES = {"flowmusic": "Flow Music", "tempolor": "TemPolor"}
"""What a person calls a service, by its slug; one that is not in here goes by that."""


def find(media_url: str) -> Mapping[str, Provider]:
    """Build every provider, by slug, in the order of their names (Flow Music before TemPolor)."""
    found: dict[str, Provider] = {}
    for room in sorted(pkgutil.iter_modules(__path__), key=lambda info: info.name):
        module = importlib.import_module(f"{__name__}.{room.name}")
        if hasattr(module, "provider"):
            made: Provider = module.provider(media_url)
            found[made.slug] = made
    return found
