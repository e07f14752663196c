package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"
)

// Longest that one answer may take: a peer needs a third of a second for some.
const answerTimeout = 60 * time.Second

type prepared struct {
	Method  string
	Path    string
	Headers [][2]string
	Body    string
}

type report struct {
	Statuses map[string]int64 `json:"statuses"`
	Errors   int64            `json:"errors"`
	Error    string           `json:"error"`
	// Places in the file of requests that had another status than expected.
	Others []int64 `json:"others"`
}

func runLoad(args []string) error {
	flags := flag.NewFlagSet("load", flag.ExitOnError)
	protocol := flags.String("protocol", "h1", "h1, h2 or h3")
	to := flags.String("to", "", "URL without a path")
	file := flags.String("requests", "", "one request a line, JSON")
	count := flags.Int64("count", 1000, "requests to send")
	first := flags.Int64("first", 0, "which of the requests to begin with")
	parallel := flags.Int("parallel", 8, "requests at a time")
	expect := flags.Int("expect", 0, "status whose exceptions are listed; 0: none")
	if err := flags.Parse(args); err != nil {
		return err
	}
	requests, err := read(*file)
	if err != nil {
		return err
	}
	transport, err := transportOf(*protocol)
	if err != nil {
		return err
	}
	var next, errors atomic.Int64
	var statuses [600]atomic.Int64
	var reason atomic.Value
	var others []int64
	var lock sync.Mutex
	var group sync.WaitGroup
	for range *parallel {
		group.Go(func() {
			for {
				turn := next.Add(1) - 1
				if turn >= *count {
					return
				}
				one := requests[(*first+turn)%int64(len(requests))]
				status, err := send(transport, *to, one)
				if err != nil {
					errors.Add(1)
					reason.CompareAndSwap(nil, err.Error())
					continue
				}
				statuses[min(status, len(statuses)-1)].Add(1)
				if *expect != 0 && status != *expect {
					lock.Lock()
					others = append(others, (*first+turn)%int64(len(requests)))
					lock.Unlock()
				}
			}
		})
	}
	group.Wait()
	result := report{Statuses: map[string]int64{}, Errors: errors.Load(), Others: others}
	result.Error, _ = reason.Load().(string)
	for status := range statuses {
		if n := statuses[status].Load(); n > 0 {
			result.Statuses[strconv.Itoa(status)] = n
		}
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

func read(file string) ([]prepared, error) {
	input, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer input.Close()
	var requests []prepared
	lines := bufio.NewScanner(input)
	lines.Buffer(nil, 8<<20)
	for lines.Scan() {
		var one prepared
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			return nil, err
		}
		requests = append(requests, one)
	}
	if len(requests) == 0 {
		return nil, fmt.Errorf("%s holds no requests", file)
	}
	return requests, lines.Err()
}

func transportOf(protocol string) (http.RoundTripper, error) {
	trusting := &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"}
	switch protocol {
	case "h1":
		return &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}, nil
	case "h2":
		dial := func(ctx context.Context, network, address string, config *tls.Config) (net.Conn, error) {
			return (&tls.Dialer{Config: config}).DialContext(ctx, network, address)
		}
		return &http2.Transport{TLSClientConfig: trusting, DialTLSContext: dial}, nil
	case "h3":
		idle := &quic.Config{MaxIdleTimeout: 20 * time.Second}
		return &http3.Transport{TLSClientConfig: trusting, QUICConfig: idle}, nil
	}
	return nil, fmt.Errorf("no protocol %s", protocol)
}

func send(transport http.RoundTripper, to string, one prepared) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	var body io.Reader
	if one.Body != "" {
		body = bytes.NewReader([]byte(one.Body))
	}
	request, err := http.NewRequestWithContext(ctx, one.Method, to+one.Path, body)
	if err != nil {
		return 0, err
	}
	for _, header := range one.Headers {
		request.Header.Set(header[0], header[1])
	}
	request.Host = "shop.example.com"
	response, err := transport.RoundTrip(request)
	if err != nil && body != nil && strings.Contains(err.Error(), "closed idle connection") {
		// A server may close after it answered a body early; Go sends no POST again by itself.
		request.Body = io.NopCloser(bytes.NewReader([]byte(one.Body)))
		response, err = transport.RoundTrip(request)
	}
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, errorOr(err, response.Body.Close())
}

func errorOr(errors ...error) error {
	for _, err := range errors {
		if err != nil {
			return err
		}
	}
	return nil
}
