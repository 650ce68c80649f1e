package main

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// term is above that of any log that was there before.
const term = 1 << 20

// shape is what an append looks like, and how many of them wait for their answers.
type shape struct{ inFlight, entries, bytes int }

// report is of an interval; times in microseconds.
type report struct {
	Appends int     `json:"appends"`
	Seconds float64 `json:"seconds"`
	P50     float64 `json:"p50"`
	P99     float64 `json:"p99"`
	Longest float64 `json:"longest"`
}

// appending is a load that runs until it is stopped, or an append fails.
type appending struct {
	store *target
	how   shape
	index uint64
	// payloads are taken from this memory, which does not compress.
	payload []byte

	mu      sync.Mutex
	took    []time.Duration
	since   time.Time
	failure error

	stopping chan struct{}
	stopped  chan struct{}
}

// waitingAppend is one that is not answered yet.
type waitingAppend struct {
	begun  time.Time
	future raft.Future
}

func begin(store *target, how shape) (*appending, error) {
	index, err := store.next()
	if err != nil {
		return nil, err
	}
	a := &appending{
		store: store, how: how, index: index, payload: make([]byte, 4*how.bytes), since: time.Now(),
		stopping: make(chan struct{}), stopped: make(chan struct{}),
	}
	source := rand.NewChaCha8([32]byte{1})
	source.Read(a.payload) //nolint:errcheck // it never fails
	go a.run()
	return a, nil
}

func (a *appending) run() {
	defer close(a.stopped)
	ring := make([]waitingAppend, a.how.inFlight)
	for i := 0; ; i++ {
		slot := &ring[i%len(ring)]
		if slot.future != nil && !a.await(slot) {
			return
		}
		select {
		case <-a.stopping:
			for left := 1; left < len(ring); left++ {
				a.await(&ring[(i+left)%len(ring)])
			}
			return
		default:
		}
		slot.begun = time.Now()
		slot.future = a.store.append(a.logs())
	}
}

// await takes the answer of the oldest append; false when it has failed.
func (a *appending) await(waiting *waitingAppend) bool {
	if waiting.future == nil {
		return true
	}
	err := waiting.future.Error()
	took := time.Since(waiting.begun)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil && a.failure == nil {
		a.failure = err
	}
	a.took = append(a.took, took)
	return err == nil
}

func (a *appending) logs() []*raft.Log {
	logs := make([]*raft.Log, a.how.entries)
	for i := range logs {
		from := rand.IntN(3 * a.how.bytes)
		logs[i] = &raft.Log{Index: a.index, Term: term, Data: a.payload[from : from+a.how.bytes]}
		a.index++
	}
	return logs
}

// take reports on what was answered since the last report.
func (a *appending) take() report {
	a.mu.Lock()
	took, seconds := a.took, time.Since(a.since).Seconds()
	a.took, a.since = nil, time.Now()
	a.mu.Unlock()
	slices.Sort(took)
	at := func(share float64) float64 {
		if len(took) == 0 {
			return 0
		}
		return float64(took[int(share*float64(len(took)-1))].Nanoseconds()) / 1e3
	}
	return report{Appends: len(took), Seconds: seconds, P50: at(0.5), P99: at(0.99), Longest: at(1)}
}

func (a *appending) err() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failure
}

func (a *appending) stop() (report, error) {
	close(a.stopping)
	<-a.stopped
	return a.take(), a.err()
}
