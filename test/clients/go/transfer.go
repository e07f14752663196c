package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"edge.test/clients/peer"
)

// transferReport is the account of one large body.
type transferReport struct {
	Protocol  string `json:"protocol"`
	Direction string `json:"direction"`
	Status    int    `json:"status"`
	// Bytes that arrived and were right, as the receiver counted them.
	Bytes   int64 `json:"bytes"`
	Written int64 `json:"written"`
	// Error of a transfer that did not end as an exchange should.
	Error     string `json:"error"`
	RSSBefore int64  `json:"rssBefore"`
	RSSMost   int64  `json:"rssMost"`
	RSSAfter  int64  `json:"rssAfter"`
	CPUMs     int64  `json:"cpuMs"`
	TookMs    int64  `json:"tookMs"`
}

// transfer moves one body of a known pattern up or down and watches the server's memory.
func transfer(args []string) error {
	flags := flag.NewFlagSet("transfer", flag.ContinueOnError)
	protocol := flags.String("protocol", "h1", "h1, h1s, h2 or h3")
	secure := flags.String("https", "", "address of TLS and QUIC")
	clear := flags.String("http", "", "address in clear")
	direction := flags.String("direction", "down", "up, down or both")
	total := flags.Int64("bytes", 64<<20, "length of the body")
	unknown := flags.Bool("unknown-length", false, "upload without content-length")
	pid := flags.Int("pid", 0, "the server's process")
	if err := flags.Parse(args); err != nil {
		return err
	}
	address := *secure
	if *protocol == "h1" {
		address = *clear
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	conn, err := peer.Dial(ctx, *protocol, address)
	if err != nil {
		return err
	}
	defer conn.Close()
	// The connection is there and warm before memory is looked at.
	warm := &peer.Request{Method: "GET", Authority: peer.ServerName, Path: "/mark/warm"}
	if _, err := peer.Exchange(ctx, conn, warm, nil); err != nil {
		return fmt.Errorf("first request: %w", err)
	}
	report := &transferReport{Protocol: *protocol, Direction: *direction}
	report.RSSBefore = residentOf(*pid)
	before, began := cpuOf(*pid), time.Now()
	watched := watchResident(*pid)
	switch *direction {
	case "up":
		err = upload(ctx, conn, report, *total, *unknown)
	case "both":
		err = bothWays(ctx, conn, report, *total, *unknown)
	default:
		err = download(ctx, conn, report, *total)
	}
	if err != nil {
		report.Error = unnumbered(err).Error()
	}
	report.TookMs = time.Since(began).Milliseconds()
	report.RSSMost = watched()
	report.RSSAfter = residentOf(*pid)
	report.CPUMs = (cpuOf(*pid) - before).Milliseconds()
	return emit(report)
}

// watchResident samples the resident memory until the returned function is called.
func watchResident(pid int) func() int64 {
	done := make(chan struct{})
	highest := residentOf(pid)
	var sampler sync.WaitGroup
	sampler.Go(func() {
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				highest = max(highest, residentOf(pid))
			}
		}
	})
	return func() int64 {
		close(done)
		sampler.Wait()
		return highest
	}
}

func download(ctx context.Context, conn peer.Conn, report *transferReport, total int64) error {
	request := &peer.Request{
		Method: "GET", Authority: peer.ServerName, Path: "/pattern?bytes=" + strconv.FormatInt(total, 10),
	}
	stream, err := conn.Open(ctx, request)
	if err != nil {
		return err
	}
	head, err := stream.Head()
	if err != nil {
		return err
	}
	report.Status = head.Status
	check := &patternCheck{}
	_, err = io.CopyBuffer(check, onlyReader{stream}, make([]byte, 64<<10))
	report.Bytes = check.count
	return err
}

