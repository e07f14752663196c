package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// The body of a transfer: byte N is a function of N, so that a lost, doubled or moved piece shows.
// The period is a prime, so that no frame or buffer size divides it.
const patternPeriod = 65_521

var patternBytes = func() []byte {
	bytes := make([]byte, 2*patternPeriod)
	for index := range bytes {
		at := index % patternPeriod
		bytes[index] = byte(at) ^ byte(at>>8)*31
	}
	return bytes
}()

// patternAt gives up to one period of the pattern from an offset on.
func patternAt(offset, limit int64) []byte {
	from := offset % patternPeriod
	return patternBytes[from : from+min(limit, patternPeriod)]
}

// patternCheck is an io.Writer that fails at the first byte that is not the pattern's.
type patternCheck struct{ count int64 }

func (check *patternCheck) Write(part []byte) (int, error) {
	for offset := 0; offset < len(part); {
		want := patternAt(check.count, int64(len(part)-offset))
		if string(part[offset:offset+len(want)]) != string(want) {
			return offset, fmt.Errorf("wrong byte within %d and %d bytes",
				check.count, check.count+int64(len(want)))
		}
		check.count += int64(len(want))
		offset += len(want)
	}
	return len(part), nil
}

// sendPattern answers `/pattern?bytes=N`, slowly with `&ms=M`: a pause after each 64 KiB.
func sendPattern(answer http.ResponseWriter, request *http.Request) {
	total, err := strconv.ParseInt(request.URL.Query().Get("bytes"), 10, 64)
	if err != nil || total < 0 {
		http.Error(answer, "bytes: a number", http.StatusBadRequest)
		return
	}
	pause, _ := strconv.Atoi(request.URL.Query().Get("ms"))
	control := http.NewResponseController(answer)
	answer.Header().Set("content-type", "application/octet-stream")
	answer.Header().Set("content-length", strconv.FormatInt(total, 10))
	for sent := int64(0); sent < total; {
		count, err := answer.Write(patternAt(sent, total-sent))
		if err != nil {
			return
		}
		sent += int64(count)
		if pause <= 0 {
			continue
		}
		if control.Flush() != nil {
			return
		}
		select {
		case <-time.After(time.Duration(pause) * time.Millisecond):
		case <-request.Context().Done():
			return
		}
	}
}

// receivePattern answers `/digest` with how many right bytes came.
func receivePattern(answer http.ResponseWriter, request *http.Request) {
	check := &patternCheck{}
	_, err := io.CopyBuffer(check, onlyReader{request.Body}, make([]byte, 64<<10))
	if err != nil && !errors.Is(err, io.EOF) {
		http.Error(answer, err.Error(), http.StatusBadRequest)
		return
	}
	_, _ = fmt.Fprintf(answer, "%d\n", check.count)
}

// exchangePatterns answers `/both?bytes=N` while it reads: N bytes, then how many right ones came.
func exchangePatterns(answer http.ResponseWriter, request *http.Request) {
	total, err := strconv.ParseInt(request.URL.Query().Get("bytes"), 10, 64)
	control := http.NewResponseController(answer)
	if err == nil {
		err = control.EnableFullDuplex()
	}
	if err != nil || total < 0 {
		http.Error(answer, fmt.Sprint("bytes: a number ", err), http.StatusBadRequest)
		return
	}
	answer.Header().Set("content-type", "application/octet-stream")
	check := &patternCheck{}
	read := make(chan error, 1)
	go func() {
		_, err := io.CopyBuffer(check, onlyReader{request.Body}, make([]byte, 64<<10))
		read <- err
	}()
	for sent := int64(0); sent < total && err == nil; {
		var count int
		count, err = answer.Write(patternAt(sent, total-sent))
		sent += int64(count)
	}
	if errors.Join(err, <-read) != nil {
		panic(http.ErrAbortHandler)
	}
	_, _ = fmt.Fprintf(answer, "%d\n", check.count)
}

// onlyReader hides WriteTo, which would pass small pieces.
type onlyReader struct{ io.Reader }
