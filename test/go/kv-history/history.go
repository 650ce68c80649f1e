package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sync"
)

// Kinds of operations.
const (
	read           = "read"
	write          = "write"
	compareAndSwap = "cas"
)

// Outcomes of an operation.
const (
	// done: Found is what the key had before a write, or what was read.
	done = "done"
	// mismatch: a compare-and-swap found something else, and changed nothing.
	mismatch = "mismatch"
	// refused: the cluster promises that nothing was done.
	refused = "refused"
	// unknown: it may have been done, or be done at any time from its call on.
	unknown = "unknown"
)

// operation is one call of a client, and what came of it. A nil value is a key that is not there.
type operation struct {
	Client int     `json:"client"`
	Kind   string  `json:"kind"`
	Key    string  `json:"key"`
	Value  string  `json:"value,omitempty"`
	Expect *string `json:"expect,omitempty"`
	// Call and Return are nanoseconds of the recorder's monotonic clock. The return of an unknown
	// outcome is open: it has none.
	Call    int64   `json:"call"`
	Return  int64   `json:"return,omitempty"`
	Outcome string  `json:"outcome"`
	Found   *string `json:"found,omitempty"`
}

// recorder writes operations as they end. It is used by all clients.
type recorder struct {
	mu     sync.Mutex
	file   *os.File
	buffer *bufio.Writer
	counts map[string]int
}

func newRecorder(path string) (*recorder, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &recorder{file: file, buffer: bufio.NewWriter(file), counts: map[string]int{}}, nil
}

func (r *recorder) record(o operation) error {
	line, err := json.Marshal(o)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[o.Outcome]++
	_, err = r.buffer.Write(append(line, '\n'))
	return err
}

// progress is how many operations had each outcome so far, as JSON.
func (r *recorder) progress() (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	text, err := json.Marshal(r.counts)
	if err != nil {
		return "", err
	}
	return string(text), r.buffer.Flush()
}

func (r *recorder) close() error {
	if err := r.buffer.Flush(); err != nil {
		return err
	}
	return r.file.Close()
}

func readHistory(path string) ([]operation, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var operations []operation
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var o operation
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, len(operations)+1, err)
		}
		operations = append(operations, o)
	}
	return operations, lines.Err()
}
