package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// held counts what became of the connections.
type held struct {
	sync.Mutex
	Opened int `json:"opened"`
	// Connections that could not be opened, by reason.
	Failed map[string]int `json:"failed"`
	// First lines that came while the connections were held.
	Answers map[string]int `json:"answers"`
	Closed  int            `json:"closed"`
	// From the connection's begin to its end by the server.
	LongestMs int64 `json:"longestMs"`
}

type holder struct {
	address, kind, host string
	patience            time.Duration
	result              held
	done                chan struct{}
}

// hold opens many connections and keeps them until it reads a line (or the end) on stdin, or until
// the server has closed them all. It writes `opened N` for every thousand
// on stderr, and `held N` once all are open.
// Kinds: `slow` begins a header and never ends it; `h1` and `h2` (over TLS) and `plain` make one
// request and then idle; `handshake` sends nothing at all.
func hold(args []string) error {
	flags := flag.NewFlagSet("hold", flag.ExitOnError)
	address := flags.String("address", "", "host:port")
	kind := flags.String("kind", "h1", "slow, plain, h1, h2 or handshake")
	count := flags.Int("count", 100, "connections")
	sources := flags.Int("sources", 1, "source addresses, 127.0.0.1 and following")
	opening := flags.Int("opening", 64, "connections opened at a time")
	patience := flags.Int("patience", 1, "by how much longer every time-out is")
	if err := flags.Parse(args); err != nil {
		return err
	}
	h := &holder{address: *address, kind: *kind, host: "localhost", done: make(chan struct{})}
	h.patience = time.Duration(*patience)
	h.result.Failed, h.result.Answers = map[string]int{}, map[string]int{}
	var begun, ended sync.WaitGroup
	places := make(chan struct{}, *opening)
	for i := range *count {
		source := net.IPv4(127, 0, 0, byte(1+i%*sources))
		begun.Add(1)
		ended.Add(1)
		places <- struct{}{}
		go func() {
			defer ended.Done()
			since := time.Now()
			connection, err := h.open(source)
			<-places
			h.result.Lock()
			if err == nil {
				h.result.Opened++
				if h.result.Opened%1000 == 0 {
					fmt.Fprintf(os.Stderr, "opened %d\n", h.result.Opened)
				}
			} else {
				h.result.Failed[reason(err)]++
			}
			h.result.Unlock()
			begun.Done()
			if err == nil {
				h.watch(connection, since)
			}
		}()
	}
	begun.Wait()
	fmt.Fprintf(os.Stderr, "held %d\n", h.result.Opened)
	finished := make(chan struct{})
	go func() { ended.Wait(); close(finished) }()
	go func() { _, _ = bufio.NewReader(os.Stdin).ReadString('\n'); close(h.done) }()
	select {
	case <-finished:
	case <-h.done:
	}
	h.result.Lock()
	defer h.result.Unlock()
	return emit(&h.result)
}

func reason(err error) string {
	text := err.Error()
	return text[strings.LastIndex(text, ": ")+1:]
}

func (h *holder) open(source net.IP) (net.Conn, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: source}, Timeout: h.patience * 20 * time.Second}
	connection, err := dialer.Dial("tcp", h.address)
	if err != nil || h.kind == "handshake" {
		return connection, err
	}
	if h.kind == "slow" {
		_, err = io.WriteString(connection, "GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
		return connection, err
	}
	if h.kind != "plain" {
		protocol := map[string]string{"h1": "http/1.1", "h2": "h2"}[h.kind]
		secure := tls.Client(connection, &tls.Config{
			ServerName: h.host, InsecureSkipVerify: true, NextProtos: []string{protocol},
		})
		connection = secure
		_ = secure.SetDeadline(time.Now().Add(h.patience * 30 * time.Second))
		if err := secure.Handshake(); err != nil {
			return nil, err
		}
	}
	_ = connection.SetDeadline(time.Now().Add(h.patience * 30 * time.Second))
	if h.kind == "h2" {
		err = h.requestH2(connection)
	} else {
		err = h.requestH1(connection)
	}
	_ = connection.SetDeadline(time.Time{})
	return connection, err
}

func (h *holder) requestH1(connection net.Conn) error {
	_, err := fmt.Fprintf(connection, "GET /_gwhealthz HTTP/1.1\r\nHost: %s\r\n\r\n", h.host)
	if err != nil {
		return err
	}
	answer := make([]byte, 2048)
	length, err := connection.Read(answer)
	if err == nil && !bytes.HasPrefix(answer[:length], []byte("HTTP/1.1 200")) {
		return fmt.Errorf("answer: %.20q", answer[:length])
	}
	return err
}

func (h *holder) requestH2(connection net.Conn) error {
	var head, out bytes.Buffer
	encoder := hpack.NewEncoder(&head)
	for _, field := range [][2]string{
		{":method", "GET"}, {":scheme", "https"}, {":authority", h.host}, {":path", "/_gwhealthz"},
	} {
		_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	out.WriteString(http2.ClientPreface)
	framer := http2.NewFramer(&out, connection)
	_ = framer.WriteSettings()
	_ = framer.WriteSettingsAck()
	_ = framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: 1, BlockFragment: head.Bytes(), EndStream: true, EndHeaders: true,
	})
	if _, err := connection.Write(out.Bytes()); err != nil {
		return err
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return err
		}
		ended := frame.Header().StreamID == 1 && frame.Header().Flags.Has(http2.FlagDataEndStream)
		if ended && frame.Header().Type == http2.FrameData {
			return nil
		}
	}
}

// watch waits for the server to close.
func (h *holder) watch(connection net.Conn, since time.Time) {
	answer := make([]byte, 0, 512)
	piece := make([]byte, 512)
	for {
		length, err := connection.Read(piece)
		if len(answer) < 512 && h.kind == "slow" {
			answer = append(answer, piece[:length]...)
		}
		if err != nil {
			break
		}
	}
	connection.Close()
	line, _, _ := bytes.Cut(answer, []byte("\r\n"))
	h.result.Lock()
	defer h.result.Unlock()
	h.result.Closed++
	h.result.Answers[string(line)]++
	h.result.LongestMs = max(h.result.LongestMs, time.Since(since).Milliseconds())
}
