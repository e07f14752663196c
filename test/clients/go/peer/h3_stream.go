package peer

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"
)

const sectionMax = 1 << 20

type h3stream struct {
	conn     *H3
	raw      *quic.Stream
	from     *bufio.Reader
	head     *Head
	left     uint64 // of the current DATA frame
	trailers []Field
	sent     bool
	ended    bool
	failure  error
}

// Raw gives the QUIC stream of an exchange over HTTP/3, for frames of one's own.
func Raw(stream Stream) *quic.Stream {
	if h3, ok := stream.(*h3stream); ok {
		return h3.raw
	}
	return nil
}

// EncodeSection writes a QPACK field section with literal names and values only (RFC 9204 §4.5.6):
// what the server decodes is byte for byte what the test wrote.
func EncodeSection(section []Field) []byte {
	block := []byte{0, 0} // required insert count 0, base 0
	for _, field := range section {
		block = appendPrefixed(block, 0x20, 3, len(field.Name))
		block = append(block, field.Name...)
		block = appendPrefixed(block, 0, 7, len(field.Value))
		block = append(block, field.Value...)
	}
	return block
}

// appendPrefixed writes an integer with an N-bit prefix (RFC 7541 §5.1).
func appendPrefixed(to []byte, flags byte, bits, value int) []byte {
	limit := 1<<bits - 1
	if value < limit {
		return append(to, flags|byte(value))
	}
	to = append(to, flags|byte(limit))
	value -= limit
	for value >= 128 {
		to = append(to, byte(value)|0x80)
		value >>= 7
	}
	return append(to, byte(value))
}

func decodeSection(block []byte) ([]Field, error) {
	next := qpack.NewDecoder().Decode(block)
	var fields []Field
	for {
		field, err := next()
		if errors.Is(err, io.EOF) {
			return fields, nil
		}
		if err != nil {
			return nil, err
		}
		fields = append(fields, Field{field.Name, field.Value})
	}
}

// frameHead reads up to the payload of the next DATA or HEADERS frame; others are skipped.
func (stream *h3stream) frameHead() (uint64, uint64, error) {
	for {
		kind, err := quicvarint.Read(stream.from)
		if err != nil {
			return 0, 0, err
		}
		length, err := quicvarint.Read(stream.from)
		if err != nil {
			return 0, 0, truncated(err)
		}
		if kind == frameData || kind == frameHeaders {
			return kind, length, nil
		}
		if _, err := io.CopyN(io.Discard, stream.from, int64(length)); err != nil {
			return 0, 0, truncated(err)
		}
	}
}

func truncated(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (stream *h3stream) section(length uint64) ([]Field, error) {
	if length > sectionMax {
		return nil, fmt.Errorf("field section of %d bytes", length)
	}
	block := make([]byte, length)
	if _, err := io.ReadFull(stream.from, block); err != nil {
		return nil, truncated(err)
	}
	return decodeSection(block)
}

func (stream *h3stream) fail(err error) error {
	stream.failure = stream.conn.explain(stream, err)
	stream.forget()
	return stream.failure
}

func (stream *h3stream) forget() {
	stream.conn.mu.Lock()
	delete(stream.conn.streams, uint64(stream.raw.StreamID()))
	stream.conn.mu.Unlock()
}

func (stream *h3stream) Head() (*Head, error) {
	if stream.head != nil {
		return stream.head, nil
	}
	var interim []int
	for {
		kind, length, err := stream.frameHead()
		if err != nil {
			return nil, stream.fail(err)
		}
		if kind != frameHeaders {
			return nil, stream.fail(errors.New("DATA before HEADERS"))
		}
		fields, err := stream.section(length)
		if err != nil {
			return nil, stream.fail(err)
		}
		status, err := strconv.Atoi(get(fields, ":status"))
		if err != nil {
			return nil, stream.fail(err)
		}
		if status < 200 {
			interim = append(interim, status)
			continue
		}
		for index, field := range fields {
			if !strings.HasPrefix(field.Name, ":") {
				fields = fields[index:]
				break
			}
		}
		stream.head = &Head{Status: status, Fields: fields, Interim: interim}
		return stream.head, nil
	}
}

func (stream *h3stream) Read(into []byte) (int, error) {
	if stream.ended {
		return 0, io.EOF
	}
	if stream.failure != nil {
		return 0, stream.failure
	}
	for stream.left == 0 {
		kind, length, err := stream.frameHead()
		if errors.Is(err, io.EOF) {
			stream.ended = true
			stream.forget()
			if !stream.sent {
				// The response is complete: nobody reads the rest of the request.
				stream.raw.CancelWrite(h3NoError)
			}
			return 0, io.EOF
		}
		if err != nil {
			return 0, stream.fail(err)
		}
		if kind == frameHeaders {
			if stream.trailers, err = stream.section(length); err != nil {
				return 0, stream.fail(err)
			}
			continue
		}
		stream.left = length
	}
	if uint64(len(into)) > stream.left {
		into = into[:stream.left]
	}
	count, err := stream.from.Read(into)
	stream.left -= uint64(count)
	if err != nil && count == 0 {
		return 0, stream.fail(truncated(err))
	}
	return count, nil
}

func (stream *h3stream) Write(body []byte) (int, error) {
	head := quicvarint.Append(quicvarint.Append(nil, frameData), uint64(len(body)))
	if _, err := stream.raw.Write(head); err != nil {
		return 0, err
	}
	return stream.raw.Write(body)
}

func (stream *h3stream) CloseWrite() error {
	stream.sent = true
	return stream.raw.Close()
}

func (stream *h3stream) SendTrailers(fields []Field) error {
	frame := appendFrame(nil, frameHeaders, EncodeSection(fields))
	if _, err := stream.raw.Write(frame); err != nil {
		return err
	}
	return stream.CloseWrite()
}

func (stream *h3stream) Trailers() []Field { return stream.trailers }

func (stream *h3stream) Abort(code uint64) {
	if code == 0 {
		code = h3RequestCancelled
	}
	stream.raw.CancelRead(quic.StreamErrorCode(code))
	stream.raw.CancelWrite(quic.StreamErrorCode(code))
}
