package peer

import (
	"errors"
	"io"

	"golang.org/x/net/http2"
)

// h2stream is one exchange; its fields are guarded by conn.mu.
type h2stream struct {
	conn     *H2
	id       uint32
	window   int64 // what the server lets us send
	interim  []int
	head     *Head
	buffer   []byte
	unacked  uint32
	padding  uint32
	trailers []Field
	sent     bool
	err      error // io.EOF: the response is complete
}

func (stream *h2stream) Head() (*Head, error) {
	conn := stream.conn
	conn.mu.Lock()
	defer conn.mu.Unlock()
	for stream.head == nil && stream.err == nil {
		conn.changed.Wait()
	}
	if stream.head == nil {
		return nil, stream.err
	}
	return stream.head, nil
}

func (stream *h2stream) Read(into []byte) (int, error) {
	conn := stream.conn
	conn.mu.Lock()
	for len(stream.buffer) == 0 && stream.err == nil {
		conn.changed.Wait()
	}
	count := copy(into, stream.buffer)
	stream.buffer = stream.buffer[count:]
	stream.unacked += uint32(count) + stream.padding
	stream.padding = 0
	err := stream.err
	abandoned := count == 0 && errors.Is(err, io.EOF) && !stream.sent
	stream.sent = stream.sent || abandoned
	grant := uint32(0)
	if err == nil && stream.unacked >= h2StreamWindow/4 && !conn.recvOptions.Zero {
		grant, stream.unacked = stream.unacked, 0
	}
	conn.mu.Unlock()
	if grant > 0 {
		_ = conn.Frames(func(framer *http2.Framer) error {
			return framer.WriteWindowUpdate(stream.id, grant)
		})
	}
	if abandoned {
		// The response is complete: nobody reads the rest of the request.
		_ = conn.Frames(func(framer *http2.Framer) error {
			return framer.WriteRSTStream(stream.id, http2.ErrCodeNo)
		})
	}
	if count > 0 {
		return count, nil
	}
	return 0, err
}

// Write sends DATA as far as both windows allow, and waits for more.
func (stream *h2stream) Write(body []byte) (int, error) {
	conn := stream.conn
	written := 0
	for written < len(body) {
		conn.mu.Lock()
		for stream.err == nil && (stream.window <= 0 || conn.sendWindow <= 0) {
			conn.changed.Wait()
		}
		if stream.err != nil {
			conn.mu.Unlock()
			return written, writeError(stream.err)
		}
		room := min(stream.window, conn.sendWindow, h2FrameMax, int64(len(body)-written))
		stream.window -= room
		conn.sendWindow -= room
		conn.mu.Unlock()
		part := body[written : written+int(room)]
		err := conn.Frames(func(framer *http2.Framer) error {
			return framer.WriteData(stream.id, false, part)
		})
		if err != nil {
			return written, err
		}
		written += int(room)
	}
	return written, nil
}

// writeError: a response that ended before the request did stops the upload.
func writeError(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrClosedPipe
	}
	return err
}

func (stream *h2stream) CloseWrite() error {
	return stream.finish(func(framer *http2.Framer) error {
		return framer.WriteData(stream.id, true, nil)
	})
}

func (stream *h2stream) SendTrailers(fields []Field) error {
	return stream.finish(func(framer *http2.Framer) error {
		return writeHead(framer, stream.conn.Encode(fields), stream.id, true)
	})
}

func (stream *h2stream) finish(write func(*http2.Framer) error) error {
	stream.conn.mu.Lock()
	sent, err := stream.sent, stream.err
	stream.sent = true
	stream.conn.mu.Unlock()
	if sent || err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	// A response that is complete already does not end the request: without its end, the server
	// would have to take the stream for an abandoned one.
	return stream.conn.Frames(write)
}

func (stream *h2stream) Trailers() []Field {
	stream.conn.mu.Lock()
	defer stream.conn.mu.Unlock()
	return stream.trailers
}

func (stream *h2stream) Abort(code uint64) {
	stream.conn.mu.Lock()
	open := stream.err == nil
	stream.conn.drop(stream, Reset{code})
	stream.conn.mu.Unlock()
	if open {
		_ = stream.conn.Frames(func(framer *http2.Framer) error {
			return framer.WriteRSTStream(stream.id, http2.ErrCode(code))
		})
	}
}
