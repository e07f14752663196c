// Command clients holds the test clients and backends of the edge, one file a subcommand. Each
// prints JSON on stdout: clients one line at their end, backends a first line with their address.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

var commands = map[string]func(args []string) error{
	"backend":           backend,
	"bomb":              bomb,
	"certificate":       certificate,
	"concurrent":        concurrent,
	"frames":            frames,
	"get":               get,
	"grpc":              calls,
	"grpc-backend":      grpcBackend,
	"hold":              hold,
	"interop":           interop,
	"loss":              loss,
	"ordinary":          ordinary,
	"polite":            polite,
	"sections":          sections,
	"sse":               sse,
	"transfer":          transfer,
	"tunnel":            tunnel,
	"websocket-backend": wsBackend,
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: clients COMMAND [flags]")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, os.Args[1]+":", err)
		os.Exit(1)
	}
}

// emit prints one line of JSON.
func emit(value any) error {
	return json.NewEncoder(os.Stdout).Encode(value)
}
