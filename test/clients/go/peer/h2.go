package peer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	h2StreamWindow = 1 << 20
	h2ConnWindow   = 16 << 20
	h2FrameMax     = 16 << 10
)

// H2Options changes what the client announces.
type H2Options struct {
	// Settings are sent instead of the usual ones.
	Settings []http2.Setting
	// Zero never opens a stream's window: the response body stays at the server.
	Zero bool
	// Clear speaks h2 with prior knowledge, without TLS.
	Clear bool
}

// H2 is a connection of HTTP/2 (RFC 9113).
type H2 struct {
	Net    net.Conn
	Framer *http2.Framer

	writing sync.Mutex // held around frames and their order
	out     *bufio.Writer
	encoder *hpack.Encoder
	encoded bytes.Buffer
	next    uint32

	mu          sync.Mutex
	changed     *sync.Cond
	streams     map[uint32]*h2stream
	unread      int
	streamsMax  uint32
	peerWindow  int64
	sendWindow  int64
	extended    bool
	settled     bool
	goaway      bool
	goawayCode  http2.ErrCode
	lastStream  uint32
	ended       error
	acked       int
	pinged      int
	framesRead  int
	bytesRead   int64
	recvOptions H2Options
}

// DialH2 connects and sends the preface and the settings.
func DialH2(ctx context.Context, address string, options H2Options) (*H2, error) {
	var conn net.Conn
	var err error
	if options.Clear {
		conn, err = dialTCP(ctx, address)
	} else {
		conn, err = DialTLS(ctx, address, "h2")
	}
	if err != nil {
		return nil, err
	}
	out := bufio.NewWriterSize(conn, 64<<10)
	h2 := &H2{
		Net: conn, out: out, next: 1, streams: map[uint32]*h2stream{}, streamsMax: 100,
		peerWindow: 65_535, sendWindow: 65_535, recvOptions: options,
	}
	h2.changed = sync.NewCond(&h2.mu)
	h2.Framer = http2.NewFramer(out, bufio.NewReaderSize(conn, 64<<10))
	h2.Framer.AllowIllegalWrites = true
	h2.Framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	h2.Framer.MaxHeaderListSize = 1 << 20
	h2.encoder = hpack.NewEncoder(&h2.encoded)
	settings := options.Settings
	if settings == nil {
		window := uint32(h2StreamWindow)
		if options.Zero {
			window = 0
		}
		settings = []http2.Setting{
			{ID: http2.SettingEnablePush, Val: 0},
			{ID: http2.SettingInitialWindowSize, Val: window},
		}
	}
	err = h2.Frames(func(framer *http2.Framer) error {
		if _, err := out.WriteString(http2.ClientPreface); err != nil {
			return err
		}
		if err := framer.WriteSettings(settings...); err != nil {
			return err
		}
		return framer.WriteWindowUpdate(0, h2ConnWindow-65_535)
	})
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	go h2.read()
	return h2, nil
}

// Frames writes frames in one piece and flushes them.
func (conn *H2) Frames(write func(framer *http2.Framer) error) error {
	conn.writing.Lock()
	defer conn.writing.Unlock()
	if err := write(conn.Framer); err != nil {
		return err
	}
	return conn.out.Flush()
}

// Encode gives the HPACK block of a field section; only inside Frames, in the order of sending.
func (conn *H2) Encode(section []Field) []byte {
	conn.encoded.Reset()
	for _, field := range section {
		_ = conn.encoder.WriteField(hpack.HeaderField{Name: field.Name, Value: field.Value})
	}
	return bytes.Clone(conn.encoded.Bytes())
}

// NextStream takes the next stream identifier; only inside Frames.
func (conn *H2) NextStream() uint32 {
	id := conn.next
	conn.next += 2
	return id
}

// Usable says whether the server will take another stream.
func (conn *H2) Usable() bool {
	conn.mu.Lock()
	defer conn.mu.Unlock()
	return !conn.goaway && conn.ended == nil && conn.next < 1<<30
}

// Close closes the socket.
func (conn *H2) Close() { _ = conn.Net.Close() }

