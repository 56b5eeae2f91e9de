"""The gateway's own keys: what each may do, the file that they are kept in, and whose a key is that a caller shows.

KeyEntry    one key: its hash, what it may be used for, how much, and until when
KeyFile     the file that holds them
Holders     whose a key is, or why it is refused
Holder      what a caller who was let in may ask for
"""

from unbroken.keys.entry import KeyEntry, State, digest_of, new_key
from unbroken.keys.file import KeyFile, KeyFileError
from unbroken.keys.holders import ANYBODY, Holder, Holders, out_of_scope

__all__ = [
    "ANYBODY",
    "Holder",
    "Holders",
    "KeyEntry",
    "KeyFile",
    "KeyFileError",
    "State",
    "digest_of",
    "new_key",
    "out_of_scope",
]
