"""`python -m labkit.course.headless.papermill_main` is `python -m papermill` with two repairs.

They must be made inside its process:

- jsonschema builds a grammar of internet addresses (1.5 s) to check a format that no notebook has, and does without
  where the package is missing.
- nbclient answers an Output widget through the socket on which it waits for the cell's end, and so can miss that end
  and wait for the whole cell timeout (jupyter/nbclient#312; 1 run in 6 of a notebook with widgets on two busy cores).
  Asking again every 0.2 s finds the message.
"""

import sys
from queue import Empty
from time import monotonic
from typing import Any

POLL_S = 0.2


async def get_msg(channel: Any, timeout: float | None = None) -> dict[str, Any]:
    """Wait for a message as `AsyncZMQSocketChannel.get_msg` does, in waits of at most `POLL_S`.

    Args:
        channel: the channel, whose `socket` is polled.
        timeout: seconds; None waits for ever.

    Returns:
        The message.

    Raises:
        Empty: none came within `timeout`.
    """
    end = float("inf") if timeout is None else monotonic() + timeout
    while True:
        left = max(0.0, end - monotonic())
        if await channel.socket.poll(int(1000 * min(left, POLL_S))):
            return await channel._recv()
        if monotonic() >= end:
            raise Empty


def main() -> None:
    """Make the repairs and hand the command line to papermill."""
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

    from jupyter_client.channels import AsyncZMQSocketChannel
    from papermill.cli import papermill

    AsyncZMQSocketChannel.get_msg = get_msg  # type: ignore[method-assign,assignment]
    papermill()


if __name__ == "__main__":
    main()
