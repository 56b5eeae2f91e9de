"""The Python client: `Unbroken`, and `SyncUnbroken` for programs without an event loop.

asynchronous  the calls; blocking has the same ones for threads
building      from a file, values or the environment (environment) to what a client is made of
wishes        what callers say, as requests;  choice  who is asked
core, flying  one engine, and how requests are flown in it
custom, rates  transports before the real one: providers of this process, and limits
results, estimates, streams  what callers are given
tally, health, operations    what operators ask
"""

import logging

from unbroken.faces.client.asynchronous import Unbroken
from unbroken.faces.client.blocking import SyncStream, SyncUnbroken
from unbroken.faces.client.custom import Provider
from unbroken.faces.client.operations import Generated, ProviderStatus
from unbroken.faces.client.results import Answer, Chunk, Embeddings, Estimate, Health, Made, Model, Result
from unbroken.faces.client.streams import Stream
from unbroken.faces.client.tally import ProviderStatistics, Statistics

__all__ = [
    "Answer",
    "Chunk",
    "Embeddings",
    "Estimate",
    "Generated",
    "Health",
    "Made",
    "Model",
    "Provider",
    "ProviderStatistics",
    "ProviderStatus",
    "Result",
    "Statistics",
    "Stream",
    "SyncStream",
    "SyncUnbroken",
    "Unbroken",
]

# A library writes to nobody's terminal unasked; what is logged goes wherever its program sends it.
logging.getLogger("unbroken").addHandler(logging.NullHandler())
