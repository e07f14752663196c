package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"edge.test/clients/peer"
)

// lossRun is what `loss` is asked to do.
//
// The rule of the count: a request is started when its turn comes, and succeeded when its whole
// response was read, with status 200 and the body that belongs to it. It is sent again only if the
// server said that it did not process it (peer.ErrRefused). Nothing else is sent again: a
// connection that closes under a request, a reset, an error status and a connection that cannot be
// made are failures of the request (unless -reconnect allows the last for some time, for drains
// where no successor listens yet). A connection that the server closed or announced to close, by
// GOAWAY or "Connection: close", before anything of a request was sent, takes no request.
type lossRun struct {
	protocols   []string
	secure      string
	clear       string
	connections int
	parallel    int
	requests    int64
	reconnect   time.Duration
	pause       time.Duration
	timeout     time.Duration
	long        longRun
}

// lossCount is the account of one protocol.
type lossCount struct {
	Started     int64            `json:"started"`
	Succeeded   int64            `json:"succeeded"`
	Failed      map[string]int64 `json:"failed"`
	Refused     int64            `json:"refused"`
	Connections int64            `json:"connections"`
	SlowestMs   int64            `json:"slowestMs"`
	// GapMs is the longest time in which a slot had nothing but failures.
	GapMs int64 `json:"gapMs"`
	// Moves are new addresses that clients went to, or were given.
	Moves int64 `json:"moves"`

	moves atomic.Int64

	mu sync.Mutex
}

func (slot *lossSlot) add(err error, took time.Duration) {
	count := slot.count
	count.mu.Lock()
	defer count.mu.Unlock()
	count.SlowestMs = max(count.SlowestMs, took.Milliseconds())
	if err == nil {
		count.Succeeded++
		slot.failing = time.Time{}
		return
	}
	count.Failed[err.Error()]++
	if slot.failing.IsZero() {
		slot.failing = time.Now().Add(-took)
	}
	count.GapMs = max(count.GapMs, time.Since(slot.failing).Milliseconds())
}

func loss(args []string) error {
	run := lossRun{}
	flags := flag.NewFlagSet("loss", flag.ContinueOnError)
	protocols := flags.String("protocols", "h1,h1s,h2,h3", "which protocols")
	flags.StringVar(&run.secure, "https", "", "addresses of TLS and QUIC, one after the other")
	flags.StringVar(&run.clear, "http", "", "addresses in clear")
	flags.IntVar(&run.connections, "connections", 3, "connections of each protocol")
	flags.IntVar(&run.parallel, "parallel", 4, "requests at once on a connection of h2 and h3")
	flags.Int64Var(&run.requests, "requests", 0, "requests of each protocol; 0: until told")
	flags.DurationVar(&run.reconnect, "reconnect", 0, "how long to try to connect")
	flags.DurationVar(&run.pause, "pause", 0, "pause after each request")
	flags.DurationVar(&run.timeout, "timeout", 20*time.Second, "for one request")
	run.long.flags(flags)
	if err := flags.Parse(args); err != nil {
		return err
	}
	run.protocols = strings.Split(*protocols, ",")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if run.requests == 0 {
		// A line, or the end of the driver, ends the load.
		go func() {
			_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
			stop()
		}()
	}
	counts := map[string]*lossCount{}
	var all sync.WaitGroup
	start := func(name string, connections, workers int, slot *lossSlot) {
		count := &lossCount{Failed: map[string]int64{}}
		counts[name] = count
		slot.run, slot.count, slot.left = &run, count, &atomic.Int64{}
		slot.left.Store(run.requests)
		for number := range connections {
			slot := slot.another(number)
			for range workers {
				all.Go(func() { slot.work(ctx) })
			}
		}
	}
	for _, protocol := range run.protocols {
		workers := run.parallel
		if strings.HasPrefix(protocol, "h1") {
			workers = 1
		}
		start(protocol, run.connections, workers, &lossSlot{protocol: protocol})
		if run.long.downloads > 0 {
			start(protocol+" downloads", run.long.downloads, 1, &lossSlot{protocol: protocol, long: true})
		}
	}
	for name, period := range map[string]time.Duration{
		"h3 migrating": run.long.migrate, "h3 rebound": run.long.rebind,
	} {
		if period == 0 {
			continue
		}
		start(name, run.connections, run.parallel, &lossSlot{protocol: "h3", moves: name})
		if run.long.downloads > 0 {
			slot := &lossSlot{protocol: "h3", moves: name, long: true}
			start(name+" downloads", run.long.downloads, 1, slot)
		}
	}
	all.Wait()
	for _, count := range counts {
		count.Moves = count.moves.Load()
	}
	return emit(counts)
}

