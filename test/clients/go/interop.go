package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"edge.test/clients/peer"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/qlog"
	"github.com/quic-go/quic-go/qlogwriter"
)

// interop runs the QUIC cases with quic-go's stack against the edge. With -retry the edge must
// validate every address by Retry first; without, it must not.
func interop(args []string) error {
	run := &interopRun{}
	flags := flag.NewFlagSet("interop", flag.ContinueOnError)
	flags.StringVar(&run.address, "https", "", "address of QUIC")
	flags.BoolVar(&run.retry, "retry", false, "expect Retry")
	if err := flags.Parse(args); err != nil {
		return err
	}
	report := tunnelReport{Protocol: "quic-go"}
	for _, one := range interopCases {
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		err := bounded(ctx, func() error { return one.play(ctx, run) })
		cancel()
		found := tunnelCase{Name: one.name}
		if err != nil {
			found.Error = unnumbered(err).Error()
		}
		report.Cases = append(report.Cases, found)
	}
	return emit(report)
}

type interopRun struct {
	address string
	retry   bool
}

var interopCases = []struct {
	name string
	play func(ctx context.Context, run *interopRun) error
}{
	{"handshake and requests", handshakeCase},
	{"resumption", resumptionCase},
	{"0-RTT is not offered", earlyCase},
	{"key update", keyUpdateCase},
	{"migration to another port", migrationCase},
	{"a NAT that rebinds", rebindCase},
	{"a close is told", closeCase},
}

// trace counts what the cases ask about.
type trace struct {
	retries, localUpdates, newPhase atomic.Int64
}

func (trace *trace) AddProducer() qlogwriter.Recorder { return trace }

// SupportsSchemas: all events are welcome, none is written.
func (*trace) SupportsSchemas(string) bool { return true }

// Close ends nothing.
func (*trace) Close() error { return nil }

// RecordEvent counts Retry packets, key updates of ours, and packets in another key phase.
func (trace *trace) RecordEvent(event qlogwriter.Event) {
	switch event := event.(type) {
	case qlog.PacketReceived:
		if event.Header.PacketType == qlog.PacketTypeRetry {
			trace.retries.Add(1)
		}
		if event.Header.KeyPhaseBit.String() == "1" {
			trace.newPhase.Add(1)
		}
	case qlog.KeyUpdated:
		if event.Trigger == qlog.KeyUpdateLocal {
			trace.localUpdates.Add(1)
		}
	}
}

func (run *interopRun) dial(ctx context.Context, options peer.H3Options) (*peer.H3, *trace, error) {
	seen := &trace{}
	options.Config = peer.QuicConfig()
	options.Config.Tracer = func(context.Context, bool, quic.ConnectionID) qlogwriter.Trace {
		return seen
	}
	conn, err := peer.DialH3(ctx, run.address, options)
	return conn, seen, err
}

// ask sends one small request, which may take three seconds.
func ask(ctx context.Context, conn peer.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	request := &peer.Request{Method: "GET", Authority: peer.ServerName, Path: "/mark/quic"}
	answer, err := peer.Exchange(ctx, conn, request, nil)
	if err != nil {
		return err
	}
	if answer.Status != 200 || string(answer.Body) != "quic\n" {
		return fmt.Errorf("status %d, %q", answer.Status, answer.Body)
	}
	return nil
}

func handshakeCase(ctx context.Context, run *interopRun) error {
	conn, seen, err := run.dial(ctx, peer.H3Options{})
	if err != nil {
		return err
	}
	defer conn.Close()
	for range 20 {
		if err := ask(ctx, conn); err != nil {
			return err
		}
	}
	if got := seen.retries.Load(); (got == 1) != run.retry {
		return fmt.Errorf("%d Retry packets", got)
	}
	return nil
}

// tickets is a session cache that says when a ticket has come.
type tickets struct {
	tls.ClientSessionCache
	come chan struct{}
	once sync.Once
}

func newTickets() *tickets {
	return &tickets{
		ClientSessionCache: tls.NewLRUClientSessionCache(10), come: make(chan struct{}),
	}
}

// Put keeps a ticket.
func (cache *tickets) Put(key string, session *tls.ClientSessionState) {
	cache.ClientSessionCache.Put(key, session)
	if session != nil {
		cache.once.Do(func() { close(cache.come) })
	}
}

// resumable makes a connection and waits for its ticket.
func (run *interopRun) resumable(ctx context.Context) (*tls.Config, error) {
	cache := newTickets()
	config := peer.TLSConfig("h3")
	config.ClientSessionCache = cache
	conn, _, err := run.dial(ctx, peer.H3Options{TLS: config})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := ask(ctx, conn); err != nil {
		return nil, err
	}
	select {
	case <-cache.come:
		return config, nil
	case <-ctx.Done():
		return nil, errors.New("no session ticket")
	}
}

