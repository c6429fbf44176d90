"""Real programs on a real mount: what a person uses, beside the same work on a local copy.

.venv/bin/pytest tests/clients       what CI runs: the programs that scripts/setup installs
sh scripts/clients                   all of it: installs every program from Debian, and runs every test

sound.py      one minute of sound in each form, made once       stage.py    service, long wire, mount, twins
work.py       one piece of work, here and there, compared       conftest.py which tests run, and their stage
"""
