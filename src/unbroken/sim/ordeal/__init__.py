"""Deterministic simulation of several replicas: everything goes wrong that can, and every promise is looked at.

    loop        a true agenda, and an event loop and a clock for each replica, under virtual time
    upstream    providers behind a `Transport`, in bytes, with faults and bookkeeping
    store       what replicas share: the rules of `replicas.commons` behind a network that fails
    callers     who asks, reads slowly, leaves
    plan        what happens in a run, drawn from its seed
    house       a replica: the real engine, admission and replica on the loop
    promises    what must hold, by name
    play        one run, from its seed to a verdict
    crowd       ten, a hundred and a thousand replicas: what they tell each other, and how soon all know

A seed determines everything.  Real are the engine with its pilots and legs, the codecs, the core,
the bus, admission, and `replicas.replica` with leases and words; simulated are clocks, the
network, providers, the store's process, and people.
"""
