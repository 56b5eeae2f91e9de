"""What operators see and do, under `/admin`: status, statistics, requests, events, switches, reloading.

    desk        the paths, who may come in, and what is looked up
    switches    what an operator does; each act is a fact, and a line in the log
    events      facts as they come, as server-sent events
    words       facts and configurations as plain values; no key in any of them

All of it is off until there is an operator's key (`server.admin_keys`), which is never a caller's.
"""

from unbroken.faces.admin.desk import LAST_EVENT, Admin

__all__ = ["LAST_EVENT", "Admin"]
