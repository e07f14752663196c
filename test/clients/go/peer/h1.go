package peer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
)

// H1 is a connection of HTTP/1.1 without pipelining.
type H1 struct {
	Net     net.Conn
	Reader  *bufio.Reader
	busy    atomic.Bool
	closing atomic.Bool
}

// DialH1 connects in clear or with TLS (ALPN http/1.1).
func DialH1(ctx context.Context, address string, secure bool) (*H1, error) {
	var conn net.Conn
	var err error
	if secure {
		conn, err = DialTLS(ctx, address, "http/1.1")
	} else {
		conn, err = dialTCP(ctx, address)
	}
	if err != nil {
		return nil, err
	}
	return &H1{Net: conn, Reader: bufio.NewReaderSize(conn, 64<<10)}, nil
}

// Usable says whether the last response left the connection open and nothing is under way.
func (conn *H1) Usable() bool { return !conn.closing.Load() && !conn.busy.Load() }

// Close closes the socket.
func (conn *H1) Close() {
	conn.closing.Store(true)
	_ = conn.Net.Close()
}

// Open writes the head. The connection is not usable again until the response was read.
func (conn *H1) Open(_ context.Context, request *Request) (Stream, error) {
	if conn.closing.Load() || !conn.busy.CompareAndSwap(false, true) {
		return nil, ErrClosing
	}
	stream := &h1stream{conn: conn, method: request.Method, chunked: request.Length < 0}
	var head strings.Builder
	fmt.Fprintf(&head, "%s %s HTTP/1.1\r\nHost: %s\r\n",
		request.Method, request.Path, request.Authority)
	for _, field := range request.Fields {
		fmt.Fprintf(&head, "%s: %s\r\n", field.Name, field.Value)
	}
	if stream.chunked {
		head.WriteString("Transfer-Encoding: chunked\r\n")
	} else if request.Length > 0 {
		fmt.Fprintf(&head, "Content-Length: %d\r\n", request.Length)
	}
	head.WriteString("\r\n")
	if _, err := io.WriteString(conn.Net, head.String()); err != nil {
		// The response may be there already (a server that closes says so first).
		conn.closing.Store(true)
	}
	return stream, nil
}

type h1stream struct {
	conn     *H1
	method   string
	chunked  bool
	head     *Head
	body     io.Reader
	trailers []Field
	done     bool
}

func (stream *h1stream) Write(body []byte) (int, error) {
	if !stream.chunked {
		return stream.conn.Net.Write(body)
	}
	if len(body) == 0 {
		return 0, nil
	}
	framed := append([]byte(strconv.FormatInt(int64(len(body)), 16)+"\r\n"), body...)
	if _, err := stream.conn.Net.Write(append(framed, "\r\n"...)); err != nil {
		return 0, err
	}
	return len(body), nil
}

// CloseWrite ends the body; in a tunnel it closes this half of the connection.
func (stream *h1stream) CloseWrite() error {
	half, able := stream.conn.Net.(interface{ CloseWrite() error })
	if able && stream.head != nil && stream.head.Status == 101 {
		return half.CloseWrite()
	}
	return stream.SendTrailers(nil)
}

func (stream *h1stream) SendTrailers(fields []Field) error {
	if !stream.chunked {
		return nil
	}
	var end strings.Builder
	end.WriteString("0\r\n")
	for _, field := range fields {
		fmt.Fprintf(&end, "%s: %s\r\n", field.Name, field.Value)
	}
	end.WriteString("\r\n")
	_, err := io.WriteString(stream.conn.Net, end.String())
	return err
}

func (stream *h1stream) Abort(uint64) {
	if !stream.done {
		stream.conn.Close()
	}
}

func (stream *h1stream) Trailers() []Field { return stream.trailers }

func (stream *h1stream) Head() (*Head, error) {
	if stream.head != nil {
		return stream.head, nil
	}
	var interim []int
	for {
		head, err := readHead(stream.conn.Reader)
		if err != nil {
			stream.conn.Close()
			return nil, fmt.Errorf("response head: %w", err)
		}
		if head.Status < 200 && head.Status != 101 {
			interim = append(interim, head.Status)
			continue
		}
		head.Interim = interim
		stream.head = head
		return head, stream.frame()
	}
}

