package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"edge.test/clients/peer"
)

// tunnelReport is the account of all cases on one protocol.
type tunnelReport struct {
	Protocol string       `json:"protocol"`
	Cases    []tunnelCase `json:"cases"`
}

type tunnelCase struct {
	Name  string `json:"name"`
	Error string `json:"error"`
}

// tunnelRun is one case on one protocol.
type tunnelRun struct {
	protocol, secure, clear string
	extra                   []peer.Field
}

func (run *tunnelRun) h1() bool { return strings.HasPrefix(run.protocol, "h1") }

func (run *tunnelRun) address() string {
	if run.protocol == "h1" {
		return run.clear
	}
	return run.secure
}

func (run *tunnelRun) fields() []peer.Field {
	return append([]peer.Field{{Name: "origin", Value: "https://localhost"}}, run.extra...)
}

// tunnel runs every WebSocket case over one protocol against the edge before `websocket-backend`.
func tunnel(args []string) error {
	run := tunnelRun{}
	flags := flag.NewFlagSet("tunnel", flag.ContinueOnError)
	flags.StringVar(&run.protocol, "protocol", "h1", "h1, h1s, h2 or h3")
	flags.StringVar(&run.secure, "https", "", "address of TLS and QUIC")
	flags.StringVar(&run.clear, "http", "", "address in clear")
	if err := flags.Parse(args); err != nil {
		return err
	}
	report := tunnelReport{Protocol: run.protocol, Cases: make([]tunnelCase, len(tunnelCases))}
	var all sync.WaitGroup
	for index, one := range tunnelCases {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			own := run
			report.Cases[index] = tunnelCase{Name: one.name}
			if err := bounded(ctx, func() error { return one.play(ctx, &own) }); err != nil {
				report.Cases[index].Error = unnumbered(err).Error()
			}
		})
	}
	all.Wait()
	return emit(report)
}

// bounded gives up on a case that hangs.
func bounded(ctx context.Context, play func() error) error {
	done := make(chan error, 1)
	go func() { done <- play() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return errors.New("hangs")
	}
}

type tunnelPlay func(ctx context.Context, run *tunnelRun) error

// tunnelCases: what passes whole, what closes how, and what must not open.
var tunnelCases = []struct {
	name string
	play tunnelPlay
}{
	{"text", echoes(text("hello"))},
	{"binary", echoes(wsFrame{true, opBinary, []byte{0, 1, 2, 254, 255}})},
	{"empty message", echoes(text(""))},
	{"125 bytes", echoes(text(strings.Repeat("a", 125)))},
	{"126 bytes", echoes(text(strings.Repeat("b", 126)))},
	{"65,535 bytes", echoes(text(strings.Repeat("c", 65_535)))},
	{"65,536 bytes", echoes(text(strings.Repeat("d", 65_536)))},
	{"1 MiB", echoes(wsFrame{true, opBinary, []byte(strings.Repeat("e", 1<<20))})},
	{"fragments", echoes(
		wsFrame{false, opText, []byte("one ")}, wsFrame{false, opContinuation, []byte("two ")},
		wsFrame{true, opContinuation, []byte("three")})},
	{"a hundred messages", echoes(manyFrames(100)...)},
	{"ping", answers(wsFrame{true, opPing, []byte("p")}, wsFrame{true, opPong, []byte("p")})},
	{"close by the client", closes(1000)},
	{"close with a private code", closes(4001)},
	{"close by the backend", closedWith(1000)},
	{"close 1011 by the backend", closedWith(1011)},
	{"the backend drops it", dropped("/drop")},
	{"the backend resets it", dropped("/reset")},
	{"bytes, then half-close", halfClose},
	{"messages pushed at once", pushed},
	{"a message in one packet with the 101", greeted},
	{"early bytes wait for the 101", early("/late")},
	{"subprotocol", subprotocol},
	{"slow byte by byte", byteByByte},
	{"wrong Accept", refused("/wrong-accept", 502)},
	{"no Accept", refused("/no-accept", 502)},
	{"two Accepts", refused("/two-accepts", 502)},
	{"101 without Upgrade", refused("/no-upgrade", 502)},
	{"101 for another protocol", refused("/other-upgrade", 502)},
	{"101 without Connection", refused("/no-connection", 502)},
	{"200 instead", notUpgraded},
	{"403 instead", refused("/forbidden", 403)},
	{"500 instead", refused("/failed", 500)},
	{"302 instead", refused("/moved", 302)},
	{"426 instead", refused("/upgrade-required", 426)},
	{"garbage instead", refused("/garbage", 502)},
	{"nothing instead", refused("/silence", 502)},
}

func text(payload string) wsFrame { return wsFrame{true, opText, []byte(payload)} }

func manyFrames(count int) []wsFrame {
	frames := make([]wsFrame, count)
	for index := range frames {
		frames[index] = text(fmt.Sprint("message ", index))
	}
	return frames
}

// echoes sends frames and expects the same ones back.
func echoes(frames ...wsFrame) tunnelPlay {
	return func(ctx context.Context, run *tunnelRun) error {
		ws, err := openWebSocket(ctx, run, "/echo", nil)
		defer ws.close()
		if err != nil {
			return err
		}
		sent := make(chan error, 1)
		go func() { sent <- ws.send(frames...) }()
		for _, frame := range frames {
			if err := ws.expect(frame); err != nil {
				return err
			}
		}
		return <-sent
	}
}

