package main

import (
	"context"
	"flag"
	"strings"
	"time"

	"edge.test/clients/peer"
)

// get sends one request and prints {"status", "body", "fields"}, or {"error"}.
func get(args []string) error {
	flags := flag.NewFlagSet("get", flag.ContinueOnError)
	protocol := flags.String("protocol", "h1", "h1, h1s, h2 or h3")
	address := flags.String("address", "", "HOST:PORT")
	path := flags.String("path", "/", "path and query")
	timeout := flags.Duration("timeout", 10*time.Second, "for all of it")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	conn, err := peer.Dial(ctx, *protocol, *address)
	if err != nil {
		return emit(map[string]string{"error": err.Error()})
	}
	defer conn.Close()
	request := &peer.Request{Method: "GET", Authority: peer.ServerName, Path: *path}
	// The rules count a client without these against it.
	request.Fields = []peer.Field{{Name: "user-agent", Value: "get"}, {Name: "accept", Value: "*/*"}}
	answer, err := peer.Exchange(ctx, conn, request, nil)
	if err != nil {
		return emit(map[string]string{"error": err.Error()})
	}
	fields := map[string]string{}
	for _, field := range answer.Fields {
		fields[strings.ToLower(field.Name)] = field.Value
	}
	return emit(map[string]any{
		"status": answer.Status, "body": string(answer.Body), "fields": fields,
	})
}
