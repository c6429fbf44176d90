"""The verbs of the command line, a file each.

How it thinks: a verb's module has `add(verbs)`, which describes it to argparse, and `run(args, environ)`,
which does it and returns an exit code of `exits`. The table of verbs is in `musicfs/__main__.py`. What
only one verb needs (trio, the filesystem, rich) is imported inside its `run`, so that `--help` stays
quick.
What must always be true: a verb prints its result to stdout and everything else to stderr; it never
touches a mount but to mount or unmount it.
"""
