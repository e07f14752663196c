"""Clients that go beyond a limit of QUIC or HTTP/3, on aioquic: one scenario a run, one JSON object on stdout.

Usage: quic_limits.py PORT SCENARIO, or quic_limits.py certificate CERT KEY for a certificate that
takes many packets.
"""
import asyncio
import datetime
import json
import os
import socket
import ssl
import sys
import time

from aioquic.asyncio.client import connect
from aioquic.buffer import encode_uint_var
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from h3_attack import (BASE, CONTROL, HEADERS, POST, PRIORITY_UPDATE, SETTINGS, Client, frame, head)

INITIAL, RETRY = 0, 3


def configuration(**more):
    made = QuicConfiguration(alpn_protocols=["h3"], is_client=True, server_name="localhost", **more)
    made.verify_mode = ssl.CERT_NONE
    return made


class Run:
    def __init__(self, port):
        self.port = port

    def connect(self):
        return connect("127.0.0.1", self.port, configuration=configuration(), create_protocol=Client)

    async def until_closed(self, client, step, times, pause=0.0):
        """Repeats a step until the server closes; how often it was done, and the code."""
        client.settle()
        for done in range(times):
            if client.code is not None:
                break
            await step(client)
            await asyncio.sleep(pause)
        end = time.monotonic() + 5
        while client.code is None and time.monotonic() < end:
            await asyncio.sleep(0.02)
        return {"code": client.code, "steps": done}

    async def rapid_reset(self):
        async def step(client):
            stream = client.request(head(POST), False)
            await asyncio.sleep(0)
            client._quic.reset_stream(stream, 0x10C)
            client.transmit()
        async with self.connect() as client:
            return await self.until_closed(client, step, 200)

    async def control(self, data):
        async with self.connect() as client:
            stream = client.uni(encode_uint_var(CONTROL) + frame(SETTINGS))
            for done in range(200):
                if client.code is not None:
                    break
                client.send(stream, data(done))
                await asyncio.sleep(0.005)
            outcome = await client.outcome(0)
            return {"code": client.code, "outcome": outcome}

    def priority_updates(self):
        return self.control(lambda n: frame(PRIORITY_UPDATE, encode_uint_var(4 * n) + b"u=1"))

    def goaways(self):
        return self.control(lambda n: frame(7, encode_uint_var(0)))

    async def empty_data(self):
        async with self.connect() as client:
            client.settle()
            stream = client.request(head([*POST[:3], (":path", "/echo")]), False)
            for _ in range(200):
                if client.code is not None or stream in client.outcomes:
                    break
                client.send(stream, frame(0))
                await asyncio.sleep(0.005)
            return {"code": client.code, "outcome": await client.outcome(stream)}

    async def unfinished_heads(self):
        """Heads of which all but the end comes, on one stream after the other."""
        async def step(client):
            client.request(encode_uint_var(HEADERS) + encode_uint_var(40_000) + b"\0" * 30_000, False)
        async with self.connect() as client:
            return await self.until_closed(client, step, 50, 0.02)

    async def old_age(self):
        """Asks again and again: the connection must end although it is never idle."""
        async with self.connect() as client:
            client.settle()
            begun, statuses, stream = time.monotonic(), [], None
            while client.code is None and time.monotonic() < begun + 12:
                stream = client.request(head(BASE))
                outcome = await client.outcome(stream)
                if not outcome.startswith("2"):
                    break
                statuses.append(outcome)
                await asyncio.sleep(0.1)
            refused = client.outcomes.get(stream)
            while client.code is None and time.monotonic() < begun + 12:
                await asyncio.sleep(0.05)
            return {"code": client.code, "served": len(statuses), "refused": refused,
                    "seconds": time.monotonic() - begun}

    async def slow_body(self):
        async with self.connect() as client:
            client.settle()
            stream, begun = client.request(head([*POST[:3], (":path", "/echo")]), False), time.monotonic()
            while stream not in client.outcomes and client.code is None and time.monotonic() < begun + 10:
                client.send(stream, frame(0, b"x"))
                await asyncio.sleep(0.1)
            return {"outcome": await client.outcome(stream), "seconds": time.monotonic() - begun}

    async def handshakes(self):
        """First packets without a second, from two addresses: what each is answered."""
        here, there = Half(self.port, "127.0.0.1"), Half(self.port, "127.0.0.2")
        first = [here.begin() for _ in range(3)]
        proven = [here.begin(prove=True) for _ in range(3)]
        return {"first": first, "proven": proven, "elsewhere": there.begin(prove=True)}

    async def amplification(self):
        return {"none": flood(self.port, b""), "forged": flood(self.port, os.urandom(64))}

    async def forged_token(self):
        """Retry is on: a token that the server did not make counts as none."""
        half = Half(self.port, "127.0.0.1")
        return {"none": half.begin(), "random": half.begin(token=os.urandom(60)),
                "short": half.begin(token=b"x"), "own": half.begin(prove=True),
                "altered": half.begin(prove=True, alter=True)}

    async def request(self):
        async with self.connect() as client:
            client.settle()
            return {"status": await client.outcome(client.request(head(BASE)))}


