package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// wsSeen is one request head as it reached the WebSocket backend.
type wsSeen struct {
	Method string      `json:"method"`
	Target string      `json:"target"`
	Fields http.Header `json:"fields"`
	// Early counts bytes that came before this backend's 101.
	Early int `json:"early"`
}

// wsBackend is a backend on a bare socket, so that it can answer what no library would. The path
// chooses the answer. It prints its address, then each head it sees.
func wsBackend(args []string) error {
	flags := flag.NewFlagSet("websocket-backend", flag.ContinueOnError)
	address := flags.String("address", "127.0.0.1:0", "where to listen")
	if err := flags.Parse(args); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		return err
	}
	if err := emit(map[string]string{"address": listener.Addr().String()}); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	go func() {
		<-ctx.Done()
		_ = listener.Close()
	}()
	var printing sync.Mutex
	for {
		conn, err := listener.Accept()
		if err != nil {
			return nil
		}
		go func() {
			defer func() { _ = conn.Close() }()
			_ = conn.SetDeadline(time.Now().Add(time.Minute))
			wsServe(conn, func(seen wsSeen) {
				printing.Lock()
				defer printing.Unlock()
				_ = emit(seen)
			})
		}()
	}
}

// wsAnswers are the answers that are no proper 101, by path; %s is the right Accept value.
var wsAnswers = map[string]string{
	"/wrong-accept": "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n" +
		"Connection: Upgrade\r\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
	"/no-accept": "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n" +
		"Connection: Upgrade\r\n\r\n",
	"/no-upgrade": "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: %s\r\n\r\n",
	"/other-upgrade": "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n" +
		"Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
	"/no-connection": "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Accept: %s\r\n\r\n",
	"/two-accepts": "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n" +
		"Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\nSec-WebSocket-Accept: x\r\n\r\n",
	"/ok":        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nno ws",
	"/forbidden": "HTTP/1.1 403 Forbidden\r\nContent-Length: 7\r\n\r\nnot you",
	"/failed":    "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\noops",
	"/moved":     "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",
	"/upgrade-required": "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\n" +
		"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n",
	"/garbage": "\x00\x01\x02 garbage\r\n\r\n",
	"/silence": "",
}

func wsServe(conn net.Conn, record func(seen wsSeen)) {
	from := bufio.NewReader(conn)
	request, err := http.ReadRequest(from)
	if err != nil {
		return
	}
	path := request.URL.Path
	seen := wsSeen{Method: request.Method, Target: request.RequestURI, Fields: request.Header}
	seen.Early = from.Buffered()
	accept := acceptFor(request.Header.Get("Sec-WebSocket-Key"))
	if answer, found := wsAnswers[path]; found {
		record(seen)
		if strings.Contains(answer, "%s") {
			answer = fmt.Sprintf(answer, accept)
		}
		_, _ = io.WriteString(conn, answer)
		// What comes nevertheless is counted: it should have been held.
		_ = conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		rest, _ := io.Copy(io.Discard, from)
		if rest > 0 {
			record(wsSeen{Method: "LATE", Target: path, Early: int(rest)})
		}
		return
	}
	if path == "/late" {
		_ = conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		_, _ = from.Peek(1)
		seen.Early = from.Buffered()
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
	}
	record(seen)
	head := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + accept + "\r\n"
	if offered := request.Header.Get("Sec-WebSocket-Protocol"); offered != "" {
		first, _, _ := strings.Cut(offered, ",")
		head += "Sec-WebSocket-Protocol: " + first + "\r\n"
	}
	out := []byte(head + "\r\n")
	if path == "/greet" {
		// In one packet with the head: an eager server.
		out = append(out, wsFrame{true, opText, []byte("welcome")}.encode(false)...)
	}
	if _, err := conn.Write(out); err != nil {
		return
	}
	wsSpeak(conn, from, request)
}

func wsSpeak(conn net.Conn, from *bufio.Reader, request *http.Request) {
	switch request.URL.Path {
	case "/close":
		code, _ := strconv.Atoi(request.URL.Query().Get("code"))
		payload := append([]byte{byte(code >> 8), byte(code)}, "bye"...)
		_, _ = conn.Write(wsFrame{true, opClose, payload}.encode(false))
		_, _ = readFrame(from)
	case "/drop":
		return
	case "/reset":
		_ = conn.(*net.TCPConn).SetLinger(0)
	case "/raw":
		// No frames: bytes, and a farewell after the other side's end.
		_, _ = io.Copy(conn, from)
		_, _ = io.WriteString(conn, "farewell")
	case "/push":
		for index := range 100 {
			frame := wsFrame{true, opText, []byte(strconv.Itoa(index))}
			if _, err := conn.Write(frame.encode(false)); err != nil {
				return
			}
		}
		_, _ = readFrame(from)
	default:
		wsEcho(conn, from)
	}
}

// wsEcho sends every frame back as it came, pongs pings, and answers a close.
func wsEcho(conn net.Conn, from *bufio.Reader) {
	for {
		frame, err := readFrame(from)
		if err != nil {
			return
		}
		if frame.opcode == opPing {
			frame.opcode = opPong
		}
		if _, err := conn.Write(frame.encode(false)); err != nil || frame.opcode == opClose {
			return
		}
	}
}
