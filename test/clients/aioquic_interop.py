"""What QUIC can do beyond a request, by aioquic: one scenario a run, one JSON object on stdout.

Usage: aioquic_interop.py PORT SCENARIO. `statuses` are those of all requests, in order; `resumed`
and `early` are of the last connection.
"""
import asyncio
import json
import socket
import ssl
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, HandshakeCompleted

REBINDS = 6
PATH_CHALLENGE = 0x1A


class Client(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)
        self.waiting, self.headers, self.completed = {}, {}, None

    def quic_event_received(self, event):
        if isinstance(event, HandshakeCompleted):
            self.completed = event
        if isinstance(event, ConnectionTerminated):
            for done in self.waiting.values():
                done.done() or done.set_result(f"closed {event.error_code:#x}")
        for found in self.http.handle_event(event):
            if isinstance(found, HeadersReceived):
                self.headers.setdefault(found.stream_id, dict(found.headers))
            if found.stream_ended and found.stream_id in self.waiting:
                status = self.headers.get(found.stream_id, {}).get(b":status", b"?").decode()
                self.waiting.pop(found.stream_id).set_result(status)

    def ask(self):
        stream = self._quic.get_next_available_stream_id()
        done = self.waiting[stream] = asyncio.get_running_loop().create_future()
        head = [(b":method", b"GET"), (b":scheme", b"https"),
                (b":authority", b"localhost"), (b":path", b"/")]
        self.http.send_headers(stream, head, end_stream=True)
        self.transmit()
        return asyncio.wait_for(done, 10)

    async def rebind(self):
        """Goes to another UDP port without a word, as behind a NAT."""
        fresh = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        fresh.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        fresh.bind(("::", 0))
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: Relay(self), sock=fresh)
        self._transport = transport


class Relay(asyncio.DatagramProtocol):
    def __init__(self, client):
        self.client = client

    def datagram_received(self, data, address):
        self.client.datagram_received(data, address)


class Run:
    def __init__(self, port):
        self.port, self.tickets, self.result = port, [], {"statuses": []}

    def connect(self, ticket=None, wait=True):
        configuration = QuicConfiguration(alpn_protocols=["h3"], is_client=True, server_name="localhost")
        configuration.verify_mode = ssl.CERT_NONE
        configuration.session_ticket = ticket
        return connect("127.0.0.1", self.port, configuration=configuration, create_protocol=Client,
                       session_ticket_handler=self.tickets.append, wait_connected=wait)

    async def ask(self, client):
        self.result["statuses"].append(await client.ask())

    async def ticket(self):
        async with self.connect() as client:
            await self.ask(client)
            for _ in range(100):
                if self.tickets:
                    break
                await asyncio.sleep(0.05)
        return self.tickets[-1]

    async def handshake(self):
        async with self.connect() as client:
            await self.ask(client)

    async def key_update(self):
        async with self.connect() as client:
            for _ in range(3):
                await self.ask(client)
                client.request_key_update()
                await client.ping()
            await self.ask(client)

    async def new_ids(self):
        async with self.connect() as client:
            for _ in range(12):
                await self.ask(client)
                client.change_connection_id()
                await client.ping()

    async def rebinding(self):
        async with self.connect() as client:
            await self.ask(client)
            for _ in range(REBINDS):
                await client.rebind()
                await self.ask(client)

    async def migration(self):
        async with self.connect() as client:
            await self.ask(client)
            for _ in range(REBINDS):
                client.change_connection_id()
                await client.rebind()
                await self.ask(client)

    async def deaf_migration(self):
        """The first PATH_CHALLENGE is acknowledged and not answered, as Chromium may do."""
        async with self.connect() as client:
            await self.ask(client)
            handlers = client._quic._QuicConnection__frame_handlers
            answer, epochs = handlers[PATH_CHALLENGE]

            def ignore(context, kind, buffer):
                buffer.pull_bytes(8)
                handlers[PATH_CHALLENGE] = (answer, epochs)

            handlers[PATH_CHALLENGE] = (ignore, epochs)
            client.change_connection_id()
            await client.rebind()
            for _ in range(12):
                await self.ask(client)

    async def resumption(self):
        ticket = await self.ticket()
        for _ in range(4):
            async with self.connect(ticket) as client:
                await self.ask(client)
                self.completed(client)

    async def early(self):
        ticket = await self.ticket()
        async with self.connect(ticket, wait=False) as client:
            await self.ask(client)
            for _ in range(100):
                if client.completed:
                    break
                await asyncio.sleep(0.05)
            self.completed(client)

    def completed(self, client):
        self.result["resumed"] = client.completed.session_resumed
        self.result["early"] = client.completed.early_data_accepted


async def main():
    run = Run(int(sys.argv[1]))
    try:
        await asyncio.wait_for(getattr(run, sys.argv[2])(), 30)
    except Exception as problem:  # the test shows it
        run.result["problem"] = repr(problem)
    print(json.dumps(run.result))


asyncio.run(main())
