package raftstore_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"quorumshift.dev/integrations/go/internal/hosttest"
	"quorumshift.dev/integrations/go/raftstore"
)

func TestLogKeepsEveryFieldOfEveryEntry(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T, host *hosttest.Host, member string) {
		store := open(t, host, member)
		requireLog(t, store)
		elsewhere := time.FixedZone("elsewhere", 7*3600)
		logs := []*raft.Log{
			{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: []byte{0, 255}},
			{Index: 2, Term: 1, Type: raft.LogNoop},
			{Index: 3, Term: 2, Type: raft.LogBarrier, Data: []byte{}, Extensions: []byte{}},
			{Index: 4, Term: 2, Extensions: []byte("chunk 1 of 2"), AppendedAt: time.Unix(1, 1).In(elsewhere)},
			{Index: 5, Term: 9, Type: raft.LogType(200), Data: bytes.Repeat([]byte("x"), 3<<20)},
			{Index: 6, Term: 9, AppendedAt: time.Date(1904, 2, 29, 0, 0, 0, 999_999_999, time.UTC)},
			{Index: 7, Term: 9, AppendedAt: time.Now()},
		}
		must(t, store.StoreLogs(logs[:3]))
		must(t, store.StoreLog(logs[3]))
		must(t, store.StoreLogs(logs[4:]))
		must(t, store.StoreLogs(nil))
		requireLog(t, store, logs...)
		must(t, store.Close())
		requireLog(t, open(t, host, member), logs...)
	})
}

func TestLogUnderTheLibrarysCacheIsMonotonic(t *testing.T) {
	t.Parallel()
	store := open(t, hosttest.Start(t, "sqlite"), "sqlite")
	cache, err := raft.NewLogCache(16, store)
	must(t, err)
	if !cache.IsMonotonic() {
		t.Fatal("the cache does not say that the log has no gaps")
	}
	must(t, cache.StoreLogs(entries(1, 500, 3)))
	requireLog(t, cache, entries(1, 500, 3)...)
	must(t, cache.DeleteRange(1, 100))
	requireLog(t, cache, entries(101, 500, 3)...)
}

func TestReusedIndexReplacesTheEntryAndAllAfterIt(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T, host *hosttest.Host, member string) {
		store := open(t, host, member)
		must(t, store.StoreLogs(entries(1, 9, 1)))
		requireLog(t, store, entries(1, 9, 1)...)
		must(t, store.StoreLogs(entries(4, 6, 2)))
		want := append(entries(1, 3, 1), entries(4, 6, 2)...)
		requireLog(t, store, want...)
		// As after an append whose answer was lost: the next life believes that the log ends at 4.
		must(t, store.Close())
		store = open(t, host, member)
		must(t, store.StoreLogs(entries(5, 5, 3)))
		requireLog(t, store, append(want[:4], entry(5, 3))...)
		must(t, store.StoreLogs(entries(1, 2, 4)))
		requireLog(t, store, entries(1, 2, 4)...)
	})
}

func TestReusedIndexOverManyMessages(t *testing.T) {
	t.Parallel()
	store := open(t, hosttest.Start(t, "rocksdb"), "rocksdb")
	must(t, store.StoreLogs(entries(1, 40, 1)))
	var large []*raft.Log
	for index := uint64(11); index <= 30; index++ {
		large = append(large, &raft.Log{
			Index: index, Term: 2, Data: bytes.Repeat([]byte{byte(index)}, 300_000),
		})
	}
	must(t, store.StoreLogs(large))
	requireLog(t, store, append(entries(1, 10, 1), large...)...)
}

