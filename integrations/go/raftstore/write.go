package raftstore

import (
	"fmt"

	"quorumshift.dev/integrations/go/hostpb"
)

// A position is where the log stands: entries first..last inclusive, none when last+1 == first.
type position struct {
	first, last uint64
	// snapshot is the last included index of the latest snapshot; 0 when there is none.
	snapshot uint64
}

func (p position) empty() bool { return p.last+1 == p.first }

func (p position) holds(index uint64) bool { return p.first <= index && index <= p.last }

// positionOf reads the host's answer.
func positionOf(state *hostpb.ReplicaState) position {
	return position{
		first:    uint64(state.GetFirstIndex()),
		last:     uint64(state.GetLastIndex()),
		snapshot: uint64(state.GetSnapshot().GetLastIncludedIndex()),
	}
}

// A write is one mutation from the moment it is given until it is answered. What it must say to the
// host depends on what stands before it: it is planned when its turn to be sent comes, once.
type write struct {
	// plan fills in the mutation for the log at this position; nil for one that leaves the log alone.
	plan func(position) (planned, error)
	// applied, if any, is called once it is durable, under the session's lock.
	applied func()
	bytes   int
	done    chan error

	sequence uint64
	planned  *planned
}

// planned is what a write became.
type planned struct {
	// mutation is nil when there is nothing to do.
	mutation *hostpb.Mutation
	// alone: sent with nothing unanswered, and nothing sent until it is answered. Of everything but
	// a plain append, whose replay would else meet what came after it.
	alone bool
	// truncates: entries that were there may be gone.
	truncates bool
	// then is the position once it is durable.
	then position
}

func newWrite(plan func(position) (planned, error)) *write {
	return &write{plan: plan, done: make(chan error, 1)}
}

// changesLog tells appends and deletions from what leaves the log alone.
func (w *write) changesLog() bool { return w.plan != nil }

// Error makes a write a raft.Future.
func (w *write) Error() error {
	err := <-w.done
	w.done <- err
	return err
}

// appendWrite appends canonical entries first..last. The library reuses indexes without deleting
// them after an append that failed and was durable all the same, and after InstallSnapshot it
// empties the log and goes on at the snapshot.
func appendWrite(canonical []byte, first, last uint64) *write {
	w := newWrite(func(at position) (planned, error) {
		mutation := &hostpb.Mutation{
			Entries: &hostpb.Entries{After: int64(first) - 1, Canonical: canonical},
		}
		plain := planned{mutation: mutation, then: at}
		plain.then.last = last
		if first == at.last+1 {
			return plain, nil
		}
		elsewhere := plain
		elsewhere.alone, elsewhere.truncates = true, true
		switch {
		case at.empty():
			reset := int64(first)
			mutation.Reset_ = &reset
			elsewhere.then.first = first
		case first > at.last && at.snapshot == first-1:
			// The host itself moves a log that ends below the snapshot.
			elsewhere.then.first = first
		case first > at.last || first < at.first:
			return planned{}, &Error{Code: "log.gap", Message: fmt.Sprintf(
				"Cannot append entry %d: it must follow or replace one of the log: that holds %d..%d",
				first, at.first, at.last)}
		default:
			mutation.Truncate = &hostpb.Mutation_LastKept{LastKept: int64(first) - 1}
		}
		return elsewhere, nil
	})
	w.bytes = len(canonical)
	return w
}

// deleteWrite deletes the entries lowest..highest, a prefix or a suffix of the log. A log that is
// emptied stands where the snapshot ends, where the library goes on.
func deleteWrite(lowest, highest uint64) *write {
	return newWrite(func(at position) (planned, error) {
		if at.empty() || lowest > highest || highest < at.first || lowest > at.last {
			return planned{alone: true, then: at}, nil
		}
		deleted := planned{mutation: &hostpb.Mutation{}, alone: true, truncates: true, then: at}
		switch {
		case lowest <= at.first && highest >= at.last && at.snapshot > 0:
			reset := int64(at.snapshot) + 1
			deleted.mutation.Reset_ = &reset
			deleted.then.first, deleted.then.last = at.snapshot+1, at.snapshot
		case highest >= at.last:
			kept := max(lowest, at.first) - 1
			deleted.mutation.Truncate = &hostpb.Mutation_LastKept{LastKept: int64(kept)}
			deleted.then.last = kept
		case lowest <= at.first:
			deleted.mutation.Truncate = &hostpb.Mutation_FirstKept{FirstKept: int64(highest) + 1}
			deleted.then.first = highest + 1
		default:
			return planned{}, &Error{Code: "log.gap", Message: fmt.Sprintf(
				"Cannot delete entries %d..%d: they must be a prefix or a suffix of the log: that holds %d..%d",
				lowest, highest, at.first, at.last)}
		}
		return deleted, nil
	})
}

// metadataWrite changes metadata; applied is called once it is durable.
func metadataWrite(update *hostpb.MetadataUpdate, applied func()) *write {
	w := newWrite(nil)
	w.applied = applied
	w.planned = &planned{mutation: &hostpb.Mutation{Metadata: update}, alone: true}
	return w
}
