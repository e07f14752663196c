package main

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"os"
)

// certificate writes a new self-signed certificate for localhost and its key to the given files.
func certificate(args []string) error {
	flags := flag.NewFlagSet("certificate", flag.ContinueOnError)
	certFile := flags.String("cert", "", "where the certificate goes (PEM)")
	keyFile := flags.String("key", "", "where the key goes (PEM)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	pair, text, err := ownCertificate()
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		return err
	}
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	err = errors.Join(
		os.WriteFile(*certFile, []byte(text), 0o600), os.WriteFile(*keyFile, key, 0o600))
	if err != nil {
		return err
	}
	return emit(map[string]string{"cert": *certFile, "key": *keyFile})
}
