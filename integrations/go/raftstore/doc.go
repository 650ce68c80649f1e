// Package raftstore keeps the durable state of a [github.com/hashicorp/raft] node in a Quorumshift
// storage host: a [raft.LogStore], a [raft.StableStore] and a [raft.SnapshotStore] over one session.
// The host can then move the state to another storage backend while the node runs.
//
//	store, err := raftstore.Open(ctx, raftstore.Options{
//		Socket: "/run/quorumshift/host.sock", Cluster: "kv", Member: "n1",
//	})
//	…
//	logs, err := raft.NewLogCache(512, store)
//	…
//	node, err := raft.NewRaft(config, fsm, logs, store, store.Snapshots(), transport)
//
// Use it under [raft.NewLogCache]: a leader reads each entry again for its followers.
//
// # Durability
//
// A call that returned nil is durable. Appends given together ([Store.Append], or more than one
// goroutine) travel in a pipeline and are made durable in groups; they are answered in order.
//
// # When the host is away
//
// The library panics when it cannot save its term. So a call waits while the host restarts, tries
// again, and gives what was not acknowledged again, which the host takes once. [Store.Close] ends
// the wait. What comes back as an error is a refusal that trying again would not change, a fault of
// the disk on an append or a deletion (the leader then steps down), or the end of the session.
//
// # One owner
//
// Opening a replica fences every earlier session of it. A fenced store fails with [ErrFenced] for
// good and is not opened again: two processes that each believe they are the replica must not take
// it from one another in turns.
package raftstore
