"""The ledger: a decision record of every request, kept in SQLite or PostgreSQL.

    record      what is known of a request when it is over
    recorder    facts folded into records
    accounts    tokens and dollars, counted or guessed
    keeper      the sink: a queue, and a thread that writes what is in it
    tables      the schema, and `migrations` that lead to it
    store       the database
    exports     rows for spreadsheets and programs

`Ledger` is what a gateway runs.  SQLAlchemy is only loaded by `store` and what it needs, in
the ledger's own thread: a gateway listens before that.
"""

from unbroken.ledger.keeper import Keeping, Ledger, LedgerUnavailable, missing_for
from unbroken.ledger.place import default_url, shown, url_of

__all__ = ["Keeping", "Ledger", "LedgerUnavailable", "default_url", "missing_for", "shown", "url_of"]
