// The Go programs that bench/waf.ts starts: a reverse proxy with Coraza, and a client that sends
// prepared requests over HTTP/1.1, HTTP/2 and HTTP/3.
//
//	peers coraza -listen 127.0.0.1:0 -origin http://127.0.0.1:8080 -rules main.conf
//	peers load -protocol h1 -to http://127.0.0.1:8080 -requests w1.jsonl -count 1000
package main

import (
	"fmt"
	"os"
)

func main() {
	programs := map[string]func([]string) error{"coraza": runCoraza, "load": runLoad}
	if len(os.Args) < 2 || programs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "peers coraza|load [flags]")
		os.Exit(2)
	}
	if err := programs[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
