"""What must outlive a wiped cache; `State` is its front door, the rest is how it is kept."""

from musicfs.state.state import State
from musicfs.state.tables import Missing

__all__ = ["Missing", "State"]