func answers(question, answer wsFrame) tunnelPlay {
	return func(ctx context.Context, run *tunnelRun) error {
		ws, err := openWebSocket(ctx, run, "/echo", nil)
		defer ws.close()
		if err == nil {
			err = ws.send(question)
		}
		if err != nil {
			return err
		}
		return ws.expect(answer)
	}
}

func closeFrame(code int, reason string) wsFrame {
	return wsFrame{true, opClose, append([]byte{byte(code >> 8), byte(code)}, reason...)}
}

func closes(code int) tunnelPlay {
	return func(ctx context.Context, run *tunnelRun) error {
		frame := closeFrame(code, "done")
		ws, err := openWebSocket(ctx, run, "/echo", nil)
		defer ws.close()
		if err == nil {
			err = ws.send(frame)
		}
		if err == nil {
			err = ws.expect(frame)
		}
		if err != nil {
			return err
		}
		return ws.ended()
	}
}

func closedWith(code int) tunnelPlay {
	return func(ctx context.Context, run *tunnelRun) error {
		frame := closeFrame(code, "bye")
		ws, err := openWebSocket(ctx, run, fmt.Sprint("/close?code=", code), nil)
		defer ws.close()
		if err == nil {
			err = ws.expect(frame)
		}
		if err == nil {
			err = ws.send(frame)
		}
		if err != nil {
			return err
		}
		return ws.ended()
	}
}

func dropped(path string) tunnelPlay {
	return func(ctx context.Context, run *tunnelRun) error {
		ws, err := openWebSocket(ctx, run, path, nil)
		defer ws.close()
		if err != nil && path == "/drop" {
			return err
		}
		if err != nil {
			return nil // a reset may overtake the head
		}
		return ws.ended()
	}
}

// halfClose: the client's end reaches the backend, and what it says after that reaches the client.
func halfClose(ctx context.Context, run *tunnelRun) error {
	ws, err := openWebSocket(ctx, run, "/raw", nil)
	defer ws.close()
	if err != nil {
		return err
	}
	if _, err := io.WriteString(ws.stream, "any bytes"); err != nil {
		return err
	}
	if err := ws.stream.CloseWrite(); err != nil {
		return err
	}
	got, err := io.ReadAll(ws.from)
	if err == nil && string(got) != "any bytesfarewell" {
		err = fmt.Errorf("%q", got)
	}
	return err
}

func pushed(ctx context.Context, run *tunnelRun) error {
	ws, err := openWebSocket(ctx, run, "/push", nil)
	defer ws.close()
	for index := 0; err == nil && index < 100; index++ {
		err = ws.expect(text(fmt.Sprint(index)))
	}
	return err
}

func greeted(ctx context.Context, run *tunnelRun) error {
	ws, err := openWebSocket(ctx, run, "/greet", nil)
	defer ws.close()
	if err == nil {
		err = ws.expect(text("welcome"))
	}
	return err
}

// early sends a message with the head; the backend prints how much came before its 101.
func early(path string) tunnelPlay {
	return func(ctx context.Context, run *tunnelRun) error {
		ws, err := openWebSocket(ctx, run, path, text("early").encode(true))
		defer ws.close()
		if err == nil {
			err = ws.expect(text("early"))
		}
		return err
	}
}

func subprotocol(ctx context.Context, run *tunnelRun) error {
	run.extra = []peer.Field{{Name: "sec-websocket-protocol", Value: "chat, superchat"}}
	ws, err := openWebSocket(ctx, run, "/echo", nil)
	defer ws.close()
	if err == nil && ws.head.Get("sec-websocket-protocol") != "chat" {
		err = fmt.Errorf("subprotocol %q", ws.head.Get("sec-websocket-protocol"))
	}
	return err
}

func byteByByte(ctx context.Context, run *tunnelRun) error {
	ws, err := openWebSocket(ctx, run, "/echo", nil)
	defer ws.close()
	if err != nil {
		return err
	}
	for _, octet := range text("slow").encode(true) {
		if _, err := ws.stream.Write([]byte{octet}); err != nil {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
	return ws.expect(text("slow"))
}

// refused: the answer is no opening, with this status, although the client was early.
func refused(path string, status int) tunnelPlay {
	return func(ctx context.Context, run *tunnelRun) error {
		ws, err := openWebSocket(ctx, run, path, text("early").encode(true))
		defer ws.close()
		if !errors.Is(err, errNotOpened) {
			return fmt.Errorf("not refused: %w", errors.Join(err, errors.New("opened")))
		}
		if ws.head.Status != status {
			return fmt.Errorf("status %d, not %d", ws.head.Status, status)
		}
		return nil
	}
}

// notUpgraded: a 200 of the backend is an ordinary answer on h1. On h2 and h3 it must not look
// like an opened tunnel (RFC 8441 §4: a 2xx is one).
func notUpgraded(ctx context.Context, run *tunnelRun) error {
	ws, err := openWebSocket(ctx, run, "/ok", nil)
	defer ws.close()
	if !errors.Is(err, errNotOpened) {
		return fmt.Errorf("not refused: %w", errors.Join(err, errors.New("opened")))
	}
	if run.h1() && ws.head.Status != 200 || !run.h1() && ws.head.Status < 400 {
		return fmt.Errorf("status %d", ws.head.Status)
	}
	return nil
}
