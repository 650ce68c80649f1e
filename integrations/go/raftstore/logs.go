package raftstore

import (
	"github.com/hashicorp/raft"
)

// chunkBytes bounds one message of an append: the host commits chunks that wait together anyway.
const chunkBytes = 1 << 20

// IsMonotonic says that the log has no gaps: the library then empties it after InstallSnapshot.
func (s *Store) IsMonotonic() bool { return true }

// FirstIndex is the first durable entry's index; 0 for an empty log. No I/O.
func (s *Store) FirstIndex() (uint64, error) {
	at, _, err := s.session.queue.bounds()
	if err != nil || at.empty() {
		return 0, err
	}
	return at.first, nil
}

// LastIndex is the last durable entry's index; 0 for an empty log. No I/O.
func (s *Store) LastIndex() (uint64, error) {
	at, _, err := s.session.queue.bounds()
	if err != nil || at.empty() {
		return 0, err
	}
	return at.last, nil
}

// GetLog reads one entry, with those after it in advance; [raft.ErrLogNotFound] itself when it is
// not there.
func (s *Store) GetLog(index uint64, log *raft.Log) error {
	at, truncations, err := s.session.queue.bounds()
	if err != nil {
		return err
	}
	if !at.holds(index) {
		return raft.ErrLogNotFound
	}
	if run, ok := s.readAhead.find(index, truncations); ok {
		return decodeAt(run, index, log)
	}
	run, err := s.readRun(index, min(index+readAheadEntries-1, at.last))
	if err != nil {
		return err
	}
	s.readAhead.keep(run, truncations)
	return decodeAt(run, index, log)
}

// StoreLog is [Store.StoreLogs] of one entry.
func (s *Store) StoreLog(log *raft.Log) error {
	return s.StoreLogs([]*raft.Log{log})
}

// StoreLogs appends entries that follow one another and the log; nil means durable. At an index
// that the log holds already it replaces that entry and all after it. After a crash a prefix of
// them may be there.
func (s *Store) StoreLogs(logs []*raft.Log) error {
	return s.Append(logs).Error()
}

// Append is [Store.StoreLogs] without waiting: what is given next may follow at once, in a pipeline.
// When it fails, so does every change of the log that was given after it and before its answer. It
// waits only while the host's window is full. The entries may be changed once it has returned.
func (s *Store) Append(logs []*raft.Log) raft.Future {
	if err := checkRun(logs, s.session.maxWriteBytes()); err != nil {
		return answered{err}
	}
	writes := chunks(logs)
	if len(writes) == 0 {
		return answered{nil}
	}
	s.session.queue.give(writes...)
	return all(writes)
}

// DeleteRange deletes lowest..highest inclusive, which must be a prefix or a suffix of the log, or
// all of it; indexes that it does not hold are ignored.
func (s *Store) DeleteRange(lowest, highest uint64) error {
	w := deleteWrite(lowest, highest)
	s.session.queue.give(w)
	return w.Error()
}

func chunks(logs []*raft.Log) []*write {
	var writes []*write
	for len(logs) > 0 {
		size, count := canonicalBytes(logs[0]), 1
		for count < len(logs) && size+canonicalBytes(logs[count]) <= chunkBytes {
			size += canonicalBytes(logs[count])
			count++
		}
		canonical := make([]byte, 0, size)
		for _, log := range logs[:count] {
			canonical = appendCanonical(canonical, log)
		}
		writes = append(writes, appendWrite(canonical, logs[0].Index, logs[count-1].Index))
		logs = logs[count:]
	}
	return writes
}

// answered is a future whose answer is there.
type answered struct{ err error }

func (a answered) Error() error { return a.err }

// all is the future of writes that are answered in order.
type all []*write

func (writes all) Error() error {
	for _, w := range writes {
		if err := w.Error(); err != nil {
			return err
		}
	}
	return nil
}
