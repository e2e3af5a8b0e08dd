"""Allocates at a TURN server with PyPI's aioice and sends one datagram to a peer that echoes.

usage: aioice_relay.py udp|tcp|tls HOST PORT USER PEER_HOST PEER_PORT; the password comes by stdin,
and CERTIFICATE holds what TLS trusts (PEM). Prints what came back.
"""

import asyncio
import os
import ssl
import sys

from aioice import turn


class Receiver(asyncio.DatagramProtocol):
    def __init__(self):
        self.received = asyncio.get_running_loop().create_future()

    def datagram_received(self, data, addr):
        if not self.received.done():
            self.received.set_result((data, addr))


async def main():
    way, host, port, user, peer_host, peer_port = sys.argv[1:]
    peer = (peer_host, int(peer_port))
    context = ssl.create_default_context(cadata=os.environ["CERTIFICATE"]) if way == "tls" else None
    transport, receiver = await turn.create_turn_endpoint(
        Receiver,
        server_addr=(host, int(port)),
        username=user,
        password=sys.stdin.readline().rstrip("\n"),
        ssl=context,
        transport="udp" if way == "udp" else "tcp",
    )
    transport.sendto(b"through a relay", peer)
    data, sender = await asyncio.wait_for(receiver.received, 10)
    assert sender == peer, sender
    print(data.decode())
    transport.close()
    await asyncio.sleep(0)


asyncio.run(asyncio.wait_for(main(), 20))
