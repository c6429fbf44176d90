"""The control socket's verbs that only tell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from musicfs.report.status import Status
from musicfs.report.why import Why


class Report:
    """Answers for the control socket."""

    def __init__(self, status: Status, why: Why) -> None:
        self._status, self._why = status, why

    @property
    def verbs(self) -> Mapping[str, Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]]:
        """What can be asked, by name."""
        return {"status": self._told_status, "why": self._told_why}

    async def _told_status(self, args: dict[str, Any]) -> dict[str, Any]:
        return self._status.told()

    async def _told_why(self, args: dict[str, Any]) -> dict[str, Any]:
        return await self._why.why(str(args.get("path", "")))
