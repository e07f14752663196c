package peer

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/net/http2"
)

// read takes the server's frames until the connection ends.
func (conn *H2) read() {
	for {
		frame, err := conn.Framer.ReadFrame()
		var broken http2.StreamError
		if errors.As(err, &broken) {
			conn.mu.Lock()
			if stream := conn.streams[broken.StreamID]; stream != nil {
				conn.drop(stream, err)
			}
			conn.mu.Unlock()
			continue
		}
		if err != nil {
			conn.end(err)
			return
		}
		reply := conn.take(frame)
		if reply != nil && conn.Frames(reply) != nil {
			// The reader learns the reason from the next frame or from the end of the socket.
			continue
		}
	}
}

// take applies one frame, and returns what must be written for it.
func (conn *H2) take(frame http2.Frame) func(*http2.Framer) error {
	conn.mu.Lock()
	defer conn.mu.Unlock()
	defer conn.changed.Broadcast()
	conn.framesRead++
	conn.bytesRead += int64(frame.Header().Length) + 9
	stream := conn.streams[frame.Header().StreamID]
	switch frame := frame.(type) {
	case *http2.SettingsFrame:
		return conn.settings(frame)
	case *http2.PingFrame:
		if frame.IsAck() {
			conn.pinged++
			return nil
		}
		return func(framer *http2.Framer) error { return framer.WritePing(true, frame.Data) }
	case *http2.GoAwayFrame:
		conn.goaway, conn.goawayCode, conn.lastStream = true, frame.ErrCode, frame.LastStreamID
		conn.fail(fmt.Errorf("above GOAWAY: %w", ErrRefused),
			func(id uint32) bool { return id > frame.LastStreamID })
	case *http2.WindowUpdateFrame:
		if frame.StreamID == 0 {
			conn.sendWindow += int64(frame.Increment)
		} else if stream != nil {
			stream.window += int64(frame.Increment)
		}
	case *http2.RSTStreamFrame:
		if stream != nil {
			conn.drop(stream, resetError(frame.ErrCode))
		}
	case *http2.MetaHeadersFrame:
		if stream != nil {
			conn.headers(stream, frame)
		}
	case *http2.DataFrame:
		return conn.bytes(stream, frame)
	}
	return nil
}

func resetError(code http2.ErrCode) error {
	if code == http2.ErrCodeRefusedStream {
		return fmt.Errorf("REFUSED_STREAM: %w", ErrRefused)
	}
	return Reset{uint64(code)}
}

func (conn *H2) settings(frame *http2.SettingsFrame) func(*http2.Framer) error {
	if frame.IsAck() {
		conn.acked++
		return nil
	}
	conn.settled = true
	_ = frame.ForeachSetting(func(setting http2.Setting) error {
		switch setting.ID {
		case http2.SettingMaxConcurrentStreams:
			conn.streamsMax = setting.Val
		case http2.SettingInitialWindowSize:
			for _, stream := range conn.streams {
				stream.window += int64(setting.Val) - conn.peerWindow
			}
			conn.peerWindow = int64(setting.Val)
		case http2.SettingEnableConnectProtocol:
			conn.extended = setting.Val == 1
		}
		return nil
	})
	return func(framer *http2.Framer) error { return framer.WriteSettingsAck() }
}

func (conn *H2) headers(stream *h2stream, frame *http2.MetaHeadersFrame) {
	fields := make([]Field, 0, len(frame.Fields))
	for _, field := range frame.Fields {
		if !strings.HasPrefix(field.Name, ":") {
			fields = append(fields, Field{field.Name, field.Value})
		}
	}
	if stream.head == nil {
		status, err := strconv.Atoi(frame.PseudoValue("status"))
		if err != nil {
			conn.drop(stream, fmt.Errorf("status %q", frame.PseudoValue("status")))
			return
		}
		if status < 200 {
			stream.interim = append(stream.interim, status)
			return
		}
		stream.head = &Head{Status: status, Fields: fields, Interim: stream.interim}
	} else {
		stream.trailers = fields
	}
	if frame.StreamEnded() {
		conn.drop(stream, io.EOF)
	}
}

func (conn *H2) bytes(stream *h2stream, frame *http2.DataFrame) func(*http2.Framer) error {
	size := frame.Length
	if stream != nil {
		if stream.head == nil {
			conn.drop(stream, errors.New("DATA before HEADERS"))
		}
		stream.buffer = append(stream.buffer, frame.Data()...)
		stream.padding += size - uint32(len(frame.Data()))
		if frame.StreamEnded() {
			conn.drop(stream, io.EOF)
		}
	}
	if size == 0 {
		return nil
	}
	// The connection's window is given back at once; each stream's when its bytes are read.
	return func(framer *http2.Framer) error { return framer.WriteWindowUpdate(0, size) }
}