def kind(packet):
    """Of a packet with a long header (RFC 9000 section 17.2)."""
    return packet[0] >> 4 & 3


class Half:
    """Handshakes that are begun and never finished."""

    def __init__(self, port, address):
        self.port, self.address, self.kept = port, address, []

    def begin(self, token=b"", prove=False, alter=False):
        to = ("127.0.0.1", self.port)
        quic = QuicConnection(configuration=configuration(token=token))
        quic.connect(to, now=time.monotonic())
        at = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.kept.append(at)  # the port must not be used again
        at.bind((self.address, 0))
        at.settimeout(0.5)
        answer = self.exchange(at, quic, to)
        if answer == "retry" and prove:
            if alter:
                quic._peer_token = quic._peer_token[:-1] + bytes([quic._peer_token[-1] ^ 1])
            answer = self.exchange(at, quic, to)
        return answer

    def exchange(self, at, quic, to):
        for data, _ in quic.datagrams_to_send(now=time.monotonic()):
            at.sendto(data, to)
        try:
            packet, sender = at.recvfrom(2048)
        except socket.timeout:
            return "silence"
        if kind(packet) == RETRY:
            quic.receive_datagram(packet, sender, now=time.monotonic())
            return "retry"
        quic.receive_datagram(packet, sender, now=time.monotonic())
        if quic._close_event:
            return f"close {quic._close_event.error_code:#x}"
        return "open" if kind(packet) == INITIAL else "something else"


def flood(port, token):
    """Bytes that come back for one first packet whose sender never answers."""
    to = ("127.0.0.1", port)
    quic = QuicConnection(configuration=configuration(token=token))
    quic.connect(to, now=time.monotonic())
    sent = received = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as at:
        at.bind(("127.0.0.1", 0))
        for data, _ in quic.datagrams_to_send(now=time.monotonic()):
            sent += at.sendto(data, to)
        end = time.monotonic() + 3  # several probe timeouts
        while (left := end - time.monotonic()) > 0:
            at.settimeout(left)
            try:
                received += len(at.recv(65536))
            except socket.timeout:
                break
    return {"sent": sent, "received": received}


def certificate(cert_file, key_file):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names = ["localhost", *(f"a-long-name-that-fills-packets-{n}.example" for n in range(300))]
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=9))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), False)
            .sign(key, hashes.SHA256()))
    encoding = serialization.Encoding.PEM
    with open(cert_file, "wb") as out:
        out.write(made.public_bytes(encoding))
    with open(key_file, "wb") as out:
        out.write(key.private_bytes(encoding, serialization.PrivateFormat.PKCS8,
                                    serialization.NoEncryption()))


if sys.argv[1] == "certificate":
    certificate(*sys.argv[2:])
else:
    print(json.dumps(asyncio.run(getattr(Run(int(sys.argv[1])), sys.argv[2])())))
