package raftstore_test

import (
	"bytes"
	"io"
	"math/rand"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/raft"

	"quorumshift.dev/integrations/go/internal/hosttest"
	"quorumshift.dev/integrations/go/raftstore"
)

var members = raft.Configuration{Servers: []raft.Server{
	{Suffrage: raft.Voter, ID: "n1", Address: "127.0.0.1:7001"},
	{Suffrage: raft.Nonvoter, ID: "n2", Address: "127.0.0.1:7002"},
}}

func createSnapshot(t *testing.T, store *raftstore.Store, index, term uint64) raft.SnapshotSink {
	t.Helper()
	sink, err := store.Snapshots().Create(1, index, term, members, 3, nil)
	must(t, err)
	return sink
}

func takeSnapshot(t *testing.T, store *raftstore.Store, index, term uint64, state string) string {
	t.Helper()
	sink := createSnapshot(t, store, index, term)
	_, err := io.Copy(sink, strings.NewReader(state))
	must(t, err)
	must(t, sink.Close())
	return sink.ID()
}

// requireSnapshot holds that the latest snapshot is this one, whole.
func requireSnapshot(t *testing.T, store *raftstore.Store, want raft.SnapshotMeta, state string) {
	t.Helper()
	list, err := store.Snapshots().List()
	must(t, err)
	want.Version, want.Configuration, want.ConfigurationIndex = 1, members, 3
	want.Size = int64(len(state))
	if len(list) != 1 || !reflect.DeepEqual(*list[0], want) {
		t.Fatalf("the snapshots are %+v, want %+v", list, want)
	}
	meta, reader, err := store.Snapshots().Open(want.ID)
	must(t, err)
	defer reader.Close()
	got, err := io.ReadAll(reader)
	must(t, err)
	if !reflect.DeepEqual(*meta, want) || string(got) != state {
		t.Fatalf("snapshot %+v has %d bytes, want %+v with %d", *meta, len(got), want, len(state))
	}
}

func TestSnapshots(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T, host *hosttest.Host, member string) {
		store := open(t, host, member)
		list, err := store.Snapshots().List()
		must(t, err)
		if len(list) != 0 {
			t.Fatalf("a new replica has snapshots: %+v", list)
		}
		_, _, err = store.Snapshots().Open("none")
		requireError(t, err, "there is none")

		random := make([]byte, 3<<20)
		rand.New(rand.NewSource(1)).Read(random)
		id := takeSnapshot(t, store, 10, 2, string(random))
		requireSnapshot(t, store, raft.SnapshotMeta{ID: id, Index: 10, Term: 2}, string(random))

		// Nothing of one that is not closed.
		cancelled := createSnapshot(t, store, 20, 2)
		_, err = cancelled.Write(random)
		must(t, err)
		must(t, cancelled.Cancel())
		must(t, cancelled.Cancel())
		_, err = cancelled.Write(random)
		requireError(t, err, "it is cancelled")
		requireSnapshot(t, store, raft.SnapshotMeta{ID: id, Index: 10, Term: 2}, string(random))

		// A reader keeps what it has opened; the library's recovery writes the same index again.
		_, reader, err := store.Snapshots().Open(id)
		must(t, err)
		again := takeSnapshot(t, store, 10, 2, "")
		requireSnapshot(t, store, raft.SnapshotMeta{ID: again, Index: 10, Term: 2}, "")
		kept, err := io.ReadAll(reader)
		must(t, err)
		must(t, reader.Close())
		if !bytes.Equal(kept, random) {
			t.Fatal("the reader lost what it had opened")
		}
		_, _, err = store.Snapshots().Open(id)
		requireError(t, err, "it must be the latest")

		older := createSnapshot(t, store, 9, 2)
		requireCode(t, older.Close(), "snapshot.older")
		_, err = store.Snapshots().Create(0, 11, 2, members, 3, nil)
		requireError(t, err, "its version must be 1")
		must(t, store.Close())
		store = open(t, host, member)
		requireSnapshot(t, store, raft.SnapshotMeta{ID: again, Index: 10, Term: 2}, "")
	})
}

func TestSnapshotFailsWhenTheHostRestartsAndTheNextSucceeds(t *testing.T) {
	t.Parallel()
	host := hosttest.Start(t, hosttest.Families...)
	stores := map[string]*raftstore.Store{}
	sinks := map[string]raft.SnapshotSink{}
	ids := map[string]string{}
	for _, family := range hosttest.Families {
		stores[family] = open(t, host, family)
		ids[family] = takeSnapshot(t, stores[family], 10, 2, "before")
		sinks[family] = createSnapshot(t, stores[family], 20, 2)
		_, err := sinks[family].Write(make([]byte, 1<<20))
		must(t, err)
	}
	host.End(syscall.SIGKILL)
	host.Run()
	for family, sink := range sinks {
		if err := sink.Close(); err == nil {
			t.Fatalf("%s: half a snapshot was published", family)
		}
		must(t, sink.Cancel())
		requireSnapshot(t, stores[family], raft.SnapshotMeta{ID: ids[family], Index: 10, Term: 2}, "before")
		id := takeSnapshot(t, stores[family], 20, 2, "after")
		requireSnapshot(t, stores[family], raft.SnapshotMeta{ID: id, Index: 20, Term: 2}, "after")
	}
}

func requireError(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Fatalf("got %v, want an error with %q", err, text)
	}
}

func TestSnapshotEndsAnEarlierOneAndIsPublishedWhateverThatOneDoes(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T, host *hosttest.Host, member string) {
		store := open(t, host, member)
		earlier := createSnapshot(t, store, 10, 2)
		_, err := earlier.Write([]byte("earlier"))
		must(t, err)
		later := createSnapshot(t, store, 20, 2)
		// Until the host has begun it, the earlier one may still be published.
		for i := 0; i < 8; i++ {
			_, err = later.Write(make([]byte, 1<<20))
			must(t, err)
		}
		if err := earlier.Close(); err == nil {
			t.Fatal("an earlier snapshot was published beside a later one")
		}
		must(t, later.Close())
		state := string(make([]byte, 8<<20))
		requireSnapshot(t, store, raft.SnapshotMeta{ID: later.ID(), Index: 20, Term: 2}, state)
	})
}
