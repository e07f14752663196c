"""HTTP/3 requests that no library sends: raw frames and field sections on aioquic's QUIC.

Usage: h3_attack.py PORT. Every case has its own connection. One JSON line a case on stdout:
{"name", "expected", "got"}, where an outcome is a status, `reset CODE`, `close CODE` or `silence`.
After a reset stream the connection must still answer: else ` dead` follows.
"""
import asyncio
import json
import ssl
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.buffer import encode_uint_var
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StreamDataReceived, StreamReset
from pylsqpack import Decoder

DATA, HEADERS, CANCEL_PUSH, SETTINGS, PUSH_PROMISE, GOAWAY, MAX_PUSH_ID = 0, 1, 3, 4, 5, 7, 13
PRIORITY_UPDATE = 0xF0700
CONTROL, PUSH, ENCODER, DECODER = 0, 1, 2, 3


def frame(kind, payload=b""):
    return encode_uint_var(kind) + encode_uint_var(len(payload)) + payload


def integer(value, bits, flags):
    """A prefixed integer (RFC 7541 section 5.1)."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([flags | value])
    out, value = [flags | most], value - most
    while value >= 128:
        out.append(value % 128 | 128)
        value //= 128
    return bytes([*out, value])


def section(fields):
    """A field section of literals only: it says whatever it is told to say."""
    out = b"\0\0"
    for name, value in fields:
        name, value = name.encode("latin-1"), value.encode("latin-1")
        out += integer(len(name), 3, 0x20) + name + integer(len(value), 7, 0) + value
    return out


BASE = [(":method", "GET"), (":scheme", "https"), (":authority", "one.test"), (":path", "/")]
POST = [(":method", "POST"), *BASE[1:]]
CONNECT = [(":method", "CONNECT"), (":protocol", "websocket"), *BASE[1:]]


def without(*names):
    return [field for field in BASE if field[0] not in names]


def head(fields):
    return frame(HEADERS, section(fields))


class Client(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.decoder = Decoder(0, 0)
        self.data, self.outcomes, self.closed = {}, {}, asyncio.Event()
        self.code = None
        self.changed = asyncio.Event()

    def quic_event_received(self, event):
        if isinstance(event, StreamDataReceived) and event.stream_id % 4 == 0:
            self.data[event.stream_id] = self.data.get(event.stream_id, b"") + event.data
            self.read(event.stream_id)
        if isinstance(event, StreamReset):
            self.outcomes.setdefault(event.stream_id, f"reset {event.error_code:#x}")
        if isinstance(event, ConnectionTerminated):
            self.code = event.error_code
        self.changed.set()

    def read(self, stream):
        data = self.data[stream]
        if len(data) < 2 or data[0] != HEADERS:
            return
        length, at = (data[1], 2) if data[1] < 64 else (int.from_bytes(data[1:3], "big") & 0x3FFF, 3)
        if len(data) < at + length:
            return
        _, fields = self.decoder.feed_header(stream, data[at:at + length])
        status = dict(fields).get(b":status", b"?").decode()
        if status[0] == "1":
            self.data[stream] = data[at + length:]
            return self.read(stream)
        self.outcomes.setdefault(stream, status)

    def send(self, stream, data, fin=False):
        self._quic.send_stream_data(stream, data, fin)
        self.transmit()

    def request(self, data, fin=True):
        stream = self._quic.get_next_available_stream_id()
        self.send(stream, data, fin)
        return stream

    def uni(self, data, fin=False):
        stream = self._quic.get_next_available_stream_id(is_unidirectional=True)
        self.send(stream, data, fin)
        return stream

    async def outcome(self, stream):
        """What became of `stream`, or of the connection."""
        deadline = asyncio.get_running_loop().time() + 6
        while self.code is None and stream not in self.outcomes:
            self.changed.clear()
            left = deadline - asyncio.get_running_loop().time()
            try:
                await asyncio.wait_for(self.changed.wait(), max(left, 0.001))
            except asyncio.TimeoutError:
                return "silence"
        return f"close {self.code:#x}" if self.code is not None else self.outcomes[stream]

    def settle(self, settings=b""):
        return self.uni(encode_uint_var(CONTROL) + frame(SETTINGS, settings))


CASES = []


def case(name, expected, run):
    CASES.append((name, expected, run))


def on_stream(name, expected, data, fin=True):
    async def run(client):
        client.settle()
        return client.request(data, fin)
    case(name, expected, run)


def fields(name, expected, listed, body=None):
    data = head(listed) + (b"" if body is None else body)
    on_stream(name, expected, data)


def on_control(name, expected, data, first=frame(SETTINGS), fin=False):
    """Frames on the control stream, then an ordinary request."""
    async def run(client):
        client.uni(encode_uint_var(CONTROL) + first + data, fin)
        return client.request(head(BASE))
    case(name, expected, run)


def on_uni(name, expected, streams, fin=False):
    async def run(client):
        client.settle()
        for data in streams:
            client.uni(data, fin)
        await asyncio.sleep(0.05)
        return client.request(head(BASE))
    case(name, expected, run)


MESSAGE, INCOMPLETE, UNEXPECTED = "reset 0x10e", "reset 0x10d", "close 0x105"

# Fields (RFC 9114 sections 4.2 and 4.3).
fields("a plain request", "200", BASE)
for missing in (":method", ":scheme", ":path", ":authority"):
    fields(f"no {missing}", MESSAGE, without(missing))
for twice in BASE:
    fields(f"{twice[0]} twice", MESSAGE, [twice, *BASE])
fields("unknown pseudo-field", MESSAGE, [*BASE, (":foo", "x")])
fields(":status in a request", MESSAGE, [*BASE, (":status", "200")])
fields("pseudo-field after a field", MESSAGE, [("a", "b"), *BASE])
for bad in ("X-Upper", "a b", "", "a:b", "a\n", "a\0", "a\r\nb", "é"):
    fields(f"field name {bad!r}", MESSAGE, [*BASE, (bad, "x")])
for bad in ("a\rb", "a\nb", "a\0b", "a\r\nhost: x", " a", "a\t", "\x7f"):
    fields(f"field value {bad!r}", MESSAGE, [*BASE, ("x", bad)])
for bad in ("connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"):
    fields(f"field {bad}", MESSAGE, [*BASE, (bad, "x")])
fields("te: gzip", MESSAGE, [*BASE, ("te", "gzip")])
fields("te: trailers", "200", [*BASE, ("te", "trailers")])
fields(":authority and host differ", MESSAGE, [*BASE, ("host", "two.test")])
fields(":authority and host agree", "200", [*BASE, ("host", "one.test")])
fields("host alone", "200", [*without(":authority"), ("host", "one.test")])
fields("two hosts", MESSAGE, [*BASE, ("host", "one.test"), ("host", "one.test")])
fields("empty :path", MESSAGE, [*without(":path"), (":path", "")])
fields(":path without a slash", MESSAGE, [*without(":path"), (":path", "x")])
fields(":path with a line end", MESSAGE, [*without(":path"), (":path", "/\r\nx")])
fields("scheme http", MESSAGE, [*without(":scheme"), (":scheme", "http")])
fields("method with a space", MESSAGE, [*without(":method"), (":method", "GET /x")])
fields("empty method", MESSAGE, [*without(":method"), (":method", "")])
fields("expect something", "417", [*POST, ("expect", "y 100-continue")])
fields("100 fields", "200", [*BASE, *[(f"x{n}", "y") for n in range(99)]])
fields("101 fields", "431", [*BASE, *[(f"x{n}", "y") for n in range(101)]])
fields("a line over its limit", "431", [*BASE, ("x", "y" * 9000)])
fields("a :path over its limit", "414", [*without(":path"), (":path", "/" + "y" * 9000)])
fields("a head over its limit", "431", [*BASE, *[(f"x{n}", "y" * 6000) for n in range(6)]])
fields("a head beyond what is read", "close 0x107", [*BASE, *[(f"x{n}", "y" * 7000) for n in range(11)]])

# Content (section 4.1.2).
DATA4 = frame(DATA, b"four")
fields("content-length fits", "200", [*POST, ("content-length", "4")], DATA4)
for length, body in (("5", DATA4), ("3", DATA4), ("4", b""), ("0", DATA4), ("4", frame(DATA))):
    fields(f"content-length {length}, {len(body)} bytes follow", MESSAGE,
           [*POST, ("content-length", length)], body)
for bad in ("+4", "4,4", "0x4", "", "-1", "4 4"):
    fields(f"content-length {bad!r}", MESSAGE, [*POST, ("content-length", bad)], DATA4)
fields("two content-lengths", MESSAGE, [*POST, ("content-length", "4"), ("content-length", "4")], DATA4)
fields("empty DATA frames", "200", POST, frame(DATA) * 3 + DATA4)

# Trailers (section 4.1).
fields("trailers", "200", POST, DATA4 + head([("x-checksum-a", "1")]))
fields("trailers without content", "200", POST, head([("x-checksum-a", "1")]))
for name in (":path", "X-Upper", "content-length", "transfer-encoding", "host", "authorization"):
    fields(f"trailer {name}", MESSAGE, POST, DATA4 + head([(name, "4")]))
fields("17 trailers", MESSAGE, POST, DATA4 + head([(f"x{n}", "1") for n in range(17)]))

# CONNECT (section 4.4, RFC 9220).
fields("CONNECT", MESSAGE, [(":method", "CONNECT"), (":authority", "one.test:443")])
fields("extended CONNECT that ends", MESSAGE, CONNECT)
on_stream(":protocol with GET", MESSAGE, head([*BASE, (":protocol", "websocket")]), False)
on_stream("unknown :protocol", MESSAGE,
          head([field if field[0] != ":protocol" else (":protocol", "x") for field in CONNECT]), False)
on_stream("extended CONNECT without :path", MESSAGE,
          head([field for field in CONNECT if field[0] != ":path"]), False)
on_stream("extended CONNECT with content-length", MESSAGE, head([*CONNECT, ("content-length", "1")]), False)

# Frames on request streams (sections 4.1 and 7).
on_stream("DATA before HEADERS", UNEXPECTED, DATA4)
fields("DATA after trailers", UNEXPECTED, POST, DATA4 + head([("a", "b")]) + DATA4)
fields("HEADERS after trailers", UNEXPECTED, POST, head([("a", "b")]) * 2)
for kind in (CANCEL_PUSH, SETTINGS, GOAWAY, MAX_PUSH_ID, PUSH_PROMISE):
    fields(f"frame {kind:#x} on a request stream", UNEXPECTED, POST, frame(kind, b"\0"))
# Lenient: quiche skips the frame types of HTTP/2 (section 7.2.8 wants the connection closed) as it
# skips unknown ones; nobody reads them, so nobody can read them differently.
for kind in (0x2, 0x6, 0x8, 0x9):
    fields(f"frame {kind:#x} of HTTP/2", "200", POST, frame(kind, b"\0"))
fields("unknown frames", "200", POST, frame(0x21, b"x" * 50) + DATA4 + frame(0x40))
on_stream("an empty stream", INCOMPLETE, b"")
on_stream("a head cut short", INCOMPLETE, head(BASE)[:-3])
# Lenient: quiche shows no frame lengths, so the content is what came before the end; the end itself
# is authenticated, and outbound framing is our own. With content-length it is refused.
on_stream("a DATA frame cut short", "200", head(POST) + DATA4[:-2])
fields("a DATA frame cut short of content-length", MESSAGE, [*POST, ("content-length", "4")], DATA4[:-2])
fields("600 empty DATA frames", "close 0x107", POST, frame(DATA) * 600)

# The control stream and others (sections 6.2 and 7.2).
on_control("no SETTINGS first", "close 0x10a", frame(GOAWAY, b"\0"), first=b"")
on_control("SETTINGS twice", UNEXPECTED, frame(SETTINGS))
on_control("a setting of HTTP/2", "close 0x109", b"", first=frame(SETTINGS, b"\x02\x00"))
on_control("ENABLE_CONNECT_PROTOCOL 2", "close 0x109", b"", first=frame(SETTINGS, b"\x08\x02"))
on_control("unknown settings", "200", b"", first=frame(SETTINGS, b"\x21\x05"))
# quiche closes with a code of its own (0x999) where 0x106 is meant.
on_control("SETTINGS cut short", "close 0x999", b"", first=frame(SETTINGS, b"\x06"))
for kind in (DATA, HEADERS, PUSH_PROMISE):
    on_control(f"frame {kind:#x} on the control stream", UNEXPECTED, frame(kind, b"\0\0"))
on_control("MAX_PUSH_ID grows", "200", frame(MAX_PUSH_ID, b"\1") + frame(MAX_PUSH_ID, b"\2"))
on_control("MAX_PUSH_ID shrinks", "close 0x108", frame(MAX_PUSH_ID, b"\2") + frame(MAX_PUSH_ID, b"\1"))
on_control("GOAWAY", "200", frame(GOAWAY, b"\0"))
on_control("GOAWAY grows", "close 0x108", frame(GOAWAY, b"\0") + frame(GOAWAY, b"\4"))
on_control("GOAWAY of no bytes", "close 0x106", frame(GOAWAY))
on_control("unknown frame", "200", frame(0x21, b"x"))
on_control("PRIORITY_UPDATE", "200", frame(PRIORITY_UPDATE, b"\0u=1"))
on_control("PRIORITY_UPDATE of a far stream", "close 0x108",
           frame(PRIORITY_UPDATE, encode_uint_var(40000) + b"u=1"))
on_control("the control stream ends", "close 0x104", b"", fin=True)
on_uni("a second control stream", "close 0x103", [b"\0" + frame(SETTINGS)])
on_uni("a push stream", "close 0x103", [b"\1\0"])
on_uni("two encoder streams", "close 0x103", [b"\2", b"\2"])
on_uni("two decoder streams", "close 0x103", [b"\3", b"\3"])
on_uni("the encoder stream ends", "close 0x104", [b"\2"], fin=True)
on_uni("unknown streams", "200", [b"\x21abc", encode_uint_var(0x4021) + b"x"])

# QPACK (RFC 9204): the dynamic table has no room, so nothing may refer to it.
for name, block in {
    "a dynamic reference": b"\x02\x00\x80",
    "a post-base index": b"\x00\x00\x10",
    "a static index that is none": b"\x00\x00\xff\x64",
    "a string cut short": b"\x00\x00\x23abc\x05x",
    "no prefix": b"\x00",
}.items():
    on_stream(f"QPACK: {name}", "close 0x200", frame(HEADERS, block))
# quiche takes it for one that would become too large.
on_stream("QPACK: Huffman that is none", "close 0x107", frame(HEADERS, b"\0\0\x29\xff\xff\x01x"))


async def cancelled(client):
    client.settle()
    for _ in range(20):
        stream = client.request(head(POST), False)
        client._quic.reset_stream(stream, 0x10C)
    return client.request(head(BASE))


case("twenty cancelled requests", "200", cancelled)


async def play(port, name, run):
    configuration = QuicConfiguration(alpn_protocols=["h3"], is_client=True, server_name="localhost")
    configuration.verify_mode = ssl.CERT_NONE
    async with connect("127.0.0.1", port, configuration=configuration, create_protocol=Client) as client:
        got = await client.outcome(await run(client))
        if got.startswith("reset") and await client.outcome(client.request(head(BASE))) != "200":
            got += " dead"
        return got


async def main():
    port, gate = int(sys.argv[1]), asyncio.Semaphore(8)

    async def one(name, expected, run):
        async with gate:
            try:
                got = await asyncio.wait_for(play(port, name, run), 15)
            except Exception as problem:  # shown by the test as what it got
                got = f"client: {problem!r}"
            print(json.dumps({"name": name, "expected": expected, "got": got}), flush=True)

    await asyncio.gather(*(one(*entry) for entry in CASES))


if __name__ == "__main__":
    asyncio.run(main())
