package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"edge.test/clients/peer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// calls runs every gRPC case with grpc-go through the edge, before `grpc-backend`.
func calls(args []string) error {
	flags := flag.NewFlagSet("grpc", flag.ContinueOnError)
	address := flags.String("https", "", "address of TLS")
	if err := flags.Parse(args); err != nil {
		return err
	}
	client, err := grpc.NewClient("passthrough:///"+*address,
		grpc.WithTransportCredentials(credentials.NewTLS(peer.TLSConfig("h2"))),
		grpc.WithAuthority(peer.ServerName), grpc.WithDisableServiceConfig(), grpc.WithDisableRetry())
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	report := tunnelReport{Protocol: "grpc", Cases: make([]tunnelCase, len(grpcCases))}
	var all sync.WaitGroup
	for index, one := range grpcCases {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
			defer cancel()
			report.Cases[index] = tunnelCase{Name: one.name}
			if err := one.play(ctx, client); err != nil {
				report.Cases[index].Error = err.Error()
			}
		})
	}
	all.Wait()
	return emit(report)
}

type grpcPlay func(ctx context.Context, client *grpc.ClientConn) error

var grpcCases = []struct {
	name string
	play grpcPlay
}{
	{"unary", echoCall("hello")},
	{"unary, empty", echoCall("")},
	{"unary, 1 MiB", echoCall(strings.Repeat("m", 1<<20))},
	{"metadata as header and trailer", markedCall},
	{"every status code", everyStatus},
	{"a message that must be escaped", statusMessage},
	{"an unknown method", unknownMethod},
	{"server streaming", serverStream},
	{"client streaming", clientStream},
	{"bidirectional, turn by turn", turnByTurn},
	{"deadline", deadline},
	{"cancel reaches the backend", cancelReaches},
	{"a hundred calls at once", hundredCalls},
}

func invoke(ctx context.Context, client *grpc.ClientConn, method, text string,
	options ...grpc.CallOption,
) (string, error) {
	out := &message{}
	err := client.Invoke(ctx, "/test.Calls/"+method, wrapperspb.String(text), out, options...)
	return out.GetValue(), err
}

func echoCall(text string) grpcPlay {
	return func(ctx context.Context, client *grpc.ClientConn) error {
		got, err := invoke(ctx, client, "Echo", text)
		if err == nil && got != text {
			err = fmt.Errorf("%d characters, not %d", len(got), len(text))
		}
		return err
	}
}

func markedCall(ctx context.Context, client *grpc.ClientConn) error {
	var header, trailer metadata.MD
	ctx = metadata.AppendToOutgoingContext(ctx, "x-mark", "blue")
	_, err := invoke(ctx, client, "Echo", "x", grpc.Header(&header), grpc.Trailer(&trailer))
	if err != nil {
		return err
	}
	if first(header.Get("x-mark-header")) != "blue" || first(trailer.Get("x-mark-trailer")) != "blue" {
		return fmt.Errorf("header %v, trailer %v", header, trailer)
	}
	return nil
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

func everyStatus(ctx context.Context, client *grpc.ClientConn) error {
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		var trailer metadata.MD
		_, err := invoke(ctx, client, "Fail", fmt.Sprintf("%d why not", code), grpc.Trailer(&trailer))
		if status.Code(err) != code || status.Convert(err).Message() != "why not" {
			return fmt.Errorf("code %d: %w", code, err)
		}
		if first(trailer.Get("x-why")) != "asked for" {
			return fmt.Errorf("code %d: trailer %v", code, trailer)
		}
	}
	return nil
}

func statusMessage(ctx context.Context, client *grpc.ClientConn) error {
	_, err := invoke(ctx, client, "Fail", "5 50 % grün\nzwei")
	if got := status.Convert(err).Message(); got != "50 % grün\nzwei" {
		return fmt.Errorf("message %q", got)
	}
	return nil
}

func unknownMethod(ctx context.Context, client *grpc.ClientConn) error {
	_, err := invoke(ctx, client, "NoSuch", "x")
	if status.Code(err) != codes.Unimplemented {
		return fmt.Errorf("not unimplemented: %w", err)
	}
	return nil
}

func open(ctx context.Context, client *grpc.ClientConn, method string) (grpc.ClientStream, error) {
	description := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	return client.NewStream(ctx, description, "/test.Calls/"+method)
}

func receive(stream grpc.ClientStream, want string) error {
	got := &message{}
	if err := stream.RecvMsg(got); err != nil {
		return err
	}
	if got.GetValue() != want {
		return fmt.Errorf("%q instead of %q", got.GetValue(), want)
	}
	return nil
}

func atEnd(stream grpc.ClientStream) error {
	if err := stream.RecvMsg(&message{}); !errors.Is(err, io.EOF) {
		return fmt.Errorf("no clean end: %w", err)
	}
	return nil
}

func serverStream(ctx context.Context, client *grpc.ClientConn) error {
	stream, err := open(ctx, client, "Count")
	if err == nil {
		err = stream.SendMsg(wrapperspb.String("500"))
	}
	if err == nil {
		err = stream.CloseSend()
	}
	for index := 0; err == nil && index < 500; index++ {
		err = receive(stream, fmt.Sprint(index))
	}
	if err != nil {
		return err
	}
	return atEnd(stream)
}

func clientStream(ctx context.Context, client *grpc.ClientConn) error {
	stream, err := open(ctx, client, "Join")
	want := strings.Repeat("ab", 500)
	for index := 0; err == nil && index < 500; index++ {
		err = stream.SendMsg(wrapperspb.String("ab"))
	}
	if err == nil {
		err = stream.CloseSend()
	}
	if err == nil {
		err = receive(stream, want)
	}
	if err != nil {
		return err
	}
	return atEnd(stream)
}

// turnByTurn can pass only if each message flows on before the next one is sent.
func turnByTurn(ctx context.Context, client *grpc.ClientConn) error {
	stream, err := open(ctx, client, "Chat")
	for index := 0; err == nil && index < 100; index++ {
		text := fmt.Sprint("turn ", index)
		if err = stream.SendMsg(wrapperspb.String(text)); err == nil {
			err = receive(stream, "re: "+text)
		}
	}
	if err == nil {
		err = stream.CloseSend()
	}
	if err != nil {
		return err
	}
	return atEnd(stream)
}

func deadline(ctx context.Context, client *grpc.ClientConn) error {
	limited, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	_, err := invoke(limited, client, "Wait", "")
	if status.Code(err) != codes.DeadlineExceeded {
		return fmt.Errorf("no deadline: %w", err)
	}
	return nil
}

func cancelReaches(ctx context.Context, client *grpc.ClientConn) error {
	before, err := invoke(ctx, client, "Canceled", "")
	if err != nil {
		return err
	}
	limited, cancel := context.WithCancel(ctx)
	time.AfterFunc(200*time.Millisecond, cancel)
	if _, err := invoke(limited, client, "Wait", ""); status.Code(err) != codes.Canceled {
		return fmt.Errorf("not canceled: %w", err)
	}
	for ctx.Err() == nil {
		after, err := invoke(ctx, client, "Canceled", "")
		if err != nil || after != before {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return errors.New("the backend never learns of it")
}

func hundredCalls(ctx context.Context, client *grpc.ClientConn) error {
	failed := make(chan error, 100)
	for index := range 100 {
		go func() { failed <- echoCall(fmt.Sprint(index))(ctx, client) }()
	}
	var all error
	for range 100 {
		all = errors.Join(all, <-failed)
	}
	return all
}
