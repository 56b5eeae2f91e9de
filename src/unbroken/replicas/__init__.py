"""Several processes as one gateway: what each learns, takes and is told to do, the others know a moment later.

    backplane   the seam between them: `Backplane`, and the records that go over it
    words       facts as bytes, and which of them are worth telling (pure)
    leases      who may spend how much of a limit, taken ahead of need (pure)
    commons     what is common, in one process's memory (pure)
    hub, line   ... and shared with the workers of one machine, over sockets
    redis       ... or kept by Valkey or Redis, for many machines
    replica     what an engine has of all this
    answers     the cache's store that all share

A request never waits for any of it.  What a replica learned alone, and what it holds of the
limits, is enough to go on with for as long as the backplane is gone.
"""
