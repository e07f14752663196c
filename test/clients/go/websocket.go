package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // RFC 6455 §1.3 asks for it
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"edge.test/clients/peer"
)

// Opcodes of RFC 6455 §5.2.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa
)

// wsFrame is one WebSocket frame.
type wsFrame struct {
	final   bool
	opcode  byte
	payload []byte
}

func (frame wsFrame) String() string {
	return fmt.Sprintf("opcode %d final %t %d bytes", frame.opcode, frame.final, len(frame.payload))
}

// encode writes a frame; clients mask theirs (RFC 6455 §5.3).
func (frame wsFrame) encode(masked bool) []byte {
	first := frame.opcode
	if frame.final {
		first |= 0x80
	}
	flag := byte(0)
	if masked {
		flag = 0x80
	}
	out := []byte{first}
	switch length := len(frame.payload); {
	case length < 126:
		out = append(out, flag|byte(length))
	case length < 1<<16:
		out = binary.BigEndian.AppendUint16(append(out, flag|126), uint16(length))
	default:
		out = binary.BigEndian.AppendUint64(append(out, flag|127), uint64(length))
	}
	if !masked {
		return append(out, frame.payload...)
	}
	var mask [4]byte
	_, _ = rand.Read(mask[:])
	out = append(out, mask[:]...)
	for index, octet := range frame.payload {
		out = append(out, octet^mask[index%4])
	}
	return out
}

const wsPayloadMax = 4 << 20

func readFrame(from *bufio.Reader) (wsFrame, error) {
	var head [2]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return wsFrame{}, err
	}
	length := uint64(head[1] & 0x7f)
	switch length {
	case 126:
		var long [2]byte
		if _, err := io.ReadFull(from, long[:]); err != nil {
			return wsFrame{}, err
		}
		length = uint64(binary.BigEndian.Uint16(long[:]))
	case 127:
		var long [8]byte
		if _, err := io.ReadFull(from, long[:]); err != nil {
			return wsFrame{}, err
		}
		length = binary.BigEndian.Uint64(long[:])
	}
	if length > wsPayloadMax {
		return wsFrame{}, fmt.Errorf("frame of %d bytes", length)
	}
	var mask [4]byte
	if head[1]&0x80 != 0 {
		if _, err := io.ReadFull(from, mask[:]); err != nil {
			return wsFrame{}, err
		}
	}
	payload := make([]byte, length)
	if _, err := io.ReadFull(from, payload); err != nil {
		return wsFrame{}, err
	}
	for index := range payload {
		payload[index] ^= mask[index%4]
	}
	return wsFrame{head[0]&0x80 != 0, head[0] & 0x0f, payload}, nil
}

func acceptFor(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // see above
	return base64.StdEncoding.EncodeToString(sum[:])
}

// wsConn is a WebSocket over any of the three protocols.
type wsConn struct {
	conn   peer.Conn
	stream peer.Stream
	from   *bufio.Reader
	head   *peer.Head
}

// errNotOpened is an answer that opens no WebSocket.
var errNotOpened = errors.New("no WebSocket")

// openWebSocket asks for a WebSocket: by Upgrade on h1 (RFC 6455 §4.1), by extended CONNECT on h2
// and h3 (RFC 8441, RFC 9220). What `early` holds is sent without waiting for the answer.
func openWebSocket(ctx context.Context, run *tunnelRun, path string, early []byte) (*wsConn, error) {
	conn, err := peer.Dial(ctx, run.protocol, run.address())
	if err != nil {
		return nil, err
	}
	ws := &wsConn{conn: conn}
	request := &peer.Request{
		Method: "CONNECT", Protocol: "websocket", Authority: peer.ServerName, Path: path, Open: true,
	}
	request.Fields = append(run.fields(), peer.Field{Name: "sec-websocket-version", Value: "13"})
	var nonce [16]byte
	_, _ = rand.Read(nonce[:])
	key := base64.StdEncoding.EncodeToString(nonce[:])
	if run.h1() {
		request.Method = "GET"
		request.Fields = append(request.Fields,
			peer.Field{Name: "Upgrade", Value: "websocket"},
			peer.Field{Name: "Connection", Value: "Upgrade"},
			peer.Field{Name: "Sec-WebSocket-Key", Value: key})
	} else if err := announced(ctx, conn); err != nil {
		return ws, err
	}
	if ws.stream, err = conn.Open(ctx, request); err != nil {
		return ws, err
	}
	if len(early) > 0 {
		if _, err := ws.stream.Write(early); err != nil {
			return ws, err
		}
	}
	if ws.head, err = ws.stream.Head(); err != nil {
		return ws, err
	}
	ws.from = bufio.NewReader(ws.stream)
	opened := 200
	if run.h1() {
		opened = 101
		accept := ws.head.Get("sec-websocket-accept")
		if ws.head.Status == 101 && accept != acceptFor(key) {
			return ws, fmt.Errorf("accept %q for key %q", accept, key)
		}
	}
	if ws.head.Status != opened {
		return ws, fmt.Errorf("%w: status %d", errNotOpened, ws.head.Status)
	}
	return ws, nil
}

// announced waits for the setting without which extended CONNECT may not be sent (RFC 8441 §3).
func announced(ctx context.Context, conn peer.Conn) error {
	switch conn := conn.(type) {
	case *peer.H2:
		if err := conn.AwaitSettings(ctx); err != nil {
			return err
		}
		if !conn.State().Extended {
			return errors.New("SETTINGS_ENABLE_CONNECT_PROTOCOL is not announced")
		}
	case *peer.H3:
		value, err := conn.Setting(ctx, 0x8)
		if err != nil {
			return err
		}
		if value != 1 {
			return errors.New("SETTINGS_ENABLE_CONNECT_PROTOCOL is not announced")
		}
	}
	return nil
}

func (ws *wsConn) send(frames ...wsFrame) error {
	for _, frame := range frames {
		if _, err := ws.stream.Write(frame.encode(true)); err != nil {
			return err
		}
	}
	return nil
}

// expect reads one frame and compares it.
func (ws *wsConn) expect(want wsFrame) error {
	got, err := readFrame(ws.from)
	if err != nil {
		return fmt.Errorf("instead of %v: %w", want, err)
	}
	if got.final != want.final || got.opcode != want.opcode ||
		string(got.payload) != string(want.payload) {
		return fmt.Errorf("%v instead of %v", got, want)
	}
	return nil
}

// ended reads up to the end of the tunnel; anything else is an error.
func (ws *wsConn) ended() error {
	if count, err := ws.from.Read(make([]byte, 1)); err == nil || count > 0 {
		return errors.New("bytes after the end")
	} else if !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") &&
		!strings.Contains(err.Error(), "closed") {
		return err
	}
	return nil
}

func (ws *wsConn) close() {
	if ws != nil && ws.conn != nil {
		ws.conn.Close()
	}
}