func TestDeleteRange(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name            string
		lowest, highest uint64
		want            []*raft.Log
	}{
		{"nothing below", 1, 4, entries(5, 10, 1)},
		{"nothing above", 11, 20, entries(5, 10, 1)},
		{"an empty range", 7, 6, entries(5, 10, 1)},
		{"a prefix", 5, 6, entries(7, 10, 1)},
		{"a prefix from below", 0, 6, entries(7, 10, 1)},
		{"a suffix", 8, 10, entries(5, 7, 1)},
		{"a suffix beyond the end", 8, 99, entries(5, 7, 1)},
		{"everything", 5, 10, nil},
		{"everything and more", 0, 99, nil},
	}
	eachFamily(t, func(t *testing.T, host *hosttest.Host, member string) {
		store := open(t, host, member)
		for _, c := range cases {
			must(t, store.DeleteRange(0, 1000))
			must(t, store.StoreLogs(entries(1, 10, 1)))
			must(t, store.DeleteRange(1, 4))
			if err := store.DeleteRange(c.lowest, c.highest); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			t.Log(c.name)
			requireLog(t, store, c.want...)
		}
		must(t, store.StoreLogs(entries(1, 9, 1)))
		requireCode(t, store.DeleteRange(3, 5), "log.gap")
		requireLog(t, store, entries(1, 9, 1)...)
	})
}

func TestEmptiedLogGoesOnAtTheSnapshot(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T, host *hosttest.Host, member string) {
		store := open(t, host, member)
		must(t, store.StoreLogs(entries(1, 10, 1)))
		// InstallSnapshot within the log, then beyond its end.
		for _, snapshot := range []uint64{7, 50} {
			takeSnapshot(t, store, snapshot, 1, "state")
			last, err := store.LastIndex()
			must(t, err)
			must(t, store.DeleteRange(1, last))
			requireLog(t, store)
			must(t, store.StoreLogs(entries(snapshot+1, snapshot+3, 2)))
			requireLog(t, store, entries(snapshot+1, snapshot+3, 2)...)
		}
		// A crash, or a failure, before the log was emptied.
		takeSnapshot(t, store, 90, 2, "state")
		must(t, store.StoreLogs(entries(91, 92, 2)))
		requireLog(t, store, entries(91, 92, 2)...)
		must(t, store.Close())
		requireLog(t, open(t, host, member), entries(91, 92, 2)...)
	})
}

func TestAppendWithAGapFailsWithAllThatWasGivenAfterIt(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T, host *hosttest.Host, member string) {
		store := open(t, host, member)
		futures := []raft.Future{
			store.Append(entries(1, 5, 1)),
			store.Append(entries(9, 9, 1)),
			store.Append(entries(6, 7, 1)),
		}
		must(t, futures[0].Error())
		requireCode(t, futures[1].Error(), "log.gap")
		// It is given anew once the answer is known; whether it had its turn before is a race.
		if err := futures[2].Error(); err != nil {
			requireCode(t, err, "log.gap")
			must(t, store.StoreLogs(entries(6, 7, 1)))
		}
		requireLog(t, store, entries(1, 7, 1)...)
	})
}

func TestEntriesThatCannotBeKeptAreRefusedAndTheStoreGoesOn(t *testing.T) {
	t.Parallel()
	store := open(t, hosttest.Start(t, "local"), "local")
	requireCode(t, store.StoreLogs([]*raft.Log{entry(1, 1), entry(3, 1)}), "log.invalid-batch")
	requireCode(t, store.StoreLog(entry(0, 1)), "log.invalid-batch")
	huge := &raft.Log{Index: 1, Term: 1, Data: make([]byte, 65<<20)}
	requireCode(t, store.StoreLog(huge), "limit.exceeded")
	falling := []*raft.Log{entry(1, 2), entry(2, 1)}
	requireCode(t, store.StoreLogs(falling), "session.invalid-request")
	must(t, store.StoreLog(entry(1, 1)))
	requireLog(t, store, entry(1, 1))
}

func requireCode(t *testing.T, err error, code string) {
	t.Helper()
	var refused *raftstore.Error
	if !errors.As(err, &refused) || refused.Code != code {
		t.Fatalf("got %v, want code %s", err, code)
	}
}
