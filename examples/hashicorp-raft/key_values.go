package main

import (
	"encoding/json"
	"io"
	"maps"
	"sync"

	"github.com/hashicorp/raft"
)

// keyValues is the replicated state: what the log's commands make of it.
type keyValues struct {
	mu     sync.RWMutex
	values map[string]string
}

func newKeyValues() *keyValues { return &keyValues{values: map[string]string{}} }

// command is one entry of the log.
type command struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	// Compare: set only when the key has the value Expect; nil expects that there is none.
	Compare bool    `json:"compare,omitempty"`
	Expect  *string `json:"expect,omitempty"`
}

// outcome is what a command did.
type outcome struct {
	Done bool `json:"done"`
	// Found is the value before; nil when there was none.
	Found *string `json:"found"`
}

// Apply is called for each committed command, in the order of the log.
func (k *keyValues) Apply(log *raft.Log) any {
	var c command
	if err := json.Unmarshal(log.Data, &c); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	o := outcome{Done: true}
	if found, ok := k.values[c.Key]; ok {
		o.Found = &found
	}
	if c.Compare {
		o.Done = (o.Found == nil) == (c.Expect == nil) && (o.Found == nil || *o.Found == *c.Expect)
	}
	if o.Done {
		k.values[c.Key] = c.Value
	}
	return o
}

func (k *keyValues) get(key string) (string, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	value, ok := k.values[key]
	return value, ok
}

func (k *keyValues) all() map[string]string {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return maps.Clone(k.values)
}

// Snapshot takes a copy, which is written while commands go on.
func (k *keyValues) Snapshot() (raft.FSMSnapshot, error) { return copied{k.all()}, nil }

// Restore replaces the state by a snapshot's.
func (k *keyValues) Restore(source io.ReadCloser) error {
	defer source.Close()
	values := map[string]string{}
	if err := json.NewDecoder(source).Decode(&values); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.values = values
	return nil
}

type copied struct{ values map[string]string }

func (c copied) Persist(sink raft.SnapshotSink) error {
	if err := json.NewEncoder(sink).Encode(c.values); err != nil {
		_ = sink.Cancel()
		return err
	}
	return sink.Close()
}

func (copied) Release() {}
