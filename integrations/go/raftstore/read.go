package raftstore

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"sync"

	"github.com/hashicorp/raft"

	"quorumshift.dev/integrations/go/hostpb"
)

const (
	// readAheadEntries are asked for at a time; of what comes the first message is kept, about 1 MiB.
	readAheadEntries = 128
	// Runs kept: a leader reads for several followers, each at a place of its own.
	readAheadRuns = 4
)

// entryRun is what one reading brought: canonical entries from first on.
type entryRun struct {
	first     uint64
	canonical []byte
	// offsets of the entries in canonical.
	offsets []int
}

// readAhead keeps the latest runs while nothing that they may hold is truncated.
type readAhead struct {
	mu          sync.Mutex
	runs        [readAheadRuns]entryRun
	next        int
	truncations uint64
}

func (r *readAhead) find(index, truncations uint64) (entryRun, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.truncations != truncations {
		return entryRun{}, false
	}
	for _, run := range r.runs {
		if index >= run.first && index-run.first < uint64(len(run.offsets)) {
			return run, true
		}
	}
	return entryRun{}, false
}

// keep takes a run that was read when there had been so many truncations.
func (r *readAhead) keep(run entryRun, truncations uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if truncations < r.truncations {
		return
	}
	if truncations > r.truncations {
		r.runs, r.truncations = [readAheadRuns]entryRun{}, truncations
	}
	r.runs[r.next] = run
	r.next = (r.next + 1) % readAheadRuns
}

func decodeAt(run entryRun, index uint64, log *raft.Log) error {
	_, err := decodeCanonical(run.canonical[run.offsets[index-run.first]:], log)
	return err
}

// readRun reads from the host; it waits while the host is away.
func (s *Store) readRun(first, last uint64) (entryRun, error) {
	var response *hostpb.ReadResponse
	err := s.session.retry(s.life, func(life context.Context) (disposition, error) {
		ctx, cancel := context.WithCancel(life)
		defer cancel()
		stream, err := s.session.client.Read(ctx, &hostpb.ReadRequest{
			Replica: s.session.replica, First: int64(first), Last: int64(last),
		})
		if err != nil {
			return fromHost(err, nil)
		}
		if response, err = stream.Recv(); err == nil {
			return refused, nil
		}
		meaning, failed := fromHost(err, stream.Trailer())
		// Truncated meanwhile.
		if codeOf(failed) == codeOutOfRange || errors.Is(err, io.EOF) {
			return refused, raft.ErrLogNotFound
		}
		return meaning, failed
	})
	if err != nil {
		return entryRun{}, err
	}
	return runOf(first, response.GetCanonical())
}

func runOf(first uint64, canonical []byte) (entryRun, error) {
	run := entryRun{first: first, canonical: canonical}
	for at := 0; at < len(canonical); {
		if len(canonical)-at < canonicalHeaderBytes {
			return run, corrupt("a header is cut short")
		}
		if index := binary.BigEndian.Uint64(canonical[at+16:]); index != first+uint64(len(run.offsets)) {
			return run, corrupt("the host sent an entry that was not asked for")
		}
		run.offsets = append(run.offsets, at)
		at += canonicalHeaderBytes + int(binary.BigEndian.Uint32(canonical[at+12:]))
	}
	if len(run.offsets) == 0 {
		return run, corrupt("the host sent no entry")
	}
	return run, nil
}
