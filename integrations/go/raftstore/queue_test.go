package raftstore

import (
	"testing"

	"quorumshift.dev/integrations/go/hostpb"
)

// What kills of a host can hardly bring about: answers that are lost one by one.

func queueAt(first, last uint64) *writeQueue {
	q := newWriteQueue()
	q.window = 1 << 20
	q.ahead = position{first: first, last: last}
	q.durable = q.ahead
	return q
}

func requireSent(t *testing.T, q *writeQueue, want *write) {
	t.Helper()
	if got := q.next(); got != want {
		t.Fatalf("next is %+v, want %+v", got, want)
	}
}

func state(first, last int64, term byte) *hostpb.ReplicaState {
	return &hostpb.ReplicaState{FirstIndex: first, LastIndex: last, Metadata: &hostpb.Metadata{
		Auxiliary: map[string][]byte{currentTermKey: {0, 0, 0, 0, 0, 0, 0, term}},
	}}
}

func TestOnlyPlainAppendsAreUnansweredTogether(t *testing.T) {
	q := queueAt(1, 0)
	plain, follows := appendWrite([]byte("a"), 1, 5), appendWrite([]byte("b"), 6, 6)
	replaces, after := appendWrite([]byte("c"), 3, 4), appendWrite([]byte("d"), 5, 5)
	q.give(plain, follows, replaces, after)
	requireSent(t, q, plain)
	requireSent(t, q, follows)
	requireSent(t, q, nil)
	q.answer(plain.sequence)
	requireSent(t, q, nil)
	q.answer(follows.sequence)
	requireSent(t, q, replaces)
	if kept := replaces.planned.mutation.GetLastKept(); kept != 2 {
		t.Fatalf("it keeps entries up to %d, want 2", kept)
	}
	requireSent(t, q, nil)
	q.answer(replaces.sequence)
	requireSent(t, q, after)
}

func TestWhatWasNotAnsweredIsSentAgainAsItWas(t *testing.T) {
	q := queueAt(1, 0)
	first, second := appendWrite([]byte("a"), 1, 2), appendWrite([]byte("b"), 3, 4)
	q.give(first, second)
	requireSent(t, q, first)
	requireSent(t, q, second)
	// Both are durable already; only the first answer came.
	q.answer(first.sequence)
	if err := q.resume(state(1, 4, 1), 1<<20); err != nil {
		t.Fatal(err)
	}
	third := appendWrite([]byte("c"), 5, 5)
	q.give(third)
	requireSent(t, q, second)
	requireSent(t, q, third)
	if third.planned.alone || third.planned.mutation.GetEntries().GetAfter() != 4 {
		t.Fatalf("after the replay it is no plain append: %+v", third.planned)
	}
}

func TestAHostThatHoldsLessThanItAcknowledgedIsRefused(t *testing.T) {
	q := queueAt(1, 9)
	for _, held := range []*hostpb.ReplicaState{state(1, 9, 5), state(1, 10, 6)} {
		if err := q.resume(held, 1); err != nil {
			t.Fatal(err)
		}
	}
	for _, held := range []*hostpb.ReplicaState{state(1, 9, 6), state(1, 10, 5), {}} {
		if err := q.resume(held, 1); codeOf(err) != "data.corrupt" {
			t.Fatalf("%+v: got %v", held, err)
		}
	}
	// But a truncation that was not answered may be there.
	w := deleteWrite(4, 10)
	q.give(w)
	requireSent(t, q, w)
	if err := q.resume(state(1, 3, 6), 1); err != nil {
		t.Fatal(err)
	}
}

func TestARefusalFailsTheLogsLaterChangesAndNoOther(t *testing.T) {
	q := queueAt(1, 0)
	refusedWrite, later := appendWrite([]byte("a"), 1, 1), appendWrite([]byte("b"), 2, 2)
	stable := metadataWrite(&hostpb.MetadataUpdate{}, func() {})
	q.give(refusedWrite, later, stable)
	requireSent(t, q, refusedWrite)
	requireSent(t, q, later)
	q.refuse(ErrFenced)
	if refusedWrite.Error() != ErrFenced || later.Error() != ErrFenced {
		t.Fatal("they did not fail with the refusal")
	}
	requireSent(t, q, stable)
	q.answer(stable.sequence)
	if err := stable.Error(); err != nil {
		t.Fatal(err)
	}
}
