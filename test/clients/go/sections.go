package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"os"
	"time"

	"edge.test/clients/peer"
)

// sectionCase is one request exactly as a test wants it on the wire.
type sectionCase struct {
	// Fields are the whole field section, pseudo-fields included, in their order.
	Fields [][2]string `json:"fields"`
	// Data are the DATA frames; absent: HEADERS is the end of the request.
	Data []string `json:"data"`
	// Trailers end the request instead of an empty DATA frame (h2) or a bare FIN (h3).
	Trailers [][2]string `json:"trailers"`
}

type sectionAnswer struct {
	Status int    `json:"status"`
	Body   string `json:"body"`
	Error  string `json:"error"`
}

// sections reads one case a line from stdin, sends it on a connection of its own, and prints the
// answer as a line, until the input ends.
func sections(args []string) error {
	flags := flag.NewFlagSet("sections", flag.ContinueOnError)
	protocol := flags.String("protocol", "h2", "h2 or h3")
	address := flags.String("https", "", "address of TLS and QUIC")
	if err := flags.Parse(args); err != nil {
		return err
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var one sectionCase
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			return err
		}
		answer := sectionAnswer{}
		got, err := sendSection(*protocol, *address, &one)
		if err != nil {
			answer.Error = unnumbered(err).Error()
		} else {
			answer.Status, answer.Body = got.Status, string(got.Body)
		}
		if err := emit(answer); err != nil {
			return err
		}
	}
	return lines.Err()
}

func sendSection(protocol, address string, one *sectionCase) (*peer.Answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := peer.Dial(ctx, protocol, address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	request := &peer.Request{
		Bare: fieldsOf(one.Fields), Open: one.Data != nil || one.Trailers != nil,
	}
	stream, err := conn.Open(ctx, request)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, conn.Close)
	defer stop()
	for _, data := range one.Data {
		if _, err := stream.Write([]byte(data)); err != nil {
			break // the answer says why
		}
	}
	switch {
	case one.Trailers != nil:
		_ = stream.SendTrailers(fieldsOf(one.Trailers))
	case one.Data != nil:
		_ = stream.CloseWrite()
	}
	return peer.ReadAnswer(stream)
}

func fieldsOf(pairs [][2]string) []peer.Field {
	fields := make([]peer.Field, 0, len(pairs))
	for _, pair := range pairs {
		fields = append(fields, peer.Field{Name: pair[0], Value: pair[1]})
	}
	return fields
}
