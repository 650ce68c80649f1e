package raftstore

import (
	"bytes"
	"fmt"
	"sync"

	"quorumshift.dev/integrations/go/hostpb"
)

// writeQueue holds the writes that are not answered, in their order, and what is known of the
// replica from those that are. Its first `sent` writes are on the present stream.
type writeQueue struct {
	mu   sync.Mutex
	room *sync.Cond
	// wake tells the sender that there may be something to send.
	wake chan struct{}

	writes []*write
	sent   int
	bytes  int
	// window bounds bytes; one larger write is let through.
	window   int
	sequence uint64
	failure  error

	// ahead is the position once all that is planned is durable; durable, of what is answered.
	ahead, durable position
	// uncertain: a truncation has failed, and may be durable all the same.
	uncertain bool
	// truncations rises when entries that were there may be gone.
	truncations uint64
	stable      map[string][]byte
}

func newWriteQueue() *writeQueue {
	q := &writeQueue{wake: make(chan struct{}, 1)}
	q.room = sync.NewCond(&q.mu)
	return q
}

// give adds writes that belong together; before, it waits while the window is full.
func (q *writeQueue) give(writes ...*write) {
	total := 0
	for _, w := range writes {
		total += w.bytes
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.failure == nil && q.bytes > 0 && q.bytes+total > q.window {
		q.room.Wait()
	}
	if q.failure != nil {
		for _, w := range writes {
			w.done <- q.failure
		}
		return
	}
	q.writes = append(q.writes, writes...)
	q.bytes += total
	q.signal()
}

func (q *writeQueue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// next plans and gives the next write to send; nil when it must wait.
func (q *writeQueue) next() *write {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.sent < len(q.writes) {
		w := q.writes[q.sent]
		if w.planned == nil && !q.planLocked(w) {
			continue
		}
		if q.sent > 0 && (w.planned.alone || q.writes[q.sent-1].planned.alone) {
			return nil
		}
		if w.sequence == 0 {
			q.sequence++
			w.sequence = q.sequence
		}
		q.sent++
		if w.planned.mutation != nil {
			return w
		}
		q.answerLocked()
	}
	return nil
}

// planLocked is false when the write is refused; it is gone then.
func (q *writeQueue) planLocked(w *write) bool {
	plan, err := w.plan(q.ahead)
	if err != nil {
		q.dropLogLocked(q.sent, err)
		return false
	}
	w.planned = &plan
	q.ahead = plan.then
	return true
}

// answer takes the host's acknowledgement; false when it is not of the first write.
func (q *writeQueue) answer(sequence uint64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.sent == 0 || q.writes[0].sequence != sequence {
		return false
	}
	q.answerLocked()
	q.signal()
	return true
}

func (q *writeQueue) answerLocked() {
	w := q.writes[0]
	q.writes[0] = nil
	q.writes = q.writes[1:]
	q.sent--
	q.bytes -= w.bytes
	if w.changesLog() {
		q.durable.first, q.durable.last = w.planned.then.first, w.planned.then.last
	}
	if w.planned.truncates {
		q.truncations++
	}
	if w.applied != nil {
		w.applied()
	}
	w.done <- nil
	q.room.Broadcast()
}

// refuse fails the first write, and every change of the log after one of the log: those were given
// in the belief that it would succeed. False when none was sent.
func (q *writeQueue) refuse(err error) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.sent == 0 {
		return false
	}
	if q.writes[0].changesLog() {
		q.uncertain = q.writes[0].planned.truncates
		q.dropLogLocked(0, err)
	} else {
		q.dropLocked(0, err)
	}
	q.sent = 0
	return true
}

// dropLogLocked fails each change of the log from writes[from] on.
func (q *writeQueue) dropLogLocked(from int, err error) {
	for i := from; i < len(q.writes); {
		if q.writes[i].changesLog() {
			q.dropLocked(i, err)
		} else {
			i++
		}
	}
}

func (q *writeQueue) dropLocked(i int, err error) {
	w := q.writes[i]
	q.writes = append(q.writes[:i:i], q.writes[i+1:]...)
	q.bytes -= w.bytes
	w.done <- err
	q.room.Broadcast()
}

// firstIsOfLog says whether the first unanswered write changes the log.
func (q *writeQueue) firstIsOfLog() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.writes) > 0 && q.writes[0].changesLog()
}

// resume takes what an opened session says, and makes every write be sent again.
func (q *writeQueue) resume(state *hostpb.ReplicaState, window uint64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	found, stable := positionOf(state), stableValues(state)
	if err := q.checkLocked(found, stable); err != nil {
		return err
	}
	q.sent = 0
	q.window = int(window)
	q.truncations++
	q.stable = stable
	q.durable.snapshot, q.ahead.snapshot = found.snapshot, found.snapshot
	if !q.replaysLogLocked() {
		q.ahead, q.durable = found, found
	}
	return nil
}

// replaysLogLocked: the position is then what it will be after the replay.
func (q *writeQueue) replaysLogLocked() bool {
	for _, w := range q.writes {
		if w.changesLog() && w.planned != nil {
			return true
		}
	}
	return false
}

// checkLocked refuses a host that holds less than what it acknowledged.
func (q *writeQueue) checkLocked(found position, stable map[string][]byte) error {
	if had, has := q.stable[currentTermKey], stable[currentTermKey]; bytes.Compare(has, had) < 0 {
		return lost("the term %x", "has %x", had, has)
	}

	inFlight := len(q.writes) > 0 && q.writes[0].planned != nil && q.writes[0].planned.truncates
	mayTruncate := inFlight || q.uncertain
	q.uncertain = false
	if mayTruncate || found.last >= q.durable.last {
		return nil
	}
	return lost("entries up to %d", "ends at %d", q.durable.last, found.last)
}

func lost(what, is string, acknowledged, found any) error {
	return &Error{Code: "data.corrupt", Message: fmt.Sprintf("Cannot go on: the host must hold what it"+
		" acknowledged, "+what+": it "+is+" (its storage was replaced or restored: remove this member"+
		" from the cluster, and add it anew)", acknowledged, found)}
}

// published takes note of a snapshot that this store has written.
func (q *writeQueue) published(index uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.durable.snapshot = max(q.durable.snapshot, index)
	q.ahead.snapshot = q.durable.snapshot
}

// fail ends the queue: every write, now and later, fails.
func (q *writeQueue) fail(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.failure != nil {
		return
	}
	q.failure = err
	for _, w := range q.writes {
		w.done <- err
	}
	q.writes, q.sent, q.bytes = nil, 0, 0
	q.room.Broadcast()
}

// bounds gives the durable position and the count of truncations, or why the store has failed.
func (q *writeQueue) bounds() (position, uint64, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.durable, q.truncations, q.failure
}
