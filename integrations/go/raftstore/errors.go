package raftstore

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

var (
	// ErrKeyNotFound is what a stable key that was never set answers. The library compares its text.
	ErrKeyNotFound = errors.New("not found")

	// ErrClosed ends calls that wait when the store is closed, and every call after that.
	ErrClosed = errors.New("raftstore: the store is closed")

	// ErrFenced is in the chain of every error once another process has opened the replica.
	ErrFenced = errors.New("another process has opened the replica since: find it, and stop one of the two")
)

// Error is a refusal: by the host, with a code of docs/errors.md, or by the store itself before
// anything was sent. The message names what was required and what is; the remedy is in its end.
type Error struct {
	// Code is stable: "log.gap", "session.unknown-replica". Empty when the host gave none.
	Code    string
	Message string
	// Cause is a sentinel, or the gRPC status.
	Cause error
}

func (e *Error) Error() string {
	if e.Code == "" {
		return "raftstore: " + e.Message
	}
	return fmt.Sprintf("raftstore: %s: %s", e.Code, e.Message)
}

// Unwrap gives the cause to errors.Is and errors.As.
func (e *Error) Unwrap() error { return e.Cause }

// Trailing metadata of a failed call (host/grpc-errors.ts).
const (
	codeKey      = "quorumshift-code"
	retryableKey = "quorumshift-retryable"
)

// Codes that the store acts upon.
const (
	codeFenced     = "session.fenced"
	codeIOFailed   = "io.failed"
	codeOutOfRange = "log.out-of-range"
)

// A disposition is what a failed call asks of the session.
type disposition int

const (
	// refused: the same call would be refused again.
	refused disposition = iota
	// interrupted: the outcome is unknown, or the host is away; open again, and give it again.
	interrupted
	// faulted: the disk failed; the outcome is unknown, and trying again may fail again.
	faulted
)

// Of these the host says that the client opens again: it shuts down, or must read its disk anew.
var reopening = map[string]bool{
	codeFenced: true, "instance.closed": true, "instance.poisoned": true, "instance.locked": true,
}

// With these a publication was refused before its first effect: it is not there, and to open again
// would only end the snapshot that is being written by now.
var notBegun = map[string]bool{codeFenced: true, "instance.closed": true}

// Statuses without one of our codes that no second try changes.
var final = map[codes.Code]bool{
	codes.Unimplemented: true, codes.InvalidArgument: true, codes.ResourceExhausted: true,
	codes.PermissionDenied: true, codes.Unauthenticated: true,
}

// fromHost says what a failed call means, and gives it the host's code.
func fromHost(err error, trailer metadata.MD) (disposition, error) {
	if errors.Is(err, io.EOF) {
		return interrupted, &Error{Message: "the host ended the stream", Cause: err}
	}
	if errors.Is(err, context.Canceled) {
		return interrupted, err
	}
	given := status.Convert(err)
	code := first(trailer, codeKey)
	failed := &Error{Code: code, Message: given.Message(), Cause: err}
	switch {
	case code == codeIOFailed:
		return faulted, failed
	case code == "" && !final[given.Code()],
		reopening[code],
		first(trailer, retryableKey) == "true":
		return interrupted, failed
	}
	return refused, failed
}

func first(values metadata.MD, key string) string {
	if found := values.Get(key); len(found) > 0 {
		return found[0]
	}
	return ""
}

// codeOf is empty for an error that is not of the host.
func codeOf(err error) string {
	var failed *Error
	if errors.As(err, &failed) {
		return failed.Code
	}
	return ""
}
