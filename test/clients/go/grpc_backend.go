package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// message is the only message type: the service is written by hand, without generated code.
type message = wrapperspb.StringValue

// grpcService is named as methods of the service `test.Calls`.
type grpcService struct{ canceled atomic.Int64 }

var grpcDescription = grpc.ServiceDesc{
	ServiceName: "test.Calls",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{
		{MethodName: "Echo", Handler: unary((*grpcService).echo)},
		{MethodName: "Fail", Handler: unary((*grpcService).fail)},
		{MethodName: "Wait", Handler: unary((*grpcService).wait)},
		{MethodName: "Canceled", Handler: unary((*grpcService).countCanceled)},
	},
	Streams: []grpc.StreamDesc{
		{StreamName: "Count", Handler: grpcCount, ServerStreams: true},
		{StreamName: "Join", Handler: grpcJoin, ClientStreams: true},
		{StreamName: "Chat", Handler: grpcChat, ServerStreams: true, ClientStreams: true},
	},
}

type unaryCall func(service *grpcService, ctx context.Context, in *message) (*message, error)

func unary(call unaryCall) grpc.MethodHandler {
	return func(service any, ctx context.Context, decode func(any) error,
		_ grpc.UnaryServerInterceptor,
	) (any, error) {
		in := &message{}
		if err := decode(in); err != nil {
			return nil, err
		}
		return call(service.(*grpcService), ctx, in)
	}
}

// echo sends metadata back as header and as trailer.
func (*grpcService) echo(ctx context.Context, in *message) (*message, error) {
	sent, _ := metadata.FromIncomingContext(ctx)
	for _, mark := range sent.Get("x-mark") {
		_ = grpc.SetHeader(ctx, metadata.Pairs("x-mark-header", mark))
		_ = grpc.SetTrailer(ctx, metadata.Pairs("x-mark-trailer", mark))
	}
	return in, nil
}

// fail answers with the status that it is asked for: "CODE message".
func (*grpcService) fail(ctx context.Context, in *message) (*message, error) {
	var code uint32
	text := in.GetValue()
	if _, err := fmt.Sscan(text, &code); err != nil {
		return nil, err
	}
	_ = grpc.SetTrailer(ctx, metadata.Pairs("x-why", "asked for"))
	_, reason, _ := strings.Cut(text, " ")
	return nil, status.Error(codes.Code(code), reason)
}

// wait never answers; it counts that its caller went away.
func (service *grpcService) wait(ctx context.Context, _ *message) (*message, error) {
	select {
	case <-ctx.Done():
		service.canceled.Add(1)
		return nil, status.FromContextError(ctx.Err()).Err()
	case <-time.After(30 * time.Second):
		return nil, status.Error(codes.Internal, "nobody went away")
	}
}

func (service *grpcService) countCanceled(context.Context, *message) (*message, error) {
	return wrapperspb.String(fmt.Sprint(service.canceled.Load())), nil
}

func grpcCount(_ any, stream grpc.ServerStream) error {
	in := &message{}
	if err := stream.RecvMsg(in); err != nil {
		return err
	}
	var count int
	if _, err := fmt.Sscan(in.GetValue(), &count); err != nil {
		return err
	}
	for index := range count {
		if err := stream.SendMsg(wrapperspb.String(fmt.Sprint(index))); err != nil {
			return err
		}
	}
	return nil
}

func grpcJoin(_ any, stream grpc.ServerStream) error {
	var joined strings.Builder
	for {
		in := &message{}
		err := stream.RecvMsg(in)
		if errors.Is(err, io.EOF) {
			return stream.SendMsg(wrapperspb.String(joined.String()))
		}
		if err != nil {
			return err
		}
		joined.WriteString(in.GetValue())
	}
}

// grpcChat answers every message before it reads the next one.
func grpcChat(_ any, stream grpc.ServerStream) error {
	for {
		in := &message{}
		err := stream.RecvMsg(in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = stream.SendMsg(wrapperspb.String("re: " + in.GetValue()))
		}
		if err != nil {
			return err
		}
	}
}

// grpcBackend serves test.Calls over h2c or TLS until SIGTERM.
func grpcBackend(args []string) error {
	flags := flag.NewFlagSet("grpc-backend", flag.ContinueOnError)
	secure := flags.Bool("tls", false, "with TLS")
	if err := flags.Parse(args); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ready := map[string]string{"address": listener.Addr().String()}
	var options []grpc.ServerOption
	if *secure {
		certificate, text, err := ownCertificate()
		if err != nil {
			return err
		}
		ready["certificate"] = text
		config := &tls.Config{
			Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12,
		}
		options = append(options, grpc.Creds(credentials.NewTLS(config)))
	}
	server := grpc.NewServer(options...)
	server.RegisterService(&grpcDescription, &grpcService{})
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	go func() {
		<-ctx.Done()
		server.GracefulStop()
	}()
	if err := emit(ready); err != nil {
		return err
	}
	return server.Serve(listener)
}
