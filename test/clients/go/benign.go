package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"edge.test/clients/peer"
	"golang.org/x/net/http2"
)

// politeReport is the account of clients that a flood limit must never cut.
type politeReport struct {
	Requests int64    `json:"requests"`
	Canceled int64    `json:"canceled"`
	Pings    int64    `json:"pings"`
	Dials    int64    `json:"dials"`
	Failed   []string `json:"failed"`
}

// polite runs two clients beside each other for some seconds. One is Go's own HTTP/2 client, which
// cancels requests, pings when it reads nothing, and opens windows as it reads downloads. The
// other behaves as gRPC does: a PING with every burst of answers (to measure the path), WINDOW_UPDATE
// for every DATA frame, small messages, canceled calls.
func polite(args []string) error {
	flags := flag.NewFlagSet("polite", flag.ContinueOnError)
	address := flags.String("https", "", "address of TLS")
	period := flags.Duration("for", 4*time.Second, "how long")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), *period)
	defer cancel()
	run := &politeRun{ctx: ctx, address: *address, report: politeReport{Failed: []string{}}}
	var all sync.WaitGroup
	all.Go(run.goClient)
	all.Go(run.grpcLike)
	all.Wait()
	return emit(&run.report)
}

type politeRun struct {
	ctx     context.Context
	address string
	mu      sync.Mutex
	report  politeReport
}

func (run *politeRun) fail(who string, err error) {
	run.mu.Lock()
	defer run.mu.Unlock()
	run.report.Failed = append(run.report.Failed, who+": "+unnumbered(err).Error())
}

// goClient: eight workers share one connection of golang.org/x/net/http2.
func (run *politeRun) goClient() {
	transport := &http2.Transport{
		ReadIdleTimeout: 200 * time.Millisecond,
		DialTLSContext: func(ctx context.Context, _, _ string, _ *tls.Config) (net.Conn, error) {
			atomic.AddInt64(&run.report.Dials, 1)
			return peer.DialTLS(ctx, run.address, "h2")
		},
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	// The first request makes the connection that the others share.
	run.goRequest(client, "/mark/first", 0)
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for turn := 0; run.ctx.Err() == nil; turn++ {
				switch {
				case turn%10 == 5:
					pause := time.Duration(rand.IntN(5)) * time.Millisecond
					run.goRequest(client, "/events?count=100&ms=5", pause+time.Millisecond)
				case turn == 3 && worker == 0:
					run.goRequest(client, "/pattern?bytes=33554432", 0)
				default:
					run.goRequest(client, "/mark/x", 0)
				}
				time.Sleep(50 * time.Millisecond)
			}
		})
	}
	all.Wait()
}

// goRequest reads the whole answer, or cancels after some time.
func (run *politeRun) goRequest(client *http.Client, path string, canceled time.Duration) {
	ctx := context.Background()
	if canceled > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, canceled)
		defer cancel()
		atomic.AddInt64(&run.report.Canceled, 1)
	}
	atomic.AddInt64(&run.report.Requests, 1)
	url := "https://" + peer.ServerName + path
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		run.fail("Go", err)
		return
	}
	answer, err := client.Do(request)
	if err == nil {
		_, err = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
		if err == nil && answer.StatusCode != http.StatusOK {
			err = fmt.Errorf("status %d", answer.StatusCode)
		}
	}
	if err != nil && (canceled == 0 || !errors.Is(err, context.DeadlineExceeded)) {
		run.fail("Go", err)
	}
}

// grpcLike: unary calls with small messages on one connection of our own.
func (run *politeRun) grpcLike() {
	conn, err := peer.DialH2(run.ctx, run.address, peer.H2Options{})
	if err != nil {
		run.fail("gRPC-like", err)
		return
	}
	atomic.AddInt64(&run.report.Dials, 1)
	defer conn.Close()
	for turn := 0; run.ctx.Err() == nil; turn++ {
		atomic.AddInt64(&run.report.Requests, 1)
		if turn%4 == 0 {
			atomic.AddInt64(&run.report.Pings, 1)
			_ = conn.Frames(func(framer *http2.Framer) error {
				return framer.WritePing(false, [8]byte{byte(turn)})
			})
		}
		if err := run.call(conn, turn%10 == 5); err != nil {
			run.fail("gRPC-like", err)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (run *politeRun) call(conn *peer.H2, canceled bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	body := []byte(strings.Repeat("message", 20))
	request := &peer.Request{Method: "POST", Authority: peer.ServerName, Path: "/echo"}
	if !canceled {
		_, err := peer.Exchange(ctx, conn, request, body)
		return err
	}
	atomic.AddInt64(&run.report.Canceled, 1)
	request.Length = int64(len(body))
	stream, err := conn.Open(ctx, request)
	if err == nil {
		_, _ = stream.Write(body[:10])
		stream.Abort(uint64(http2.ErrCodeCancel))
	}
	return err
}