// frame chooses how the body ends (RFC 9112 §6.3).
func (stream *h1stream) frame() error {
	conn, head := stream.conn, stream.head
	if hasToken(head.Get("connection"), "close") {
		conn.closing.Store(true)
	}
	length := head.Get("content-length")
	switch {
	case head.Status == 101:
		conn.closing.Store(true)
		stream.body = conn.Reader
	case stream.method == "HEAD" || head.Status == 204 || head.Status == 304:
		stream.finish()
	case strings.EqualFold(head.Get("transfer-encoding"), "chunked"):
		stream.body = &chunkReader{stream: stream}
	case length != "":
		count, err := strconv.ParseInt(length, 10, 64)
		if err != nil {
			return err
		}
		if count == 0 {
			stream.finish()
		}
		stream.body = &exactReader{from: conn.Reader, left: count}
	default:
		conn.closing.Store(true)
		stream.body = conn.Reader
	}
	return nil
}

func (stream *h1stream) finish() {
	stream.done = true
	stream.conn.busy.Store(false)
	if stream.conn.closing.Load() {
		_ = stream.conn.Net.Close()
	}
}

func (stream *h1stream) Read(into []byte) (int, error) {
	if stream.done || stream.body == nil {
		return 0, io.EOF
	}
	count, err := stream.body.Read(into)
	if errors.Is(err, io.EOF) {
		stream.finish()
	} else if err != nil {
		stream.conn.Close()
	}
	return count, err
}

// exactReader ends with io.EOF only after all announced bytes.
type exactReader struct {
	from io.Reader
	left int64
}

func (reader *exactReader) Read(into []byte) (int, error) {
	if reader.left == 0 {
		return 0, io.EOF
	}
	if int64(len(into)) > reader.left {
		into = into[:reader.left]
	}
	count, err := reader.from.Read(into)
	reader.left -= int64(count)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if reader.left == 0 {
		err = io.EOF
	}
	return count, err
}

type chunkReader struct {
	stream *h1stream
	left   int64
}

func (reader *chunkReader) Read(into []byte) (int, error) {
	from := reader.stream.conn.Reader
	if reader.left == 0 {
		line, err := readLine(from)
		if err != nil {
			return 0, err
		}
		size, err := strconv.ParseInt(line, 16, 64)
		if err != nil {
			return 0, fmt.Errorf("chunk size %q", line)
		}
		if size == 0 {
			reader.stream.trailers, err = readFields(from)
			if err != nil {
				return 0, err
			}
			return 0, io.EOF
		}
		reader.left = size
	}
	if int64(len(into)) > reader.left {
		into = into[:reader.left]
	}
	count, err := from.Read(into)
	reader.left -= int64(count)
	if err == nil && reader.left == 0 {
		_, err = readLine(from)
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return count, err
}

func readLine(from *bufio.Reader) (string, error) {
	line, err := from.ReadString('\n')
	if err != nil {
		if errors.Is(err, io.EOF) && line != "" {
			err = io.ErrUnexpectedEOF
		}
		return "", err
	}
	return strings.TrimRight(line, "\r\n"), nil
}

func readFields(from *bufio.Reader) ([]Field, error) {
	var fields []Field
	for {
		line, err := readLine(from)
		if err != nil {
			return nil, err
		}
		if line == "" {
			return fields, nil
		}
		name, value, found := strings.Cut(line, ":")
		if !found {
			return nil, fmt.Errorf("field line %q", line)
		}
		fields = append(fields, Field{strings.ToLower(name), strings.TrimSpace(value)})
	}
}

func readHead(from *bufio.Reader) (*Head, error) {
	line, err := readLine(from)
	if err != nil {
		return nil, err
	}
	parts := strings.SplitN(line, " ", 3)
	if len(parts) < 2 || !strings.HasPrefix(parts[0], "HTTP/1.") {
		return nil, fmt.Errorf("status line %q", line)
	}
	status, err := strconv.Atoi(parts[1])
	if err != nil {
		return nil, fmt.Errorf("status line %q", line)
	}
	fields, err := readFields(from)
	return &Head{Status: status, Fields: fields}, err
}

func hasToken(value, token string) bool {
	for part := range strings.SplitSeq(value, ",") {
		if strings.EqualFold(strings.TrimSpace(part), token) {
			return true
		}
	}
	return false
}
