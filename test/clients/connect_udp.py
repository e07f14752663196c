"""A CONNECT-UDP client (RFC 9298) by aioquic: asks a relay of the mesh for its device.

Usage: connect_udp.py PORT PATH SCENARIO [KEY CERTIFICATE]. One JSON object on stdout: the status,
what the device answered, and how the stream or the connection ended. It says "hello" to the device
in a DATAGRAM, and in a capsule; the device answers with the same.
"""
import asyncio
import json
import ssl
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.buffer import Buffer, encode_uint_var
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DatagramReceived, DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StreamReset

LONG = b"a packet that is longer than a DATAGRAM frame has room for: " * 40


class Client(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        # Only so does aioquic say that it takes HTTP Datagrams.
        self.http = H3Connection(self._quic, enable_webtransport=True)
        self.result = {"status": None, "datagrams": [], "capsules": [], "end": None}
        self.capsules, self.changed = b"", asyncio.Event()

    def quic_event_received(self, event):
        if isinstance(event, ConnectionTerminated):
            self.result["end"] = f"connection {event.error_code:#x}"
        if isinstance(event, StreamReset):
            self.result["end"] = f"stream {event.error_code:#x}"
        for found in self.http.handle_event(event):
            if isinstance(found, HeadersReceived):
                fields = dict(found.headers)
                self.result["status"] = fields[b":status"].decode()
                self.result["protocol"] = fields.get(b"capsule-protocol", b"").decode()
                self.result["why"] = fields.get(b"proxy-status", b"").decode()
            elif isinstance(found, DatagramReceived):
                assert found.data[:1] == b"\0"
                self.result["datagrams"].append(found.data[1:].decode())
            elif isinstance(found, DataReceived):
                self.take(found.data)
        self.changed.set()

    def take(self, data):
        self.capsules += data
        while self.capsules:
            buffer = Buffer(data=self.capsules)
            try:
                kind, length = buffer.pull_uint_var(), buffer.pull_uint_var()
                value = buffer.pull_bytes(length)
            except Exception:
                return
            self.capsules = self.capsules[buffer.tell():]
            if kind == 0:
                assert value[:1] == b"\0"
                self.result["capsules"].append(value[1:].decode())

    async def until(self, condition):
        while not condition():
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), 10)

    def ask(self, path, protocol=b"connect-udp"):
        self.stream = self._quic.get_next_available_stream_id()
        head = [(b":method", b"CONNECT"), (b":protocol", protocol), (b":scheme", b"https"),
                (b":authority", b"relay"), (b":path", path.encode()), (b"capsule-protocol", b"?1")]
        self.http.send_headers(self.stream, head)
        self.transmit()

    def send(self, kind, payload):
        if kind == "datagram":
            self.http.send_datagram(self.stream, payload)
        else:
            data = encode_uint_var(0) + encode_uint_var(len(payload)) + payload
            self.http.send_data(self.stream, data, False)
        self.transmit()


async def play(client, path, scenario):
    result = client.result
    settings = lambda: client.http.received_settings is not None
    await client.until(settings)
    result["connect"] = client.http.received_settings.get(0x08)
    result["h3datagram"] = client.http.received_settings.get(0x33)
    client.ask(path, b"connect-ip" if scenario == "other_protocol" else b"connect-udp")
    over = lambda: result["end"] is not None
    await client.until(lambda: result["status"] is not None or over())
    if result["status"] != "200":
        return
    if scenario == "talk":
        client.send("datagram", b"\x02another context")
        client.send("datagram", b"\0hello")
        await client.until(lambda: len(result["datagrams"]) >= 1)
        client.send("capsule", b"\0" + LONG[:1452])
        await client.until(lambda: len(result["capsules"]) >= 1)
        result["capsules"] = [text == LONG[:1452].decode() for text in result["capsules"]]
        client._quic.change_connection_id()
        client.send("datagram", b"\0again")
        await client.until(lambda: len(result["datagrams"]) >= 2)
        return
    if scenario == "no_stream":
        client._quic.send_datagram_frame(b"\xff")
    elif scenario == "no_context":
        client.send("datagram", b"")
    elif scenario == "long_capsule":
        client.http.send_data(client.stream, encode_uint_var(0) + encode_uint_var(70_000), False)
    elif scenario == "half_capsule":
        client.http.send_data(client.stream, b"\0\x05ab", True)
    elif scenario == "end":
        client.http.send_data(client.stream, b"", True)
    client.transmit()
    await client.until(over)


async def main():
    port, path, scenario, *files = sys.argv[1:]
    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=["h3"], verify_mode=ssl.CERT_NONE,
        max_datagram_frame_size=65_536)
    if files:
        configuration.load_cert_chain(certfile=files[1], keyfile=files[0])
    async with connect("127.0.0.1", int(port), configuration=configuration,
                       create_protocol=Client, wait_connected=True) as client:
        await play(client, path, scenario)
        print(json.dumps(client.result))
        sys.stdout.flush()


asyncio.run(main())
