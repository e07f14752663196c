package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"time"

	"edge.test/clients/peer"
)

// longRun is what lasts through an update: slow downloads, and clients whose address changes as
// behind a NAT that rebinds (RFC 9000 §9.3).
type longRun struct {
	downloads int
	bytes     int64
	pause     time.Duration
	migrate   time.Duration
}

func (long *longRun) flags(flags *flag.FlagSet) {
	flags.IntVar(&long.downloads, "downloads", 0, "downloads at once of each protocol")
	flags.Int64Var(&long.bytes, "download-bytes", 8<<20, "length of a download")
	flags.DurationVar(&long.pause, "download-pause", 150*time.Millisecond, "after each 64 KiB")
	flags.DurationVar(&long.migrate, "migrate", 0, "how often a moving h3 client gets a new port")
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

// dialMoving connects through a relay of its own, whose port changes until the connection ends.
func (long *longRun) dialMoving(ctx context.Context, address string) (peer.Conn, error) {
	relay, err := newRelay(address)
	if err != nil {
		return nil, err
	}
	conn, err := peer.DialH3(ctx, relay.front.LocalAddr().String(), peer.H3Options{})
	if err != nil {
		relay.close()
		return nil, err
	}
	go func() {
		defer relay.close()
		ticker := time.NewTicker(long.migrate)
		defer ticker.Stop()
		for {
			select {
			case <-conn.Quic.Context().Done():
				return
			case <-ticker.C:
				_ = relay.rebind()
			}
		}
	}()
	return conn, nil
}
