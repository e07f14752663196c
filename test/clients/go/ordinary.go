package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"sync"
	"time"
)

// ordinaryReport is the account of requests that are nobody's attack.
type ordinaryReport struct {
	// When each one was due (Unix time) and how long after that it was over, in milliseconds.
	Requests [][2]float64 `json:"requests"`
	Failed   []string     `json:"failed"`
	// Connections that were made, and requests that had to be sent again because the server
	// refused their stream.
	Connections int64 `json:"connections"`
	Refused     int64 `json:"refused"`
}

// ordinaryRun is one such client.
type ordinaryRun struct {
	mu     sync.Mutex
	report ordinaryReport
}

// ordinary sends requests on a few connections until it reads a line (or the end) on stdin. It keeps
// to a timetable, and a request takes as long as its answer is after its time: who waits for one
// answer before it asks again sees one slow request in a pause that would have met a hundred. Once
// all connections are there it writes `ready` on stderr, and begins.
func ordinary(args []string) error {
	flags := flag.NewFlagSet("ordinary", flag.ContinueOnError)
	address := flags.String("https", "", "address of TLS")
	connections := flags.Int("connections", 4, "connections")
	rate := flags.Int("rate", 500, "requests a second, on all of them")
	if err := flags.Parse(args); err != nil {
		return err
	}
	client := &ordinaryRun{}
	client.report.Requests, client.report.Failed = [][2]float64{}, []string{}
	run := &lossRun{secure: *address, timeout: 10 * time.Second}
	count := &lossCount{Failed: map[string]int64{}}
	slots := make([]*lossSlot, *connections)
	for index := range slots {
		slots[index] = &lossSlot{run: run, protocol: "h2", count: count}
	}
	for _, slot := range slots {
		if _, err := slot.connection(context.Background()); err != nil {
			return err
		}
	}
	fmt.Fprintln(os.Stderr, "ready")
	finished := make(chan struct{})
	go func() { _, _ = bufio.NewReader(os.Stdin).ReadString('\n'); close(finished) }()
	client.keepTime(slots, time.Second/time.Duration(*rate), finished)
	for _, slot := range slots {
		if slot.conn != nil {
			slot.conn.Close()
		}
	}
	client.report.Connections, client.report.Refused = count.Connections, count.Refused
	return emit(&client.report)
}

func (client *ordinaryRun) keepTime(slots []*lossSlot, pause time.Duration, end chan struct{}) {
	var all sync.WaitGroup
	defer all.Wait()
	at := time.Now()
	for turn := 0; ; turn++ {
		at = at.Add(pause)
		select {
		case <-end:
			return
		case <-time.After(time.Until(at)):
		}
		slot, due := slots[turn%len(slots)], at
		// Numbers that are no multiples of three: GET only.
		all.Go(func() { client.request(slot, int64(3*turn+1), due) })
	}
}

func (client *ordinaryRun) request(slot *lossSlot, number int64, due time.Time) {
	limited, cancel := context.WithTimeout(context.Background(), slot.run.timeout)
	defer cancel()
	err := slot.request(limited, number)
	took := float64(time.Since(due).Microseconds()) / 1000
	client.mu.Lock()
	defer client.mu.Unlock()
	client.report.Requests = append(client.report.Requests, [2]float64{unixMs(due), took})
	if err != nil {
		client.report.Failed = append(client.report.Failed, err.Error())
	}
}

func unixMs(at time.Time) float64 { return float64(at.UnixMicro()) / 1000 }
