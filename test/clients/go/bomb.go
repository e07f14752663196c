package main

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"sync"
	"time"

	"edge.test/clients/peer"
	"golang.org/x/net/http2"
)

// bombReport says how much memory the server holds for how many bytes on the wire.
type bombReport struct {
	Kind        string  `json:"kind"`
	Connections int     `json:"connections"`
	Requests    int     `json:"requests"`
	WireBytes   int64   `json:"wireBytes"`
	GrowthBytes int64   `json:"growthBytes"`
	Ratio       float64 `json:"ratio"`
	// PerConnection is the growth for each connection in bytes.
	PerConnection int64          `json:"perConnection"`
	CPUMs         int64          `json:"cpuMs"`
	Ends          map[string]int `json:"ends"`
}

// bomb sends the HTTP/2 bomb: one big field goes into the server's HPACK table, then each request
// names it again and again, at one byte each. The client's window is zero, so no answer can leave,
// and whatever the server holds for a request, it holds while the connection lives.
// Kind "table" fills and evicts the HPACK table instead, with every field and a size update; there
// the answers may leave, so that the table is all that a connection keeps. Few connections send at
// a time and many are held, so that what they hold outweighs what exchanges need for a moment.
func bomb(args []string) error {
	flags := flag.NewFlagSet("bomb", flag.ContinueOnError)
	address := flags.String("https", "", "address of TLS")
	kind := flags.String("kind", "fields", "fields, over (more than any limit) or table")
	connections := flags.Int("connections", 20, "connections")
	streams := flags.Int("streams", 100, "requests on each")
	fields := flags.Int("fields", 90, "one-byte fields in each request")
	active := flags.Int("active", 20, "connections that send at a time")
	pid := flags.Int("pid", 0, "the server's process")
	if err := flags.Parse(args); err != nil {
		return err
	}
	run := &bombRun{address: *address, kind: *kind, streams: *streams, fields: *fields}
	// The same heads with an open window first: what is measured is what the server holds, not
	// how its heaps grow at first use.
	run.warm = true
	for _, conn := range run.sendAll(4, 2) {
		if conn != nil {
			conn.Close()
		}
	}
	time.Sleep(500 * time.Millisecond)
	run.warm, run.wire = false, 0
	before, cpu := residentOf(*pid), cpuOf(*pid)
	report := bombReport{
		Kind: *kind, Connections: *connections, Requests: *connections * *streams,
		Ends: map[string]int{},
	}
	held := run.sendAll(*connections, *active)
	highest := int64(0)
	for range 10 {
		highest = max(highest, residentOf(*pid))
		time.Sleep(100 * time.Millisecond)
	}
	report.CPUMs = (cpuOf(*pid) - cpu).Milliseconds()
	report.WireBytes = run.wire
	report.GrowthBytes = max(0, highest-before)
	report.Ratio = float64(report.GrowthBytes) / float64(max(1, run.wire))
	report.PerConnection = report.GrowthBytes / int64(*connections)
	for _, conn := range held {
		if conn == nil {
			report.Ends["not connected"]++
			continue
		}
		report.Ends[judge(conn.State(), 0).end]++
		conn.Close()
	}
	return emit(report)
}

type bombRun struct {
	address         string
	kind            string
	streams, fields int
	warm            bool

	mu   sync.Mutex
	wire int64
}

// sendAll makes connections, some at a time, and leaves them open.
func (run *bombRun) sendAll(connections, active int) []*peer.H2 {
	held := make([]*peer.H2, connections)
	places := make(chan struct{}, active)
	var all sync.WaitGroup
	for index := range held {
		places <- struct{}{}
		all.Go(func() {
			held[index], _ = run.send()
			<-places
		})
	}
	all.Wait()
	return held
}

// send makes one connection and puts all requests on it.
func (run *bombRun) send() (*peer.H2, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn, err := peer.DialH2(ctx, run.address, peer.H2Options{Zero: !run.warm && run.kind != "table"})
	if err != nil {
		return nil, err
	}
	if err := conn.AwaitSettings(ctx); err != nil {
		return conn, err
	}
	for turn := range run.streams {
		block := run.block(turn)
		_ = conn.Frames(func(framer *http2.Framer) error {
			return run.write(framer, conn.NextStream(), block)
		})
	}
	// The answer to a PING says that all was read.
	_ = conn.Frames(func(framer *http2.Framer) error { return framer.WritePing(false, [8]byte{}) })
	for conn.State().Pinged == 0 && conn.State().Ended == nil && ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond)
	}
	return conn, nil
}

func (run *bombRun) write(framer *http2.Framer, id uint32, block []byte) error {
	run.mu.Lock()
	run.wire += int64(len(block)) + 9
	run.mu.Unlock()
	first := block[:min(len(block), 16<<10)]
	rest := block[len(first):]
	err := framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: first, EndStream: true, EndHeaders: len(rest) == 0,
	})
	if err == nil && len(rest) > 0 {
		err = framer.WriteContinuation(id, true, rest[:min(len(rest), 16<<10)])
	}
	return err
}

// block is one request, in HPACK by hand (RFC 7541 §6): the point is what the encoder would avoid.
func (run *bombRun) block(turn int) []byte {
	var block []byte
	if run.kind == "table" && turn > 0 {
		block = append(block, 0x20)             // dynamic table size 0: evicts all …
		block = append(block, 0x3f, 0xe1, 0x1f) // … and 4096 again
	}
	block = append(block, 0x82, 0x87) // :method GET, :scheme https
	block = appendLiteral(block, 0x00, 1, peer.ServerName)
	block = appendLiteral(block, 0x00, 4, "/bomb")
	switch {
	case run.kind == "table":
		for index := range 12 {
			value := strings.Repeat(fmt.Sprintf("%04d", (turn*12+index)%10_000), 80)
			block = appendNew(block, "x-churn", value)
		}
		return block
	case turn == 0:
		// About 330 bytes each, so that 90 of them stay within 32 KiB of fields.
		return appendNew(block, "x-bomb", strings.Repeat("b", 300))
	}
	fields := run.fields
	if run.kind == "over" {
		fields = 16_000
	}
	for range fields {
		block = append(block, 0xbe) // index 62: the newest entry
	}
	return block
}

// appendLiteral writes a field without indexing, whose name is in the static table.
func appendLiteral(block []byte, flags byte, index int, value string) []byte {
	block = append(block, flags|byte(index))
	return appendString(block, value)
}

// appendNew writes a field that enters the table.
func appendNew(block []byte, name, value string) []byte {
	return appendString(appendString(append(block, 0x40), name), value)
}

// appendString writes a string without Huffman coding, with a 7-bit prefix.
func appendString(block []byte, text string) []byte {
	length := len(text)
	if length < 127 {
		return append(append(block, byte(length)), text...)
	}
	block = append(block, 127)
	for length -= 127; length >= 128; length >>= 7 {
		block = append(block, byte(length)|0x80)
	}
	return append(append(block, byte(length)), text...)
}
