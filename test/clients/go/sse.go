package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"

	"edge.test/clients/peer"
)

// sseReport says when Server-Sent Events arrived, in milliseconds.
type sseReport struct {
	Protocol string `json:"protocol"`
	Events   int    `json:"events"`
	// DelayMaxMs is the longest time from the backend's write to the client's read.
	DelayMaxMs float64 `json:"delayMaxMs"`
	// Together counts events that arrived within a quarter of the pause after the one before.
	Together int `json:"together"`
}

// sse reads events as they come: the backend writes its time into each.
func sse(args []string) error {
	flags := flag.NewFlagSet("sse", flag.ContinueOnError)
	protocol := flags.String("protocol", "h2", "h1, h1s, h2 or h3")
	secure := flags.String("https", "", "address of TLS and QUIC")
	clear := flags.String("http", "", "address in clear")
	count := flags.Int("count", 20, "events")
	pause := flags.Duration("pause", 100*time.Millisecond, "between events")
	if err := flags.Parse(args); err != nil {
		return err
	}
	address := *secure
	if *protocol == "h1" {
		address = *clear
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := peer.Dial(ctx, *protocol, address)
	if err != nil {
		return err
	}
	defer conn.Close()
	path := fmt.Sprintf("/events?count=%d&ms=%d", *count, pause.Milliseconds())
	request := &peer.Request{Method: "GET", Authority: peer.ServerName, Path: path}
	request.Fields = []peer.Field{{Name: "accept", Value: "text/event-stream"}}
	stream, err := conn.Open(ctx, request)
	if err != nil {
		return err
	}
	head, err := stream.Head()
	if err != nil || head.Status != 200 {
		return fmt.Errorf("status %v: %w", head, err)
	}
	report := sseReport{Protocol: *protocol}
	var last time.Time
	lines := bufio.NewScanner(stream)
	for lines.Scan() {
		text, found := strings.CutPrefix(lines.Text(), "data: ")
		if !found {
			continue
		}
		now := time.Now()
		sent, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return err
		}
		report.Events++
		delay := float64(now.UnixMicro()-sent) / 1000
		report.DelayMaxMs = max(report.DelayMaxMs, delay)
		if now.Sub(last) < *pause/4 {
			report.Together++
		}
		last = now
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return emit(report)
}
