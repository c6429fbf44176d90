"""A person's AI-made music, kept by two web services, as a read-only folder."""

__version__ = "0.1.0"
