package raftstore_test

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"quorumshift.dev/integrations/go/internal/hosttest"
	"quorumshift.dev/integrations/go/raftstore"
)

// pipelined are appends that follow one another, and now and then replace what has just been given;
// then what the log is at the end.
func pipelined(appends, each uint64) (given [][]*raft.Log, want []*raft.Log) {
	term := uint64(1)
	for i := range appends {
		first := i*each + 1
		if i%10 == 9 {
			given = append(given, entries(first, first+2, term))
			term++
		}
		logs := entries(first, first+each-1, term)
		given, want = append(given, logs), append(want, logs...)
	}
	return given, want
}

func TestPipelineGoesOnThroughKillsOfTheHost(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T, host *hosttest.Host, member string) {
		store := open(t, host, member)
		const kills = 2
		given, want := pipelined(500, 5)
		futures := make(chan raft.Future, 64)
		go func() {
			defer close(futures)
			for _, logs := range given {
				futures <- store.Append(logs)
			}
		}()
		answered := 0
		for future := range futures {
			must(t, future.Error())
			answered++
			if answered%(len(given)/(kills+1)) == 0 && answered < len(given) {
				host.End(syscall.SIGKILL)
				host.Run()
			}
		}
		requireLog(t, store, want...)
		must(t, store.Close())
		requireLog(t, open(t, host, member), want...)
	})
}

func TestCallsWaitWhileTheHostIsAway(t *testing.T) {
	t.Parallel()
	host := hosttest.Start(t, "local")
	store := open(t, host, "local")
	must(t, store.StoreLogs(entries(1, 300, 1)))
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		host.End(signal)
		calls := map[string]func() error{
			"term":   func() error { return store.SetUint64([]byte("CurrentTerm"), 2) },
			"append": func() error { return store.StoreLogs(entries(301, 302, 2)) },
			"read":   func() error { return store.GetLog(1, new(raft.Log)) },
			"list":   func() error { _, err := store.Snapshots().List(); return err },
		}
		results := make(chan error, len(calls))
		for name, call := range calls {
			go func() {
				if err := call(); err != nil {
					results <- fmt.Errorf("%s: %w", name, err)
					return
				}
				results <- nil
			}()
		}
		select {
		case err := <-results:
			t.Fatalf("a call did not wait: %v", err)
		case <-time.After(300 * time.Millisecond):
		}
		host.Run()
		for range calls {
			must(t, <-results)
		}
	}
	requireLog(t, store, append(entries(1, 300, 1), entries(301, 302, 2)...)...)
}

func TestCloseEndsCallsThatWait(t *testing.T) {
	t.Parallel()
	host := hosttest.Start(t, "local")
	store := open(t, host, "local")
	host.End(syscall.SIGKILL)
	waiting := make(chan error)
	go func() { waiting <- store.StoreLog(entry(1, 1)) }()
	time.Sleep(100 * time.Millisecond)
	must(t, store.Close())
	if err := <-waiting; !errors.Is(err, raftstore.ErrClosed) {
		t.Fatalf("got %v", err)
	}
	if err := store.StoreLog(entry(1, 1)); !errors.Is(err, raftstore.ErrClosed) {
		t.Fatalf("got %v", err)
	}
}

func TestOpenWaitsForTheHostAsLongAsItsContext(t *testing.T) {
	t.Parallel()
	host := hosttest.Start(t, "local")
	options := raftstore.Options{Socket: host.Socket, Cluster: hosttest.Cluster, Member: "local"}
	host.End(syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if _, err := raftstore.Open(ctx, options); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	host.Run()
	options.Member = "absent"
	_, err := raftstore.Open(context.Background(), options)
	requireCode(t, err, "session.unknown-replica")
	_, err = raftstore.Open(context.Background(), raftstore.Options{})
	requireError(t, err, "Options.Socket must be set")
}

func TestStoreThatAnotherHasFencedFailsForGood(t *testing.T) {
	t.Parallel()
	host := hosttest.Start(t, "rocksdb")
	first := open(t, host, "rocksdb")
	must(t, first.StoreLogs(entries(1, 3, 1)))
	second := open(t, host, "rocksdb")
	for range 2 {
		if err := first.StoreLogs(entries(4, 4, 1)); !errors.Is(err, raftstore.ErrFenced) {
			t.Fatalf("got %v", err)
		}
	}
	if err := first.GetLog(1, new(raft.Log)); !errors.Is(err, raftstore.ErrFenced) {
		t.Fatalf("got %v", err)
	}
	<-first.Done()
	if !errors.Is(first.Err(), raftstore.ErrFenced) || second.Err() != nil {
		t.Fatalf("the fenced one says %v, the other %v", first.Err(), second.Err())
	}
	// The other is not disturbed, and stays the owner when the host restarts.
	must(t, second.StoreLogs(entries(4, 5, 1)))
	host.End(syscall.SIGKILL)
	host.Run()
	must(t, second.StoreLogs(entries(6, 6, 1)))
	requireLog(t, second, entries(1, 6, 1)...)
}

func TestStoreFencedWhileTheHostWasAwayDoesNotTakeTheReplicaBack(t *testing.T) {
	t.Parallel()
	host := hosttest.Start(t, "local")
	first := open(t, host, "local")
	must(t, first.StoreLogs(entries(1, 3, 1)))
	host.End(syscall.SIGKILL)
	opened := make(chan *raftstore.Store)
	go func() {
		store, err := raftstore.Open(context.Background(), raftstore.Options{
			Socket: host.Socket, Cluster: hosttest.Cluster, Member: "local",
		})
		if err != nil {
			t.Error(err)
		}
		opened <- store
	}()
	host.Run()
	second := <-opened
	defer second.Close()
	// Whichever came first: the one that opened anew owns it in the end.
	must(t, second.StoreLogs(entries(4, 4, 1)))
	if err := first.StoreLogs(entries(4, 4, 1)); !errors.Is(err, raftstore.ErrFenced) {
		t.Fatalf("got %v", err)
	}
	must(t, second.StoreLogs(entries(5, 6, 1)))
}
