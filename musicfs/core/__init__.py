"""Pure thinking: no await, no clock, no disk, no network, no log."""
