package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
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
	// Unix times in milliseconds, in order: nothing happens, all connect, they flood, all is over.
	QuietMs float64 `json:"quietMs"`
	DialMs  float64 `json:"dialMs"`
	FloodMs float64 `json:"floodMs"`
	EndMs   float64 `json:"endMs"`
}

// frames floods connections until the server cuts them or `count` frames are sent. What other
// clients see meanwhile, `ordinary` tells.
func frames(args []string) error {
	flags := flag.NewFlagSet("frames", flag.ContinueOnError)
	address := flags.String("https", "", "address of TLS")
	name := flags.String("flood", "", "which flood")
	count := flags.Int("count", 10_000, "frames on a connection (streams, where a flood has such)")
	connections := flags.Int("connections", 5, "connections, at once")
	pid := flags.Int("pid", 0, "the server's process, to read its CPU time")
	quiet := flags.Duration("alone", time.Second, "how long it does nothing before that")
	if err := flags.Parse(args); err != nil {
		return err
	}
	flood, found := floods[*name]
	if !found {
		return fmt.Errorf("no flood %q", *name)
	}
	report := floodReport{Flood: *name, Connections: *connections, Ends: map[string]int{}}
	report.QuietMs = unixMs(time.Now())
	before := cpuOf(*pid)
	time.Sleep(*quiet)
	// Ordinary requests cost CPU time too: their share is taken off below.
	ordinary := float64(cpuOf(*pid)-before) / float64(*quiet)
	before = cpuOf(*pid)
	began := time.Now()
	cuts := make([]cut, *connections)
	attacks := make([]*attack, *connections)
	var all sync.WaitGroup
	for index := range attacks {
		all.Go(func() { attacks[index], cuts[index].end = dialFlood(*address, flood) })
	}
	all.Wait()
	flooding := time.Now()
	for index, attack := range attacks {
		if attack != nil {
			all.Go(func() { cuts[index] = attack.run(flood, *count) })
		}
	}
	all.Wait()
	report.DialMs, report.FloodMs = unixMs(began), unixMs(flooding)
	report.EndMs = unixMs(time.Now())
	share := time.Duration(ordinary * float64(time.Since(began)))
	report.CPUMs = max(0, cpuOf(*pid)-before-share).Milliseconds()
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

// attack is a connection that is about to flood.
type attack struct {
	ctx   context.Context
	done  context.CancelFunc
	state floodState
}

// dialFlood connects; without a connection it gives the reason.
func dialFlood(address string, flood flood) (*attack, string) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	conn, err := peer.DialH2(ctx, address, peer.H2Options{Settings: flood.settings})
	if err != nil {
		cancel()
		return nil, "connect: " + unnumbered(err).Error()
	}
	if err := conn.AwaitSettings(ctx); err != nil {
		conn.Close()
		cancel()
		return nil, unnumbered(err).Error()
	}
	return &attack{ctx: ctx, done: cancel, state: floodState{conn: conn}}, ""
}

// run sends the flood in pieces. After each piece an ordinary request on the same connection is
// awaited: frames are taken in order, so its answer says that the piece was read and tolerated.
// What TCP still holds is not counted this way.
func (attack *attack) run(flood flood, count int) cut {
	ctx, state := attack.ctx, &attack.state
	conn := state.conn
	defer attack.done()
	defer conn.Close()
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