// State is what the server did to the connection so far.
type State struct {
	GoAway     bool
	GoAwayCode http2.ErrCode
	LastStream uint32
	Ended      error
	FramesRead int
	BytesRead  int64
	Acked      int
	Pinged     int
	Extended   bool
	StreamsMax uint32
}

// State reads the state.
func (conn *H2) State() State {
	conn.mu.Lock()
	defer conn.mu.Unlock()
	return State{
		conn.goaway, conn.goawayCode, conn.lastStream, conn.ended, conn.framesRead, conn.bytesRead,
		conn.acked, conn.pinged, conn.extended, conn.streamsMax,
	}
}

// AwaitSettings waits for the server's first SETTINGS.
func (conn *H2) AwaitSettings(ctx context.Context) error {
	stop := context.AfterFunc(ctx, conn.wake)
	defer stop()
	conn.mu.Lock()
	defer conn.mu.Unlock()
	for !conn.settled && conn.ended == nil && ctx.Err() == nil {
		conn.changed.Wait()
	}
	return errors.Join(conn.ended, ctx.Err())
}

func (conn *H2) wake() {
	conn.mu.Lock()
	defer conn.mu.Unlock()
	conn.changed.Broadcast()
}

// Open waits for the server's settings and for room, and sends HEADERS.
func (conn *H2) Open(ctx context.Context, request *Request) (Stream, error) {
	stream := &h2stream{conn: conn}
	if err := conn.reserve(ctx); err != nil {
		return nil, err
	}
	err := conn.Frames(func(framer *http2.Framer) error {
		conn.mu.Lock()
		if conn.goaway || conn.ended != nil {
			conn.unread--
			conn.mu.Unlock()
			return ErrClosing
		}
		stream.id = conn.NextStream()
		stream.window = conn.peerWindow
		stream.sent = request.ended()
		conn.streams[stream.id] = stream
		conn.mu.Unlock()
		return writeHead(framer, conn.Encode(request.section()), stream.id, request.ended())
	})
	if err != nil && !errors.Is(err, ErrClosing) {
		return stream, nil // what the server said before it closed decides, not the failed write
	}
	if err != nil {
		return nil, err
	}
	return stream, nil
}

// reserve waits until the server's stream limit leaves room, and takes one place.
func (conn *H2) reserve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, conn.wake)
	defer stop()
	conn.mu.Lock()
	defer conn.mu.Unlock()
	for !conn.goaway && conn.ended == nil && ctx.Err() == nil &&
		(!conn.settled || conn.unread >= int(conn.streamsMax)) {
		conn.changed.Wait()
	}
	if conn.goaway || conn.ended != nil {
		return ErrClosing
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	conn.unread++
	return nil
}

// writeHead splits a block into HEADERS and CONTINUATION.
func writeHead(framer *http2.Framer, block []byte, id uint32, end bool) error {
	first := block[:min(len(block), h2FrameMax)]
	rest := block[len(first):]
	err := framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: first, EndStream: end, EndHeaders: len(rest) == 0,
	})
	for err == nil && len(rest) > 0 {
		part := rest[:min(len(rest), h2FrameMax)]
		rest = rest[len(part):]
		err = framer.WriteContinuation(id, len(rest) == 0, part)
	}
	return err
}

// fail ends every stream that `which` picks.
func (conn *H2) fail(err error, which func(id uint32) bool) {
	for id, stream := range conn.streams {
		if which(id) {
			conn.drop(stream, err)
		}
	}
}

// drop ends one stream; conn.mu is held.
func (conn *H2) drop(stream *h2stream, err error) {
	if _, open := conn.streams[stream.id]; !open {
		return
	}
	delete(conn.streams, stream.id)
	conn.unread--
	if stream.err == nil {
		stream.err = err
	}
	conn.changed.Broadcast()
}

func (conn *H2) end(err error) {
	_ = conn.Net.Close()
	conn.mu.Lock()
	defer conn.mu.Unlock()
	if conn.goaway && conn.goawayCode != http2.ErrCodeNo {
		err = Closed{uint64(conn.goawayCode), err.Error()}
	}
	conn.ended = err
	conn.fail(fmt.Errorf("connection ended with the stream open: %w", err),
		func(uint32) bool { return true })
	conn.changed.Broadcast()
}
