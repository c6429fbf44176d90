"""The way to the network as the settings decide it."""

from __future__ import annotations

from pathlib import Path

import pytest

from musicfs.config import Settings, Token
from musicfs.errors import ConfigError
from musicfs.wire.decided import doors_as


@pytest.mark.parametrize("text", [None, "no certificate"])
def test_a_ca_file_that_cannot_be_used_is_the_user_s_to_mend(text: str | None, tmp_path: Path) -> None:
    """One sentence that names the setting and the file, and no traceback."""
    path = tmp_path / "ca.pem"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=f"ca_file.*{path}"):
        doors_as(Settings(ca_file=path), Token("user:1-x"))