// resumptionCase resumes several times, so that other threads of the edge see the ticket as well.
func resumptionCase(ctx context.Context, run *interopRun) error {
	config, err := run.resumable(ctx)
	if err != nil {
		return err
	}
	for turn := range 8 {
		conn, _, err := run.dial(ctx, peer.H3Options{TLS: config})
		if err != nil {
			return err
		}
		err = ask(ctx, conn)
		resumed := conn.Quic.ConnectionState().TLS.DidResume
		conn.Close()
		if err != nil {
			return err
		}
		if !resumed {
			return fmt.Errorf("connection %d is not resumed", turn)
		}
	}
	return nil
}

func earlyCase(ctx context.Context, run *interopRun) error {
	config, err := run.resumable(ctx)
	if err != nil {
		return err
	}
	conn, _, err := run.dial(ctx, peer.H3Options{TLS: config, Early: true})
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := ask(ctx, conn); err != nil {
		return err
	}
	if conn.Quic.ConnectionState().Used0RTT {
		return errors.New("0-RTT was accepted")
	}
	return nil
}

// keyUpdateCase: quic-go updates its keys after the first hundred packets.
func keyUpdateCase(ctx context.Context, run *interopRun) error {
	conn, seen, err := run.dial(ctx, peer.H3Options{})
	if err != nil {
		return err
	}
	defer conn.Close()
	report := &transferReport{}
	if err := download(ctx, conn, report, 4<<20); err != nil {
		return err
	}
	if err := ask(ctx, conn); err != nil {
		return err
	}
	if report.Bytes != 4<<20 || seen.localUpdates.Load() == 0 || seen.newPhase.Load() == 0 {
		return fmt.Errorf("%d bytes, %d updates, %d packets with new keys",
			report.Bytes, seen.localUpdates.Load(), seen.newPhase.Load())
	}
	return nil
}

// migrationCase moves a connection to another socket in the middle of a download.
func migrationCase(ctx context.Context, run *interopRun) error {
	conn, _, err := run.dial(ctx, peer.H3Options{})
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := ask(ctx, conn); err != nil {
		return err
	}
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	transport := &quic.Transport{Conn: socket}
	defer func() { _, _ = transport.Close(), socket.Close() }()
	path, err := conn.Quic.AddPath(transport)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	report := &transferReport{}
	go func() { done <- download(ctx, conn, report, 16<<20) }()
	if err := path.Probe(ctx); err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	if err := path.Switch(); err != nil {
		return fmt.Errorf("switch: %w", err)
	}
	if err := <-done; err != nil || report.Bytes != 16<<20 {
		return fmt.Errorf("%d bytes: %w", report.Bytes, err)
	}
	if conn.Quic.LocalAddr().String() != socket.LocalAddr().String() {
		return errors.New("still on the old socket")
	}
	for range 20 {
		if err := ask(ctx, conn); err != nil {
			return err
		}
	}
	return nil
}

// rebindCase puts a relay in between, whose port towards the edge changes without the client's
// knowledge (RFC 9000 §9.3.3).
func rebindCase(ctx context.Context, run *interopRun) error {
	relay, err := newRelay(run.address)
	if err != nil {
		return err
	}
	defer relay.close()
	through := &interopRun{address: relay.front.LocalAddr().String()}
	conn, _, err := through.dial(ctx, peer.H3Options{})
	if err != nil {
		return err
	}
	defer conn.Close()
	for turn := range 5 {
		if err := ask(ctx, conn); err != nil {
			return fmt.Errorf("after %d rebindings: %w", turn, err)
		}
		if err := relay.rebind(); err != nil {
			return err
		}
	}
	report := &transferReport{}
	if err := download(ctx, conn, report, 1<<20); err != nil || report.Bytes != 1<<20 {
		return fmt.Errorf("%d bytes: %w", report.Bytes, err)
	}
	return nil
}

// closeCase: the edge answers a stream that breaks the rules with a code of HTTP/3, not with silence.
func closeCase(ctx context.Context, run *interopRun) error {
	conn, _, err := run.dial(ctx, peer.H3Options{})
	if err != nil {
		return err
	}
	defer conn.Close()
	stream, err := conn.Quic.OpenStreamSync(ctx)
	if err != nil {
		return err
	}
	// DATA before HEADERS is H3_FRAME_UNEXPECTED (RFC 9114 §4.1).
	if _, err := stream.Write([]byte{0, 1, 'x'}); err != nil {
		return err
	}
	select {
	case <-conn.Quic.Context().Done():
	case <-ctx.Done():
		return errors.New("tolerated")
	}
	var closed *quic.ApplicationError
	cause := context.Cause(conn.Quic.Context())
	if !errors.As(cause, &closed) || closed.ErrorCode != 0x105 {
		return fmt.Errorf("not H3_FRAME_UNEXPECTED: %w", cause)
	}
	return nil
}
