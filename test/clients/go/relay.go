package main

import (
	"net"
	"sync"
)

// relay passes the datagrams of one client on, from a port that can change.
type relay struct {
	front  *net.UDPConn
	remote *net.UDPAddr

	mu     sync.Mutex
	client *net.UDPAddr
	back   *net.UDPConn
}

func newRelay(address string) (*relay, error) {
	remote, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return nil, err
	}
	front, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	relay := &relay{front: front, remote: remote}
	if err := relay.rebind(); err != nil {
		_ = front.Close()
		return nil, err
	}
	go relay.forward()
	return relay, nil
}

// rebind takes a new port; what is still sent to the old one is lost, as at a real NAT.
func (relay *relay) rebind() error {
	back, err := net.DialUDP("udp", nil, relay.remote)
	if err != nil {
		return err
	}
	relay.mu.Lock()
	old := relay.back
	relay.back = back
	relay.mu.Unlock()
	if old != nil {
		_ = old.Close()
	}
	go relay.backward(back)
	return nil
}

func (relay *relay) forward() {
	datagram := make([]byte, 1<<16)
	for {
		count, client, err := relay.front.ReadFromUDP(datagram)
		if err != nil {
			return
		}
		relay.mu.Lock()
		relay.client = client
		back := relay.back
		relay.mu.Unlock()
		_, _ = back.Write(datagram[:count])
	}
}

func (relay *relay) backward(back *net.UDPConn) {
	datagram := make([]byte, 1<<16)
	for {
		count, err := back.Read(datagram)
		if err != nil {
			return
		}
		relay.mu.Lock()
		client := relay.client
		relay.mu.Unlock()
		if client != nil {
			_, _ = relay.front.WriteToUDP(datagram[:count], client)
		}
	}
}

func (relay *relay) close() {
	relay.mu.Lock()
	defer relay.mu.Unlock()
	_ = relay.front.Close()
	_ = relay.back.Close()
}
