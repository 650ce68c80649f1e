package raftstore_test

import (
	"testing"

	"github.com/hashicorp/raft"
	raftbench "github.com/hashicorp/raft/bench"

	"quorumshift.dev/integrations/go/internal/hosttest"
)

// The library's own benchmarks of a store, on the rocksdb family; those that begin at index 1.
func BenchmarkLibrary(b *testing.B) {
	store := open(b, hosttest.Start(b, "rocksdb"), "rocksdb")
	b.Run("StoreLogs", func(b *testing.B) { raftbench.StoreLogs(b, store) })
	must(b, store.DeleteRange(0, 1<<62))
	b.Run("GetLog", func(b *testing.B) { raftbench.GetLog(b, store) })
	b.Run("FirstIndex", func(b *testing.B) { raftbench.FirstIndex(b, store) })
	b.Run("LastIndex", func(b *testing.B) { raftbench.LastIndex(b, store) })
	b.Run("Set", func(b *testing.B) { raftbench.Set(b, store) })
	b.Run("Get", func(b *testing.B) { raftbench.Get(b, store) })
}

// Appends of one KiB, so many in flight.
func BenchmarkAppend(b *testing.B) {
	for _, inFlight := range []int{1, 16, 64} {
		b.Run(map[int]string{1: "1", 16: "16", 64: "64"}[inFlight], func(b *testing.B) {
			store := open(b, hosttest.Start(b, "rocksdb"), "rocksdb")
			futures := make([]raft.Future, inFlight)
			data := make([]byte, 1024)
			b.SetBytes(int64(len(data)))
			for i := 0; b.Loop(); i++ {
				if previous := futures[i%inFlight]; previous != nil {
					must(b, previous.Error())
				}
				log := &raft.Log{Index: uint64(i) + 1, Term: 1, Data: data}
				futures[i%inFlight] = store.Append([]*raft.Log{log})
			}
		})
	}
}
