// The other side of bench/mesh-netstack.ts: wireguard-go on an interface and over gVisor's stack, and
// the load between them.
//
//	peer FILE NAME         wireguard-go on the interface NAME, configured by FILE (its own format)
//	netstack FILE ADDRESS SOCKET   the same over gVisor's stack; dials for who comes to SOCKET
//	serve ADDRESS:PORT     takes bytes and tells how many, or gives as many as it is asked for
//	load SOCKET ADDRESS:PORT up|down SECONDS   through SOCKET; prints bytes and seconds
package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"
	"golang.zx2c4.com/wireguard/tun/netstack"
)

const mtu = 1420

func main() {
	args := os.Args[1:]
	if len(args) < 2 {
		log.Fatal("see the head of main.go")
	}
	switch args[0] {
	case "peer":
		made, err := tun.CreateTUN(args[2], mtu)
		must(err)
		start(made, args[1])
		waitForSignal()
	case "netstack":
		address := netip.MustParseAddr(args[2])
		made, stack, err := netstack.CreateNetTUN([]netip.Addr{address}, nil, mtu)
		must(err)
		start(made, args[1])
		door(args[3], stack)
	case "serve":
		serve(args[1])
	case "load":
		seconds, err := strconv.ParseFloat(args[4], 64)
		must(err)
		load(args[1], args[2], args[3] == "up", time.Duration(seconds*float64(time.Second)))
	}
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func start(made tun.Device, file string) {
	settings, err := os.ReadFile(file)
	must(err)
	wireguard := device.NewDevice(made, conn.NewDefaultBind(), device.NewLogger(device.LogLevelError, ""))
	must(wireguard.IpcSet(string(settings)))
	must(wireguard.Up())
	fmt.Println("ready")
}

func waitForSignal() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	<-signals
}

// door speaks what native/crates/netstack/src/door.rs does, so that both are loaded the same way.
func door(path string, stack *netstack.Net) {
	listener, err := net.Listen("unix", path)
	must(err)
	for {
		client, err := listener.Accept()
		must(err)
		go func() {
			defer client.Close()
			line, err := bufio.NewReader(client).ReadString('\n')
			if err != nil {
				return
			}
			target, err := netip.ParseAddrPort(strings.TrimSpace(line))
			if err != nil {
				return
			}
			within, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			dialed, err := stack.DialContextTCPAddrPort(within, target)
			if err != nil {
				client.Write([]byte{6})
				return
			}
			defer dialed.Close()
			client.Write([]byte{0})
			done := make(chan struct{})
			go func() {
				io.CopyBuffer(struct{ io.Writer }{dialed}, struct{ io.Reader }{client}, make([]byte, 65536))
				dialed.CloseWrite()
				close(done)
			}()
			io.CopyBuffer(struct{ io.Writer }{client}, struct{ io.Reader }{dialed}, make([]byte, 65536))
			client.(*net.UnixConn).CloseWrite()
			<-done
		}()
	}
}

func serve(address string) {
	listener, err := net.Listen("tcp", address)
	must(err)
	fmt.Println("ready")
	for {
		client, err := listener.Accept()
		must(err)
		go func() {
			defer client.Close()
			kind := make([]byte, 1)
			if _, err := io.ReadFull(client, kind); err != nil {
				return
			}
			if kind[0] == 'u' {
				count, _ := io.Copy(struct{ io.Writer }{io.Discard}, client)
				binary.Write(client, binary.BigEndian, uint64(count))
				return
			}
			block := make([]byte, 128*1024)
			for {
				if _, err := client.Write(block); err != nil {
					return
				}
			}
		}()
	}
}

func load(path, target string, up bool, last time.Duration) {
	client, err := net.Dial("unix", path)
	must(err)
	defer client.Close()
	fmt.Fprintf(client, "%s\n", target)
	answer := make([]byte, 1)
	_, err = io.ReadFull(client, answer)
	must(err)
	if answer[0] != 0 {
		log.Fatalf("refused: %d", answer[0])
	}
	block := make([]byte, 128*1024)
	began := time.Now()
	var count uint64
	if up {
		client.Write([]byte("u"))
		for time.Since(began) < last {
			written, err := client.Write(block)
			must(err)
			count += uint64(written)
		}
		client.(*net.UnixConn).CloseWrite()
		var arrived uint64
		must(binary.Read(client, binary.BigEndian, &arrived))
		if arrived != count {
			log.Fatalf("%d bytes of %d arrived", arrived, count)
		}
	} else {
		client.Write([]byte("d"))
		for time.Since(began) < last {
			read, err := client.Read(block)
			must(err)
			count += uint64(read)
		}
	}
	fmt.Printf("{\"bytes\":%d,\"seconds\":%f}\n", count, time.Since(began).Seconds())
}
