"""Keys that are kept elsewhere: read when they are needed, kept for a while, read again before they end.

references   how a key that is kept elsewhere is named: `vault:secret/openai#key`
keyring      `Credentials`, the keyring: who waits, what is still good, when it is read again
source       what every keeper's reader has in common
files, vault, aws, azure, google
             one reader for each keeper, with its official client; imported when first used
"""

from unbroken.credentials.keyring import Credentials, secret

__all__ = ["Credentials", "secret"]