// upload reads the response while it writes: a server may refuse the rest at any time.
func upload(
	ctx context.Context, conn peer.Conn, report *transferReport, total int64, unknown bool,
) error {
	stream, err := conn.Open(ctx, bodyRequest("/digest", total, unknown))
	if err != nil {
		return err
	}
	written := make(chan error, 1)
	go func() { written <- sendBody(stream, report, total) }()
	answer, err := peer.ReadAnswer(stream)
	var failed error
	if err != nil {
		stream.Abort(0)
		failed = fmt.Errorf("answer: %w", err)
	} else {
		report.Status = answer.Status
		report.Bytes, _ = strconv.ParseInt(strings.TrimSpace(string(answer.Body)), 10, 64)
	}
	select {
	case err := <-written:
		// After a refusal the rest of the body has nowhere to go.
		if report.Status == 200 {
			failed = errors.Join(failed, err)
		}
	case <-time.After(5 * time.Second):
		conn.Close()
		<-written
	}
	return failed
}

func bodyRequest(path string, total int64, unknown bool) *peer.Request {
	request := &peer.Request{
		Method: "POST", Authority: peer.ServerName, Path: path, Length: total,
		Fields: []peer.Field{{Name: "content-type", Value: "application/octet-stream"}},
	}
	if unknown {
		request.Length, request.Silent = -1, true
	}
	return request
}

// answerFactor says how much more comes back than is sent, so that a body ends amid its answer.
const answerFactor = 4

// bothWays sends a body and reads a longer one meanwhile. The report counts a byte of the one when
// those of the other came that belong to it.
func bothWays(
	ctx context.Context, conn peer.Conn, report *transferReport, total int64, unknown bool,
) error {
	answered := answerFactor * total
	path := "/both?bytes=" + strconv.FormatInt(answered, 10)
	stream, err := conn.Open(ctx, bodyRequest(path, total, unknown))
	if err != nil {
		return err
	}
	written := make(chan error, 1)
	go func() { written <- sendBody(stream, report, total) }()
	check := &patternCheck{}
	var told []byte
	head, err := stream.Head()
	if err == nil {
		report.Status = head.Status
		buffer := make([]byte, 64<<10)
		_, err = io.CopyBuffer(check, io.LimitReader(stream, answered), buffer)
	}
	if err == nil {
		told, err = io.ReadAll(io.LimitReader(stream, 1024))
	}
	if err != nil {
		stream.Abort(0)
		err = fmt.Errorf("answer after %d bytes: %w", check.count, err)
	}
	taken, _ := strconv.ParseInt(strings.TrimSpace(string(told)), 10, 64)
	report.Bytes = min(check.count/answerFactor, taken)
	return errors.Join(err, <-written)
}

func sendBody(stream peer.Stream, report *transferReport, total int64) error {
	for report.Written < total {
		part := patternAt(report.Written, min(total-report.Written, 32<<10))
		count, err := stream.Write(part)
		report.Written += int64(count)
		if err != nil {
			return fmt.Errorf("body: %w", err)
		}
	}
	return stream.CloseWrite()
}

// streamsReport is the account of many exchanges at once.
type streamsReport struct {
	Protocol  string   `json:"protocol"`
	Started   int      `json:"started"`
	Succeeded int      `json:"succeeded"`
	Failed    []string `json:"failed"`
}

// concurrent opens all streams of all connections before the backend answers any of them.
func concurrent(args []string) error {
	flags := flag.NewFlagSet("concurrent", flag.ContinueOnError)
	protocol := flags.String("protocol", "h2", "h2 or h3")
	address := flags.String("https", "", "address of TLS and QUIC")
	connections := flags.Int("connections", 10, "connections")
	streams := flags.Int("streams", 100, "streams on each")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	report := &streamsReport{Protocol: *protocol, Failed: []string{}}
	path := fmt.Sprintf("/hold?all=%d", *connections**streams)
	var all sync.WaitGroup
	var mu sync.Mutex
	for range *connections {
		conn, err := peer.Dial(ctx, *protocol, *address)
		if err != nil {
			return err
		}
		defer conn.Close()
		for range *streams {
			report.Started++
			all.Go(func() {
				request := &peer.Request{Method: "GET", Authority: peer.ServerName, Path: path}
				answer, err := peer.Exchange(ctx, conn, request, nil)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err != nil:
					report.Failed = append(report.Failed, unnumbered(err).Error())
				case answer.Status != 200:
					report.Failed = append(report.Failed, fmt.Sprint("status ", answer.Status))
				default:
					report.Succeeded++
				}
			})
		}
	}
	all.Wait()
	report.Failed = report.Failed[:min(len(report.Failed), 10)]
	return emit(report)
}
