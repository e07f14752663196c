// Package peer holds one connection of one HTTP version to the server under test.
//
// The three clients are written on raw frames instead of on net/http, because the tests need what
// net/http hides: which requests the server declared as not processed (and so may be sent again),
// and field sections, frames and stream ends that no well-behaved client would send.
package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Field is one line of a field section, as it is on the wire.
type Field struct{ Name, Value string }

// Request is the head of a request.
type Request struct {
	Method, Authority, Path string
	// Protocol makes an extended CONNECT (RFC 8441, RFC 9220).
	Protocol string
	Fields   []Field
	// Bare is the exact field section of h2 and h3, pseudo-fields included, instead of the above.
	Bare []Field
	// Length of the body: 0 none, -1 unknown (h1: chunked). A known one is sent as content-length.
	Length int64
	// Silent leaves content-length out although the length is known (h2, h3).
	Silent bool
	// Open keeps the request open although Length is 0 (tunnels, streams with empty bodies).
	Open bool
}

// Head is the head of the final response.
type Head struct {
	Status int
	Fields []Field
	// Interim are the statuses of the 1xx responses before it.
	Interim []int
}

// Get returns the first value of a field, or "".
func (head *Head) Get(name string) string { return get(head.Fields, name) }

func get(fields []Field, name string) string {
	for _, field := range fields {
		if field.Name == name {
			return field.Value
		}
	}
	return ""
}

// Stream is one exchange: written is the request's body, read is the response's.
type Stream interface {
	io.Reader
	io.Writer
	// CloseWrite ends the request's body.
	CloseWrite() error
	// Head waits for the final response head.
	Head() (*Head, error)
	// Trailers are those of the response, once Read has returned io.EOF.
	Trailers() []Field
	// SendTrailers ends the request's body with trailers.
	SendTrailers(fields []Field) error
	// Abort cancels the exchange with the error code of the protocol (h1: closes the connection).
	Abort(code uint64)
}

// Conn is one connection.
type Conn interface {
	// Open sends a request head. It waits while the server's limit of streams is reached.
	Open(ctx context.Context, request *Request) (Stream, error)
	// Usable says whether the server will take another request on this connection.
	Usable() bool
	// Close ends the connection without waiting for anything.
	Close()
}

// ErrRefused marks requests that the server declared as not processed: the stream is above the
// last one that GOAWAY names, or was reset with REFUSED_STREAM or H3_REQUEST_REJECTED (RFC 9113
// §8.7, RFC 9114 §4.1.1). Only these may be sent again, whatever their method.
var ErrRefused = errors.New("refused unprocessed")

// ErrClosing is what Open returns when the server ended the connection before anything of the
// request was sent: the caller opens another connection.
var ErrClosing = errors.New("connection is closing")

// Reset is a stream that the server ended with an error code.
type Reset struct{ Code uint64 }

func (reset Reset) Error() string { return fmt.Sprintf("stream reset %#x", reset.Code) }

// Closed is a connection that the server ended with an error code.
type Closed struct {
	Code  uint64
	Cause string
}

func (closed Closed) Error() string {
	return fmt.Sprintf("connection closed %#x %s", closed.Code, closed.Cause)
}

// Dial connects with "h1", "h1s", "h2" or "h3".
func Dial(ctx context.Context, protocol, address string) (Conn, error) {
	switch protocol {
	case "h1":
		return DialH1(ctx, address, false)
	case "h1s":
		return DialH1(ctx, address, true)
	case "h2":
		return DialH2(ctx, address, H2Options{})
	case "h3":
		return DialH3(ctx, address, H3Options{})
	}
	return nil, fmt.Errorf("no protocol %q", protocol)
}

// fields builds the field section of h2 and h3.
func (request *Request) section() []Field {
	if request.Bare != nil {
		return request.Bare
	}
	section := []Field{{":method", request.Method}, {":scheme", "https"}}
	section = append(section, Field{":authority", request.Authority}, Field{":path", request.Path})
	if request.Protocol != "" {
		section = append(section, Field{":protocol", request.Protocol})
	}
	section = append(section, request.Fields...)
	if request.Length > 0 && !request.Silent {
		section = append(section, Field{"content-length", fmt.Sprint(request.Length)})
	}
	return section
}

// ended says whether the head is all of the request.
func (request *Request) ended() bool { return request.Length == 0 && !request.Open }

// Exchange opens a stream, sends the body and reads the whole response.
func Exchange(ctx context.Context, conn Conn, request *Request, body []byte) (*Answer, error) {
	request.Length = int64(len(body))
	stream, err := conn.Open(ctx, request)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { stream.Abort(0) })
	defer stop()
	if len(body) > 0 {
		// A server may answer before it has read all: the answer counts, not the write.
		if _, err := stream.Write(body); err == nil {
			_ = stream.CloseWrite()
		}
	}
	return ReadAnswer(stream)
}

// Answer is a whole response.
type Answer struct {
	*Head
	Body     []byte
	Trailers []Field
}

// ReadAnswer reads the rest of an exchange.
func ReadAnswer(stream Stream) (*Answer, error) {
	head, err := stream.Head()
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(stream)
	if err != nil {
		return nil, fmt.Errorf("body after %d bytes: %w", len(body), err)
	}
	return &Answer{Head: head, Body: body, Trailers: stream.Trailers()}, nil
}