// lossSlot is one place for a connection, which several workers share.
type lossSlot struct {
	run      *lossRun
	protocol string
	// Whether it downloads for long, and how its address changes.
	long  bool
	moves string
	// Which of the addresses is its own.
	number int
	count  *lossCount
	left   *atomic.Int64
	// Since when all failed; guarded by the count.
	failing time.Time

	mu   sync.Mutex
	conn peer.Conn
}

func (slot *lossSlot) another(number int) *lossSlot {
	return &lossSlot{
		run: slot.run, protocol: slot.protocol, long: slot.long, moves: slot.moves,
		count: slot.count, left: slot.left, number: number,
	}
}

func (slot *lossSlot) work(ctx context.Context) {
	for ctx.Err() == nil {
		if slot.run.requests > 0 && slot.left.Add(-1) < 0 {
			return
		}
		number := atomic.AddInt64(&slot.count.Started, 1)
		began := time.Now()
		// Told to stop, what runs is still finished: the time limit is the request's own.
		limit := slot.run.timeout
		if slot.long {
			limit += slot.run.long.duration()
		}
		limited, cancel := context.WithTimeout(context.Background(), limit)
		err := slot.request(limited, number)
		cancel()
		slot.add(err, time.Since(began))
		if slot.run.pause > 0 {
			time.Sleep(slot.run.pause)
		}
	}
}

// request sends one request until the server processed it.
func (slot *lossSlot) request(ctx context.Context, number int64) error {
	for {
		conn, err := slot.connection(ctx)
		if err != nil {
			return err
		}
		err = slot.exchange(ctx, conn, number)
		switch {
		case errors.Is(err, peer.ErrClosing):
			slot.replace(conn)
		case errors.Is(err, peer.ErrRefused):
			atomic.AddInt64(&slot.count.Refused, 1)
		default:
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// connection gives the slot's connection, or a new one in its place.
func (slot *lossSlot) connection(ctx context.Context) (peer.Conn, error) {
	slot.mu.Lock()
	defer slot.mu.Unlock()
	if slot.conn != nil && slot.conn.Usable() {
		return slot.conn, nil
	}
	address := slot.run.secure
	if slot.protocol == "h1" {
		address = slot.run.clear
	}
	addresses := strings.Split(address, ",")
	address = addresses[slot.number%len(addresses)]
	deadline := time.Now().Add(slot.run.reconnect)
	for {
		conn, err := slot.dial(ctx, address)
		if err == nil {
			atomic.AddInt64(&slot.count.Connections, 1)
			slot.conn = conn
			return conn, nil
		}
		if !time.Now().Before(deadline) {
			return nil, fmt.Errorf("connect: %w", unnumbered(err))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (slot *lossSlot) dial(ctx context.Context, address string) (peer.Conn, error) {
	switch slot.moves {
	case "h3 migrating":
		return slot.run.long.dialMigrating(ctx, address, &slot.count.moves)
	case "h3 rebound":
		return slot.run.long.dialRebound(ctx, address, &slot.count.moves)
	}
	return peer.Dial(ctx, slot.protocol, address)
}

func (slot *lossSlot) replace(conn peer.Conn) {
	slot.mu.Lock()
	defer slot.mu.Unlock()
	if slot.conn == conn {
		slot.conn = nil
	}
}

// exchange makes every third request a PUT, and compares what comes back.
func (slot *lossSlot) exchange(ctx context.Context, conn peer.Conn, number int64) error {
	if slot.long {
		return slot.run.long.download(ctx, conn)
	}
	mark := slot.protocol + "-" + strconv.FormatInt(number, 10)
	request := &peer.Request{Method: "GET", Authority: peer.ServerName, Path: "/mark/" + mark}
	want := []byte(mark + "\n")
	var body []byte
	if number%3 == 0 {
		body = bytes.Repeat(want, 100)
		request.Method, request.Path, want = "PUT", "/echo", body
		request.Fields = []peer.Field{{Name: "content-type", Value: "text/plain"}}
	}
	answer, err := peer.Exchange(ctx, conn, request, body)
	switch {
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("no answer in time: %w", unnumbered(err))
	case err != nil:
		return unnumbered(err)
	case answer.Status != 200:
		return fmt.Errorf("status %d", answer.Status)
	case !bytes.Equal(answer.Body, want):
		return fmt.Errorf("a body of %d bytes, not %d", len(answer.Body), len(want))
	}
	return nil
}

// unnumbered drops the ports from an error of a socket, so that equal failures count together.
func unnumbered(err error) error {
	if errors.Is(err, peer.ErrClosing) || errors.Is(err, peer.ErrRefused) {
		return err
	}
	text := err.Error()
	if _, rest, found := strings.Cut(text, "->"); found {
		if _, reason, found := strings.Cut(rest, ": "); found {
			return errors.New(reason)
		}
	}
	return err
}
