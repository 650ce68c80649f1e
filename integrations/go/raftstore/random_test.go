package raftstore_test

import (
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"quorumshift.dev/integrations/go/internal/hosttest"
	"quorumshift.dev/integrations/go/raftstore"
)

// model is what the store must hold.
type model struct {
	logs     []*raft.Log
	stable   map[string]string
	snapshot uint64
	term     uint64
}

func (m *model) last() uint64 {
	if len(m.logs) == 0 {
		return m.snapshot
	}
	return m.logs[len(m.logs)-1].Index
}

func (m *model) first() uint64 { return m.last() + 1 - uint64(len(m.logs)) }

// step does one thing to both, as the library would.
func (m *model) step(t *testing.T, store *raftstore.Store, random *rand.Rand) string {
	switch kind := random.Intn(10); {
	case kind < 4:
		first := m.last() + 1
		return m.store(t, store, random, first)
	case kind < 5 && len(m.logs) > 0:
		// After a failed append, or as a follower of a new leader.
		m.term++
		keep := random.Intn(len(m.logs))
		first := m.first() + uint64(keep)
		m.logs = m.logs[:keep]
		return m.store(t, store, random, first)
	case kind < 6 && len(m.logs) > 0:
		keep := random.Intn(len(m.logs))
		lowest, highest := m.first()+uint64(keep), m.last()
		must(t, store.DeleteRange(lowest, highest))
		m.term++
		m.logs = m.logs[:keep]
		if keep == 0 {
			// It goes on where it was cut.
			return fmt.Sprintf("delete %d..%d, then %s", lowest, highest, m.store(t, store, random, lowest))
		}
		return fmt.Sprintf("delete the suffix %d..%d", lowest, highest)
	case kind < 7 && len(m.logs) > 2:
		// A snapshot, and compaction up to it or less.
		snapshot := m.first() + uint64(random.Intn(len(m.logs)))
		if snapshot < m.snapshot {
			return "nothing"
		}
		takeSnapshotAnew(t, store, snapshot, m.term)
		m.snapshot = snapshot
		drop := random.Intn(int(snapshot-m.first())+1) + 1
		must(t, store.DeleteRange(m.first(), m.first()+uint64(drop)-1))
		m.logs = m.logs[drop:]
		return fmt.Sprintf("snapshot %d, delete the prefix of %d", snapshot, drop)
	case kind < 8:
		// InstallSnapshot: beyond the log, which is emptied.
		snapshot := max(m.last(), m.snapshot) + uint64(random.Intn(20)) + 1
		takeSnapshotAnew(t, store, snapshot, m.term)
		last, err := store.LastIndex()
		must(t, err)
		must(t, store.DeleteRange(1, last))
		m.logs, m.snapshot = nil, snapshot
		return fmt.Sprintf("install snapshot %d", snapshot)
	}
	key, value := fmt.Sprintf("key %d", random.Intn(5)), fmt.Sprintf("value %d", random.Int())
	must(t, store.Set([]byte(key), []byte(value)))
	m.stable[key] = value
	return "set " + key
}

func (m *model) store(t *testing.T, store *raftstore.Store, random *rand.Rand, first uint64) string {
	logs := entries(first, first+uint64(random.Intn(30)), m.term)
	must(t, store.StoreLogs(logs))
	m.logs = append(m.logs, logs...)
	return fmt.Sprintf("store %d..%d", first, m.last())
}

// takeSnapshotAnew tries again as the library does.
func takeSnapshotAnew(t *testing.T, store *raftstore.Store, index, term uint64) {
	t.Helper()
	var err error
	for range 10 {
		var sink raft.SnapshotSink
		if sink, err = store.Snapshots().Create(1, index, term, members, 3, nil); err == nil {
			_, _ = sink.Write([]byte("state"))
			if err = sink.Close(); err == nil {
				return
			}
		}
	}
	t.Fatal(err)
}

func (m *model) check(t *testing.T, store *raftstore.Store) {
	t.Helper()
	requireLog(t, store, m.logs...)
	for key, want := range m.stable {
		if got, err := store.Get([]byte(key)); err != nil || string(got) != want {
			t.Fatalf("%s is %q, %v; want %q", key, got, err, want)
		}
	}
	list, err := store.Snapshots().List()
	must(t, err)
	if m.snapshot > 0 && (len(list) != 1 || list[0].Index != m.snapshot) {
		t.Fatalf("the snapshots are %+v, want %d", list, m.snapshot)
	}
}

// QUORUMSHIFT_TEST_SEED reproduces a failure's operations; the kills' moments are the machine's.
func TestRandomOperationsThroughKillsAreWhatAModelSays(t *testing.T) {
	t.Parallel()
	seed := time.Now().UnixNano()
	if given, err := strconv.ParseInt(os.Getenv("QUORUMSHIFT_TEST_SEED"), 10, 64); err == nil {
		seed = given
	}
	const steps, kills = 150, 5
	host := hosttest.Start(t, hosttest.Families...)
	var working sync.WaitGroup
	stop := make(chan struct{})
	var progress atomic.Int64
	for _, family := range hosttest.Families {
		working.Go(func() {
			store := open(t, host, family)
			random := rand.New(rand.NewSource(seed))
			m := &model{stable: map[string]string{}, term: 1}
			var done []string
			defer func() {
				if t.Failed() {
					t.Logf("seed %d, %s: %v", seed, family, done)
				}
			}()
			for count := 0; count < steps || !closed(stop); count++ {
				done = append(done, m.step(t, store, random))
				m.check(t, store)
				progress.Add(1)
			}
			must(t, store.Close())
			m.check(t, open(t, host, family))
		})
	}
	random := rand.New(rand.NewSource(seed))
	for range kills {
		for until := progress.Load() + int64(random.Intn(60)); progress.Load() < until && !t.Failed(); {
			time.Sleep(time.Millisecond)
		}
		host.End(syscall.SIGKILL)
		host.Run()
	}
	close(stop)
	working.Wait()
}

func closed(channel <-chan struct{}) bool {
	select {
	case <-channel:
		return true
	default:
		return false
	}
}
