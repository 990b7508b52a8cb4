"""One exception class per mistake of a user, each a subclass of the matching builtin.

Every message is one line: what was wrong, where, and what to do.
"""

from __future__ import annotations


class UnknownRelease(LookupError):
    """No such SGLang release."""


class Offline(ConnectionError):
    """A wheel is needed, is not in the cache, and the package index cannot be reached."""


class UnreadableSource(OSError):
    """A source tree (or wheel) that cannot be read."""


class NoSuchCache(LookupError):
    """A readable SGLang that ships no HiRadixCache."""


class NotInstalled(LookupError):
    """``--installed`` was asked for, and the environment has no SGLang."""


class AnotherReleaseLoaded(RuntimeError):
    """One release per process: its modules are in ``sys.modules`` under their own names."""


class PatchDoesNotApply(ValueError):
    """The text to be replaced does not occur exactly once."""


class PlaceholderUsed(RuntimeError):
    """Code of the release reached behaviour that was replaced by nothing."""


class RefusedSize(ValueError):
    """Pool sizes that this release does not accept."""


class WrongCore(RuntimeError):
    """The release took another tree core than the one it was asked for."""
