"""An HTTP/3 client for tests, on aioquic: one JSON request a line on stdin, one JSON answer a line on stdout.

Request: {"id", "method", "path", "authority", "headers": [[name, value]…], "body": base64, "bare": bool}
Answer:  {"id", "status", "headers", "body": base64, "error"}
`bare` sends exactly the given fields as the field section (for malformed requests).
"""
import asyncio
import base64
import json
import ssl
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StreamReset


class Client(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)
        self.waiting = {}
        self.ended = None
        self.asked = 0

    def quic_event_received(self, event):
        if isinstance(event, StreamReset):
            self.finish(event.stream_id, f"reset {event.error_code:#x}")
        if isinstance(event, ConnectionTerminated):
            self.ended = f"closed {event.error_code:#x} {event.reason_phrase}"
            for stream in list(self.waiting):
                self.finish(stream, self.ended)
        for found in self.http.handle_event(event):
            entry = self.waiting.get(found.stream_id)
            if entry is None:
                continue
            if isinstance(found, HeadersReceived):
                entry["headers"] += found.headers
            elif isinstance(found, DataReceived):
                entry["body"] += found.data
            if found.stream_ended:
                self.finish(found.stream_id, None)

    def finish(self, stream, error):
        entry = self.waiting.pop(stream, None)
        if entry and not entry["done"].done():
            entry["done"].set_result((entry["headers"], entry["body"], error))

    async def ask(self, fields, body):
        if self.ended:
            return [], b"", self.ended
        self.asked += 1
        stream = self._quic.get_next_available_stream_id()
        done = asyncio.get_running_loop().create_future()
        self.waiting[stream] = {"headers": [], "body": bytearray(), "done": done}
        self.http.send_headers(stream, fields, end_stream=not body)
        if body:
            self.http.send_data(stream, body, end_stream=True)
        self.transmit()
        try:
            return await asyncio.wait_for(done, 15)
        except asyncio.TimeoutError:
            return [], b"", "timeout"


def fields_of(request):
    fields = [] if request.get("bare") else [
        (b":method", request["method"].encode("latin-1")),
        (b":scheme", b"https"),
        (b":authority", request["authority"].encode("latin-1")),
        (b":path", request["path"].encode("latin-1")),
    ]
    for name, value in request["headers"]:
        fields.append((name.encode("latin-1"), value.encode("latin-1")))
    return fields


async def answer(client, request):
    body = base64.b64decode(request.get("body", ""))
    try:
        headers, data, error = await client.ask(fields_of(request), body)
    except Exception as problem:  # a client error is an answer too: the test judges it
        headers, data, error = [], b"", f"client: {problem!r}"
    status = next((int(v) for n, v in headers if n == b":status"), 0)
    reply = {
        "id": request["id"],
        "status": status,
        "headers": [[n.decode("latin-1"), v.decode("latin-1")] for n, v in headers],
        "body": base64.b64encode(bytes(data)).decode(),
        "error": error,
    }
    print(json.dumps(reply), flush=True)


async def main():
    port, name = int(sys.argv[1]), sys.argv[2]
    configuration = QuicConfiguration(alpn_protocols=H3_ALPN, is_client=True, server_name=name)
    configuration.verify_mode = ssl.CERT_NONE
    configuration.idle_timeout = 60
    reader = asyncio.StreamReader(limit=64 << 20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    client = None
    tasks = set()
    async with asyncio.TaskGroup() as group:
        contexts = []
        while line := await reader.readline():
            request = json.loads(line)
            # The edge ends a connection after 1000 requests with GOAWAY, which aioquic does not heed.
            if client is None or client.ended or client.asked >= 900:
                context = connect("127.0.0.1", port, configuration=configuration, create_protocol=Client)
                client = await context.__aenter__()
                contexts.append(context)
            task = group.create_task(answer(client, request))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
    for context in contexts:
        try:
            await context.__aexit__(None, None, None)
        except Exception:  # a connection that the server closed already
            pass


asyncio.run(main())
