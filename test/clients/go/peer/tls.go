package peer

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"
)

// ServerName is what the clients ask for by SNI.
const ServerName = "localhost"

const dialTimeout = 10 * time.Second

// TLSConfig offers one ALPN name. The edge under test has a certificate of its own local CA, and
// trust is not what these tests are about.
func TLSConfig(protocol string) *tls.Config {
	return &tls.Config{
		InsecureSkipVerify: true, //nolint:gosec // loopback only
		ServerName:         ServerName,
		NextProtos:         []string{protocol},
		MinVersion:         tls.VersionTLS12,
	}
}

func dialTCP(ctx context.Context, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	return dialer.DialContext(ctx, "tcp", address)
}

// DialTLS connects and insists on the ALPN name.
func DialTLS(ctx context.Context, address, protocol string) (*tls.Conn, error) {
	plain, err := dialTCP(ctx, address)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(plain, TLSConfig(protocol))
	handshake, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if err := conn.HandshakeContext(handshake); err != nil {
		_ = plain.Close()
		return nil, fmt.Errorf("TLS: %w", err)
	}
	if got := conn.ConnectionState().NegotiatedProtocol; got != protocol {
		_ = conn.Close()
		return nil, fmt.Errorf("ALPN gave %q, not %q", got, protocol)
	}
	return conn, nil
}
