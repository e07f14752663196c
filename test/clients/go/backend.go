package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// backend serves until SIGTERM, then finishes what runs (a graceful restart is this and a new one
// on the same address). It prints {"address", "certificate"}.
func backend(args []string) error {
	flags := flag.NewFlagSet("backend", flag.ContinueOnError)
	address := flags.String("address", "127.0.0.1:0", "where to listen")
	kind := flags.String("kind", "h1", "h1, h2c or h2 (TLS)")
	shown := flags.String("name", "backend", "value of the x-backend field")
	if err := flags.Parse(args); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		return err
	}
	site := &site{name: *shown, barrier: newBarrier()}
	server := &http.Server{Handler: site, IdleTimeout: time.Minute, ReadHeaderTimeout: time.Minute}
	server.Protocols = new(http.Protocols)
	ready := map[string]string{"address": listener.Addr().String()}
	switch *kind {
	case "h1":
		server.Protocols.SetHTTP1(true)
	case "h2c":
		server.Protocols.SetUnencryptedHTTP2(true)
	case "h2":
		server.Protocols.SetHTTP2(true)
		certificate, text, err := ownCertificate()
		if err != nil {
			return err
		}
		ready["certificate"] = text
		listener = tls.NewListener(listener, &tls.Config{
			Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2"},
			MinVersion: tls.VersionTLS12,
		})
	default:
		return fmt.Errorf("no kind %q", *kind)
	}
	// As many streams as a test wants at once: the barrier holds a thousand open.
	server.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 2000}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	if err := emit(ready); err != nil {
		return err
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	err = server.Shutdown(grace)
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		return served
	}
	return err
}

// site is what every kind of backend answers.
type site struct {
	name    string
	barrier *barrier
}

func (site *site) ServeHTTP(answer http.ResponseWriter, request *http.Request) {
	answer.Header().Set("x-backend", site.name)
	path := request.URL.Path
	switch {
	case strings.HasPrefix(path, "/mark/"):
		answer.Header().Set("content-type", "text/plain")
		_, _ = io.WriteString(answer, strings.TrimPrefix(path, "/mark/")+"\n")
	case path == "/echo":
		answer.Header().Set("content-type", "application/octet-stream")
		body, err := io.ReadAll(io.LimitReader(request.Body, 16<<20))
		if err == nil {
			_, _ = answer.Write(body)
		}
	case path == "/pattern":
		sendPattern(answer, request)
	case path == "/digest":
		receivePattern(answer, request)
	case path == "/both":
		exchangePatterns(answer, request)
	case path == "/hold":
		site.hold(answer, request)
	case path == "/events":
		events(answer, request)
	default:
		_, _ = io.WriteString(answer, "backend says hello\n")
	}
}

// hold answers nobody until `?all=N` requests are here: only real concurrency gets an answer.
func (site *site) hold(answer http.ResponseWriter, request *http.Request) {
	all, err := strconv.Atoi(request.URL.Query().Get("all"))
	if err != nil || all < 1 || all > 10_000 {
		http.Error(answer, "all: a number to 10000", http.StatusBadRequest)
		return
	}
	if site.barrier.wait(request.Context(), all) {
		_, _ = io.WriteString(answer, "all here\n")
	}
}

// events sends Server-Sent Events with the time of sending: `?count=N&ms=M`.
func events(answer http.ResponseWriter, request *http.Request) {
	query := request.URL.Query()
	count, _ := strconv.Atoi(query.Get("count"))
	pause, _ := strconv.Atoi(query.Get("ms"))
	answer.Header().Set("content-type", "text/event-stream")
	control := http.NewResponseController(answer)
	for index := range min(count, 1000) {
		_, err := fmt.Fprintf(answer, "id: %d\ndata: %d\n\n", index, time.Now().UnixMicro())
		if err != nil || control.Flush() != nil {
			return
		}
		select {
		case <-time.After(time.Duration(pause) * time.Millisecond):
		case <-request.Context().Done():
			return
		}
	}
}

// barrier lets nobody through before enough have come.
type barrier struct {
	mu      sync.Mutex
	arrived int
	open    chan struct{}
}

func newBarrier() *barrier { return &barrier{open: make(chan struct{})} }

func (barrier *barrier) wait(ctx context.Context, all int) bool {
	barrier.mu.Lock()
	gate := barrier.open
	barrier.arrived++
	if barrier.arrived >= all {
		barrier.arrived, barrier.open = 0, make(chan struct{})
		close(gate)
	}
	barrier.mu.Unlock()
	select {
	case <-gate:
		return true
	case <-ctx.Done():
		barrier.mu.Lock()
		barrier.arrived = max(0, barrier.arrived-1)
		barrier.mu.Unlock()
		return false
	}
}

// ownCertificate makes a certificate for localhost that signs itself; also as PEM, to trust it.
func ownCertificate() (tls.Certificate, string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		BasicConstraintsValid: true, IsCA: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, "", err
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, text, nil
}
