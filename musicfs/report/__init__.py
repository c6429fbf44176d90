"""What a person can ask the daemon about: the whole (`status`) and one file (`why`, extended attributes).

failures   what programs were last refused with
why        one file: what it is, where its bytes come from, their state, what to do
status     the whole: services, cache, transfers, failures, what upstream was asked
report     both, as the control socket's verbs

How it thinks: it asks the rooms what they know and nobody else; accounts are counted and described, never
named, because their names are e-mail addresses.
What must always be true: no token, signed URL or e-mail address in any answer; nothing is fetched to
answer.
"""

from musicfs.report.failures import Failures
from musicfs.report.report import Report
from musicfs.report.status import Status
from musicfs.report.why import Why

__all__ = ["Failures", "Report", "Status", "Why"]
