"""Failover inside the official SDKs: an HTTP client for them whose other end is an engine in this process.

    client = OpenAI(http_client=sdk_client("unbroken.yaml"), api_key="any")

No server, no socket of our own: what the SDK would send over the network is handed to a
gateway in memory, and the answer comes back as the SDK's HTTP library would have it.  Both
libraries that SDKs are built on, httpx2 and httpx, are served; neither is imported before a
client is made, and neither is needed otherwise.

    shared    `SharedEngine` and the functions that make clients
    library   which of the two libraries is meant, and transports in its types
    room      the thread on which an engine lives
    line      an answer on its way from that thread to its reader
"""

from unbroken.faces.sdk.shared import SharedEngine, async_sdk_client, sdk_client, sdk_transport

__all__ = ["SharedEngine", "async_sdk_client", "sdk_client", "sdk_transport"]
