package peer

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"
)

// Error codes of HTTP/3 (RFC 9114 §8.1).
const (
	h3NoError          = 0x100
	h3RequestRejected  = 0x10b
	h3RequestCancelled = 0x10c
)

const (
	frameData     = 0x0
	frameHeaders  = 0x1
	frameSettings = 0x4
	frameGoAway   = 0x7
)

// H3Options changes how the client connects.
type H3Options struct {
	Config *quic.Config
	TLS    *tls.Config
	// Transport is the socket to use; nil: one of its own.
	Transport *quic.Transport
	// Early sends requests in 0-RTT when the TLS session allows it.
	Early bool
}

// H3 is a connection of HTTP/3 without dynamic QPACK table.
type H3 struct {
	Quic *quic.Conn
	own  *quic.Transport

	mu       sync.Mutex
	goaway   bool
	lastID   uint64 // the first stream that the server will not answer
	streams  map[uint64]*h3stream
	settings map[uint64]uint64
	settled  chan struct{}
	readDone chan struct{}
}

// QuicConfig has windows as a browser has, and no limit on idle time of its own.
func QuicConfig() *quic.Config {
	return &quic.Config{
		InitialStreamReceiveWindow: 1 << 20, MaxStreamReceiveWindow: 4 << 20,
		InitialConnectionReceiveWindow: 4 << 20, MaxConnectionReceiveWindow: 16 << 20,
	}
}

// DialH3 connects and sends SETTINGS.
func DialH3(ctx context.Context, address string, options H3Options) (*H3, error) {
	remote, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return nil, err
	}
	if options.Config == nil {
		options.Config = QuicConfig()
	}
	if options.TLS == nil {
		options.TLS = TLSConfig("h3")
	}
	conn := &H3{
		streams: map[uint64]*h3stream{}, settings: map[uint64]uint64{},
		settled: make(chan struct{}), readDone: make(chan struct{}),
	}
	transport := options.Transport
	if transport == nil {
		local := &net.UDPAddr{}
		if remote.IP.IsLoopback() {
			local.IP = net.IPv4(127, 0, 0, 1)
		}
		socket, err := net.ListenUDP("udp", local)
		if err != nil {
			return nil, err
		}
		transport = &quic.Transport{Conn: socket}
		conn.own = transport
	}
	dial := transport.Dial
	if options.Early {
		dial = transport.DialEarly
	}
	conn.Quic, err = dial(ctx, remote, options.TLS, options.Config)
	if err != nil {
		conn.closeSocket()
		return nil, err
	}
	control, err := conn.Quic.OpenUniStream()
	if err == nil {
		// Stream type 0, then SETTINGS: QPACK table 0 and no blocked streams are the defaults.
		_, err = control.Write([]byte{0, frameSettings, 0})
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	go conn.acceptStreams()
	return conn, nil
}

func (conn *H3) closeSocket() {
	if conn.own != nil {
		_ = conn.own.Close()
		_ = conn.own.Conn.Close()
	}
}

// acceptStreams finds the server's control stream and reads it to its end.
func (conn *H3) acceptStreams() {
	defer close(conn.readDone)
	var readers sync.WaitGroup
	defer readers.Wait()
	for {
		stream, err := conn.Quic.AcceptUniStream(conn.Quic.Context())
		if err != nil {
			return
		}
		readers.Go(func() {
			from := bufio.NewReader(stream)
			kind, err := quicvarint.Read(from)
			if err == nil && kind == 0 {
				conn.control(from)
				return
			}
			_, _ = io.Copy(io.Discard, from)
		})
	}
}

func (conn *H3) control(from *bufio.Reader) {
	for {
		kind, payload, err := readFrame(from, 1<<16)
		if err != nil {
			return
		}
		switch kind {
		case frameSettings:
			conn.readSettings(payload)
		case frameGoAway:
			id, _, err := quicvarint.Parse(payload)
			if err == nil {
				conn.goAway(id)
			}
		}
	}
}

func (conn *H3) readSettings(payload []byte) {
	conn.mu.Lock()
	defer conn.mu.Unlock()
	for len(payload) > 0 {
		id, count, err := quicvarint.Parse(payload)
		if err != nil {
			break
		}
		payload = payload[count:]
		value, count, err := quicvarint.Parse(payload)
		if err != nil {
			break
		}
		payload = payload[count:]
		conn.settings[id] = value
	}
	close(conn.settled)
}

