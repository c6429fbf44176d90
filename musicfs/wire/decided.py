"""The way to the real network as the settings decide it: the mount's, and that of commands which try it."""

from __future__ import annotations

import ssl
from urllib.request import getproxies

from musicfs.config import Settings, Token
from musicfs.errors import ConfigError
from musicfs.wire.doors import Doors


def doors_as(settings: Settings, token: Token) -> Doors:
    """Build the doors: certificates and proxy are the user's choice.

    The environment's proxies are taken only if the settings say so: they would see every host we ask.

    Raises:
        ConfigError: `ca_file` cannot be used.
    """
    ca_file = str(settings.ca_file) if settings.ca_file else None
    named = getproxies() if settings.proxy else {}
    proxy = named.get("https") or named.get("all")
    try:
        return Doors.to_the_world(settings.api_url, settings.media_url, token.reveal(), ca_file, proxy)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"cannot use the certificates in ca_file ({ca_file}): {error.strerror}") from error
