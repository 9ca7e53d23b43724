"""How calls are repeated: by the retry policy of the service config that all clients share.

gRPC's own repetition is turned off: it neither waits for as long as the service says, nor cuts the wait of a repeated
call to what is left of it.
"""

import json
import random
from collections.abc import Iterator
from importlib.resources import files
from typing import Final

SERVICE_CONFIG: Final = files("lockservice_client").joinpath("service_config.json").read_text(encoding="utf-8")
_POLICY: Final = json.loads(SERVICE_CONFIG)["methodConfig"][0]["retryPolicy"]
_FIRST_S: Final = float(_POLICY["initialBackoff"].removesuffix("s"))
_MAX_S: Final = float(_POLICY["maxBackoff"].removesuffix("s"))
_MULTIPLIER: Final = float(_POLICY["backoffMultiplier"])


def pauses() -> Iterator[float]:
    """Yields the seconds before each repetition, with a jitter of a half."""
    pause = _FIRST_S
    while True:
        # Jitter keeps the clients of a service that comes back from arriving all at once.
        yield pause * random.uniform(0.5, 1.5)  # noqa: S311  no secret
        pause = min(pause * _MULTIPLIER, _MAX_S)