// goAway: streams from `id` on were and will not be processed (RFC 9114 §5.2).
func (conn *H3) goAway(id uint64) {
	conn.mu.Lock()
	defer conn.mu.Unlock()
	conn.goaway, conn.lastID = true, id
	for number, stream := range conn.streams {
		if number >= id {
			stream.raw.CancelRead(h3RequestCancelled)
			stream.raw.CancelWrite(h3RequestCancelled)
		}
	}
}

// Setting waits for the server's SETTINGS and reads one.
func (conn *H3) Setting(ctx context.Context, id uint64) (uint64, error) {
	select {
	case <-conn.settled:
	case <-conn.Quic.Context().Done():
		return 0, context.Cause(conn.Quic.Context())
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	conn.mu.Lock()
	defer conn.mu.Unlock()
	return conn.settings[id], nil
}

// Usable says whether the server takes another stream.
func (conn *H3) Usable() bool {
	conn.mu.Lock()
	defer conn.mu.Unlock()
	return !conn.goaway && conn.Quic.Context().Err() == nil
}

// Close ends the connection.
func (conn *H3) Close() {
	_ = conn.Quic.CloseWithError(h3NoError, "")
	conn.closeSocket()
}

// Open waits for a stream and sends HEADERS.
func (conn *H3) Open(ctx context.Context, request *Request) (Stream, error) {
	if !conn.Usable() {
		return nil, ErrClosing
	}
	// A GOAWAY may arrive while the credit for a stream is awaited.
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	raw, err := conn.Quic.OpenStreamSync(waiting)
	if err != nil {
		if ctx.Err() == nil {
			return nil, fmt.Errorf("%w: %w", ErrClosing, err)
		}
		return nil, err
	}
	stream := &h3stream{conn: conn, raw: raw, from: bufio.NewReaderSize(raw, 16<<10)}
	conn.mu.Lock()
	if conn.goaway {
		conn.mu.Unlock()
		raw.CancelRead(h3RequestCancelled)
		raw.CancelWrite(h3RequestCancelled)
		return nil, ErrClosing
	}
	conn.streams[uint64(raw.StreamID())] = stream
	conn.mu.Unlock()
	block := EncodeSection(request.section())
	if _, err := raw.Write(appendFrame(nil, frameHeaders, block)); err != nil {
		stream.failure = err
		return stream, nil
	}
	if request.ended() {
		stream.sent = true
		_ = raw.Close()
	}
	return stream, nil
}

// explain turns an error of quic-go into one of this package, after the control stream was read to
// its end, so that a GOAWAY that was sent before the close counts.
func (conn *H3) explain(stream *h3stream, err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	if conn.Quic.Context().Err() != nil {
		<-conn.readDone
	}
	conn.mu.Lock()
	refused := conn.goaway && uint64(stream.raw.StreamID()) >= conn.lastID
	conn.mu.Unlock()
	var reset *quic.StreamError
	var closed *quic.ApplicationError
	var broken *quic.TransportError
	switch {
	case refused:
		return fmt.Errorf("above GOAWAY: %w", ErrRefused)
	case errors.As(err, &reset) && reset.Remote && reset.ErrorCode == h3RequestRejected:
		return fmt.Errorf("H3_REQUEST_REJECTED: %w", ErrRefused)
	case errors.As(err, &reset):
		return Reset{uint64(reset.ErrorCode)}
	case errors.As(err, &closed):
		return Closed{uint64(closed.ErrorCode), closed.ErrorMessage}
	case errors.As(err, &broken):
		return Closed{uint64(broken.ErrorCode), broken.ErrorMessage}
	}
	return err
}

func appendFrame(to []byte, kind uint64, payload []byte) []byte {
	to = quicvarint.Append(to, kind)
	to = quicvarint.Append(to, uint64(len(payload)))
	return append(to, payload...)
}

func readFrame(from *bufio.Reader, limit uint64) (uint64, []byte, error) {
	kind, err := quicvarint.Read(from)
	if err != nil {
		return 0, nil, err
	}
	length, err := quicvarint.Read(from)
	if err != nil || length > limit {
		return 0, nil, errors.Join(err, fmt.Errorf("frame of %d bytes", length))
	}
	payload := make([]byte, length)
	_, err = io.ReadFull(from, payload)
	return kind, payload, err
}
