package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"sync"
	"time"

	"edge.test/clients/peer"
	"golang.org/x/net/http2"
)

// floodReport is what `frames` prints.
type floodReport struct {
	Flood       string `json:"flood"`
	Connections int    `json:"connections"`
	// Cut counts connections that the server ended; the frames are those before that.
	Cut       int            `json:"cut"`
	FramesMin int            `json:"framesMin"`
	FramesMax int            `json:"framesMax"`
	Ends      map[string]int `json:"ends"`
	CPUMs     int64          `json:"cpuMs"`
	Alone     benignReport   `json:"alone"`
	Beside    benignReport   `json:"beside"`
}

// benignReport is the account of the ordinary requests.
type benignReport struct {
	Requests int      `json:"requests"`
	Failed   []string `json:"failed"`
	P99Ms    float64  `json:"p99Ms"`
}

// frames floods connections until the server cuts them or `count` frames are sent, with ordinary
// requests on connections of their own beside it.
func frames(args []string) error {
	flags := flag.NewFlagSet("frames", flag.ContinueOnError)
	address := flags.String("https", "", "address of TLS")
	name := flags.String("flood", "", "which flood")
	count := flags.Int("count", 10_000, "frames on a connection (streams, where a flood has such)")
	connections := flags.Int("connections", 5, "connections, at once")
	pid := flags.Int("pid", 0, "the server's process, to read its CPU time")
	quiet := flags.Duration("alone", time.Second, "how long the ordinary requests run alone")
	if err := flags.Parse(args); err != nil {
		return err
	}
	flood, found := floods[*name]
	if !found {
		return fmt.Errorf("no flood %q", *name)
	}
	report := floodReport{Flood: *name, Connections: *connections, Ends: map[string]int{}}
	alone := startBenign(*address)
	before := cpuOf(*pid)
	time.Sleep(*quiet)
	// The ordinary requests cost CPU time too: their share is taken off below.
	ordinary := float64(cpuOf(*pid)-before) / float64(*quiet)
	report.Alone = alone.stop()
	beside := startBenign(*address)
	before = cpuOf(*pid)
	began := time.Now()
	cuts := make([]cut, *connections)
	var all sync.WaitGroup
	for index := range cuts {
		all.Go(func() { cuts[index] = attack(*address, flood, *count) })
	}
	all.Wait()
	share := time.Duration(ordinary * float64(time.Since(began)))
	report.CPUMs = max(0, cpuOf(*pid)-before-share).Milliseconds()
	if rest := *quiet - time.Since(began); rest > 0 {
		time.Sleep(rest)
	}
	report.Beside = beside.stop()
	report.FramesMin = math.MaxInt
	for _, cut := range cuts {
		if cut.cut {
			report.Cut++
		}
		report.Ends[cut.end]++
		report.FramesMin = min(report.FramesMin, cut.frames)
		report.FramesMax = max(report.FramesMax, cut.frames)
	}
	return emit(report)
}

// cut is how one attacked connection ended.
type cut struct {
	frames int
	cut    bool
	end    string
}

// attack sends the flood in pieces. After each piece an ordinary request on the same connection is
// awaited: frames are taken in order, so its answer says that the piece was read and tolerated.
// What TCP still holds is not counted this way.
func attack(address string, flood flood, count int) cut {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := peer.DialH2(ctx, address, peer.H2Options{Settings: flood.settings})
	if err != nil {
		return cut{end: "connect: " + unnumbered(err).Error()}
	}
	defer conn.Close()
	if err := conn.AwaitSettings(ctx); err != nil {
		return cut{end: unnumbered(err).Error()}
	}
	state := &floodState{conn: conn}
	if flood.prepare != nil {
		_ = conn.Frames(func(framer *http2.Framer) error { return flood.prepare(framer, state) })
	}
	sent := 0
	for sent < count && conn.Usable() {
		piece := min(flood.piece, count-sent)
		err := conn.Frames(func(framer *http2.Framer) error {
			for range piece {
				if err := flood.send(framer, state); err != nil {
					return err
				}
			}
			return nil
		})
		sent += piece
		if err != nil || !tolerated(ctx, conn, flood) {
			break
		}
	}
	// A GOAWAY or an end of the socket may still be on its way.
	deadline := time.Now().Add(2 * time.Second)
	for time.Now().Before(deadline) && conn.State().Ended == nil && sent < count {
		time.Sleep(5 * time.Millisecond)
	}
	return judge(conn.State(), sent)
}

// tolerated waits until the server has read what was sent; false: it ended the connection.
func tolerated(ctx context.Context, conn *peer.H2, flood flood) bool {
	if flood.blind {
		// Inside of a header block no other frame may come.
		time.Sleep(3 * time.Millisecond)
		return conn.Usable()
	}
	limited, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request := &peer.Request{Method: "GET", Authority: peer.ServerName, Path: "/_gwhealthz"}
	_, err := peer.Exchange(limited, conn, request, nil)
	var reset peer.Reset
	if errors.Is(err, peer.ErrRefused) || errors.As(err, &reset) {
		return conn.Usable() // the stream was refused, the connection lives
	}
	return err == nil
}

func judge(state peer.State, sent int) cut {
	switch {
	case state.GoAway:
		return cut{sent, true, "GOAWAY " + state.GoAwayCode.String()}
	case state.Ended == nil:
		return cut{sent, false, "alive"}
	case errors.Is(state.Ended, io.EOF), errors.Is(state.Ended, net.ErrClosed):
		return cut{sent, true, "closed"}
	}
	return cut{sent, true, unnumbered(state.Ended).Error()}
}

// benign sends ordinary requests on two connections, about 200 a second.
type benign struct {
	ctx    context.Context
	cancel context.CancelFunc
	all    sync.WaitGroup
	mu     sync.Mutex
	took   []time.Duration
	failed []string
}

func startBenign(address string) *benign {
	ctx, cancel := context.WithCancel(context.Background())
	benign := &benign{ctx: ctx, cancel: cancel, failed: []string{}}
	run := &lossRun{secure: address, timeout: 10 * time.Second}
	for range 2 {
		slot := &lossSlot{run: run, protocol: "h2", count: &lossCount{Failed: map[string]int64{}}}
		benign.all.Go(func() { benign.work(slot) })
	}
	return benign
}

func (benign *benign) work(slot *lossSlot) {
	// Numbers that are no multiples of three: GET only.
	for number := int64(1); benign.ctx.Err() == nil; number += 3 {
		limited, cancel := context.WithTimeout(context.Background(), slot.run.timeout)
		began := time.Now()
		err := slot.request(limited, number)
		took := time.Since(began)
		cancel()
		benign.mu.Lock()
		benign.took = append(benign.took, took)
		if err != nil {
			benign.failed = append(benign.failed, err.Error())
		}
		benign.mu.Unlock()
		time.Sleep(10 * time.Millisecond)
	}
	if slot.conn != nil {
		slot.conn.Close()
	}
}

func (benign *benign) stop() benignReport {
	benign.cancel()
	benign.all.Wait()
	report := benignReport{Requests: len(benign.took), Failed: benign.failed}
	if len(benign.took) > 0 {
		slices.Sort(benign.took)
		at := benign.took[len(benign.took)*99/100]
		report.P99Ms = float64(at.Microseconds()) / 1000
	}
	return report
}
