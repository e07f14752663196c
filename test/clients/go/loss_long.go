package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"edge.test/clients/peer"
)

const (
	keepAlive = 200 * time.Millisecond
	probeTime = 3 * time.Second
)

// longRun is what lasts through an update: slow downloads, clients that migrate on purpose, after
// they have proved the new path (RFC 9000 §9.1, as browsers do), and clients behind a NAT that
// rebinds, who learn nothing of it (§9.3).
type longRun struct {
	downloads int
	bytes     int64
	pause     time.Duration
	migrate   time.Duration
	rebind    time.Duration
}

func (long *longRun) flags(flags *flag.FlagSet) {
	flags.IntVar(&long.downloads, "downloads", 0, "downloads at once of each protocol")
	flags.Int64Var(&long.bytes, "download-bytes", 8<<20, "length of a download")
	flags.DurationVar(&long.pause, "download-pause", 150*time.Millisecond, "after each 64 KiB")
	flags.DurationVar(&long.migrate, "migrate", 0, "how often a migrating h3 client does so")
	flags.DurationVar(&long.rebind, "rebind", 0, "how often a NAT gives an h3 client a new port")
}

// duration is how long the backend takes for one download.
func (long *longRun) duration() time.Duration {
	return time.Duration(long.bytes/(64<<10)) * long.pause
}

func (long *longRun) download(ctx context.Context, conn peer.Conn) error {
	request := &peer.Request{
		Method: "GET", Authority: peer.ServerName,
		Path: "/pattern?bytes=" + strconv.FormatInt(long.bytes, 10) +
			"&ms=" + strconv.FormatInt(long.pause.Milliseconds(), 10),
	}
	stream, err := conn.Open(ctx, request)
	if err != nil {
		return unnumbered(err)
	}
	stop := context.AfterFunc(ctx, func() { stream.Abort(0) })
	defer stop()
	head, err := stream.Head()
	if err != nil {
		return unnumbered(err)
	}
	if head.Status != 200 {
		return fmt.Errorf("status %d", head.Status)
	}
	check := &patternCheck{}
	_, err = io.CopyBuffer(check, onlyReader{stream}, make([]byte, 64<<10))
	switch {
	case err != nil && ctx.Err() != nil:
		return errors.New("a download did not end in time")
	case err != nil:
		// How far it came differs: equal failures count together.
		return fmt.Errorf("a download broke: %w", unnumbered(err))
	case check.count != long.bytes:
		return errors.New("a download was too short")
	}
	return nil
}

// dialRebound connects through a relay of its own, whose port changes until the connection ends.
func (long *longRun) dialRebound(
	ctx context.Context, address string, moved *atomic.Int64,
) (peer.Conn, error) {
	relay, err := newRelay(address)
	if err != nil {
		return nil, err
	}
	// A server learns of a new port by what comes from it, and a client that only waits sends
	// nothing: browsers send PINGs, too.
	config := peer.QuicConfig()
	config.KeepAlivePeriod = keepAlive
	options := peer.H3Options{Config: config}
	conn, err := peer.DialH3(ctx, relay.front.LocalAddr().String(), options)
	if err != nil {
		relay.close()
		return nil, err
	}
	go func() {
		defer relay.close()
		every(conn.Quic.Context(), long.rebind, func() {
			if relay.rebind() == nil {
				moved.Add(1)
			}
		})
	}()
	return conn, nil
}

// dialMigrating connects, and then goes to a new socket again and again.
func (long *longRun) dialMigrating(
	ctx context.Context, address string, moved *atomic.Int64,
) (peer.Conn, error) {
	conn, err := peer.DialH3(ctx, address, peer.H3Options{})
	if err != nil {
		return nil, err
	}
	go func() {
		var left []*quic.Transport
		defer func() {
			for _, transport := range left {
				_, _ = transport.Close(), transport.Conn.Close()
			}
		}()
		every(conn.Quic.Context(), long.migrate, func() {
			transport, err := migrate(conn.Quic)
			if err == nil {
				moved.Add(1)
			}
			if transport != nil {
				// What is on its way to the old socket still arrives.
				left = append(left, transport)
			}
		})
	}()
	return conn, nil
}

// migrate moves a connection to a new socket if the server answers there, else leaves it.
func migrate(conn *quic.Conn) (*quic.Transport, error) {
	socket, err := net.ListenUDP("udp", &net.UDPAddr{})
	if err != nil {
		return nil, err
	}
	transport := &quic.Transport{Conn: socket}
	path, err := conn.AddPath(transport)
	if err != nil {
		return transport, err
	}
	ctx, cancel := context.WithTimeout(conn.Context(), probeTime)
	defer cancel()
	if err := path.Probe(ctx); err != nil {
		return transport, errors.Join(err, path.Close())
	}
	return transport, path.Switch()
}

func every(ctx context.Context, period time.Duration, act func()) {
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			act()
		}
	}
}
