"""Opens the sockets that the server listens on: every address of a name, on one port."""

import asyncio
import errno
import socket
from typing import Any, Final

# The machine does not have this address, or this kind of address, at all.
_NOT_HERE: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
_EVERYWHERE: Final = "::"


async def open_listeners(host: str, port: int) -> list[socket.socket]:
    """Bound sockets; port 0 takes one free port for all of them, `::` takes IPv4 as well.

    Raises OSError where an address is taken, or none of them is this machine's.
    """
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    listeners: list[socket.socket] = []
    missing: OSError | None = None
    for family, _, protocol, _, address in dict.fromkeys(found):
        chosen = listeners[0].getsockname()[1] if listeners else port
        try:
            listeners.append(
                _listener(
                    family, protocol, (address[0], chosen, *address[2:]), both=host == _EVERYWHERE
                )
            )
        except OSError as error:
            if error.errno not in _NOT_HERE:
                _close(listeners)
                raise
            missing = error
    if missing is not None and not listeners:
        raise missing
    return listeners


def _listener(
    family: socket.AddressFamily, protocol: int, address: tuple[Any, ...], *, both: bool
) -> socket.socket:
    # With its protocol named, asyncio sees to it that answers in two parts are not held back.
    listener = socket.socket(family, socket.SOCK_STREAM, protocol)
    try:
        listener.setblocking(False)  # noqa: FBT003 - the library's signature
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not both))
        listener.bind(address)
    except BaseException:
        listener.close()
        raise
    return listener


def _close(listeners: list[socket.socket]) -> None:
    for listener in listeners:
        listener.close()
