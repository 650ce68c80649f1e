package raftstore_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"quorumshift.dev/integrations/go/internal/hosttest"
	"quorumshift.dev/integrations/go/raftstore"
)

// A patience that only a hang exceeds.
const patience = 60 * time.Second

func open(t testing.TB, host *hosttest.Host, member string) *raftstore.Store {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	level := hclog.Error
	if os.Getenv("QUORUMSHIFT_TEST_LOG") != "" {
		level = hclog.Debug
	}
	store, err := raftstore.Open(ctx, raftstore.Options{
		Socket: host.Socket, Cluster: hosttest.Cluster, Member: member, Client: t.Name(),
		Logger: hclog.New(&hclog.LoggerOptions{Level: level}),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

// eachFamily runs a test against a fresh replica of each family.
func eachFamily(t *testing.T, test func(t *testing.T, host *hosttest.Host, member string)) {
	host := hosttest.Start(t, hosttest.Families...)
	for _, family := range hosttest.Families {
		t.Run(family, func(t *testing.T) { test(t, host, family) })
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func entry(index, term uint64) *raft.Log {
	return &raft.Log{
		Index: index, Term: term, Type: raft.LogCommand,
		Data: fmt.Appendf(nil, "entry %d of term %d", index, term),
	}
}

func entries(first, last, term uint64) []*raft.Log {
	var logs []*raft.Log
	for index := first; index <= last; index++ {
		logs = append(logs, entry(index, term))
	}
	return logs
}

// requireLog holds that the log is exactly these entries.
func requireLog(t *testing.T, store raft.LogStore, want ...*raft.Log) {
	t.Helper()
	var wantFirst, wantLast uint64
	if len(want) > 0 {
		wantFirst, wantLast = want[0].Index, want[len(want)-1].Index
	}
	first, err := store.FirstIndex()
	must(t, err)
	last, err := store.LastIndex()
	must(t, err)
	if first != wantFirst || last != wantLast {
		t.Fatalf("the log is %d..%d, want %d..%d", first, last, wantFirst, wantLast)
	}
	for _, log := range want {
		requireEntry(t, store, log)
	}
	for _, outside := range []uint64{wantFirst - 1, wantLast + 1} {
		if err := store.GetLog(outside, new(raft.Log)); err != raft.ErrLogNotFound {
			t.Fatalf("entry %d: %v, want raft.ErrLogNotFound itself", outside, err)
		}
	}
}

func requireEntry(t *testing.T, store raft.LogStore, want *raft.Log) {
	t.Helper()
	var got raft.Log
	if err := store.GetLog(want.Index, &got); err != nil {
		t.Fatalf("entry %d: %v", want.Index, err)
	}
	same := got.Index == want.Index && got.Term == want.Term && got.Type == want.Type &&
		sameBytes(got.Data, want.Data) && sameBytes(got.Extensions, want.Extensions) &&
		got.AppendedAt.Equal(want.AppendedAt)
	if !same {
		t.Fatalf("entry %d is %+v, want %+v", want.Index, got, *want)
	}
}

// sameBytes tells nil from empty.
func sameBytes(a, b []byte) bool { return (a == nil) == (b == nil) && string(a) == string(b) }
