package raftstore_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"quorumshift.dev/integrations/go/internal/hosttest"
)

// block makes the host's write of a file fail: a directory has the name of its temporary file.
func block(t *testing.T, host *hosttest.Host, path string) (unblock func()) {
	t.Helper()
	temporary := filepath.Join(host.Directory, path+".tmp")
	must(t, os.MkdirAll(filepath.Join(temporary, "not empty"), 0o700))
	return func() { must(t, os.RemoveAll(temporary)) }
}

func TestDeletionThatTheDiskFailsIsAnErrorAndTheStoreGoesOn(t *testing.T) {
	t.Parallel()
	host := hosttest.Start(t, "local")
	store := open(t, host, "local")
	must(t, store.StoreLogs(entries(1, 9, 1)))
	unblock := block(t, host, "local/log/log_meta")
	requireCode(t, store.DeleteRange(1, 3), "io.failed")
	unblock()
	must(t, store.StoreLogs(entries(10, 11, 1)))
	must(t, store.DeleteRange(1, 3))
	requireLog(t, store, entries(4, 11, 1)...)
}

func TestStableKeyWaitsForADiskThatFails(t *testing.T) {
	t.Parallel()
	host := hosttest.Start(t, "local")
	store := open(t, host, "local")
	must(t, store.SetUint64([]byte("CurrentTerm"), 1))
	unblock := block(t, host, "local/raft_meta/quorumshift_meta")
	saved := make(chan error, 1)
	go func() { saved <- store.SetUint64([]byte("CurrentTerm"), 2) }()
	select {
	case err := <-saved:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	unblock()
	must(t, <-saved)
	if term, err := store.GetUint64([]byte("CurrentTerm")); term != 2 || err != nil {
		t.Fatalf("the term is %d, %v", term, err)
	}
}
