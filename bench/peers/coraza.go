package main

import (
	"encoding/json"
	"flag"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"

	"github.com/corazawaf/coraza/v3"
	corazahttp "github.com/corazawaf/coraza/v3/http"
)

// The proxy that Coraza's users would write: its own middleware around the standard library's.
func runCoraza(args []string) error {
	flags := flag.NewFlagSet("coraza", flag.ExitOnError)
	listen := flags.String("listen", "127.0.0.1:0", "address")
	origin := flags.String("origin", "", "URL of the backend")
	rules := flags.String("rules", "", "SecLang file")
	if err := flags.Parse(args); err != nil {
		return err
	}
	backend, err := url.Parse(*origin)
	if err != nil {
		return err
	}
	waf, err := coraza.NewWAF(coraza.NewWAFConfig().WithDirectivesFromFile(*rules))
	if err != nil {
		return err
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(backend); r.SetXForwarded() },
		Transport: &http.Transport{MaxIdleConnsPerHost: 128, DisableCompression: true},
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	ready := map[string]string{"address": listener.Addr().String()}
	if err := json.NewEncoder(os.Stdout).Encode(ready); err != nil {
		return err
	}
	return http.Serve(listener, corazahttp.WrapHandler(waf, proxy))
}
