package raftstore_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"quorumshift.dev/integrations/go/internal/hosttest"
	"quorumshift.dev/integrations/go/raftstore"
)

// A node of a real cluster, whose FSM keeps the commands in their order.
type node struct {
	*raft.Raft
	store     *raftstore.Store
	transport *raft.InmemTransport
	fsm       *raft.MockFSM
}

func address(member string) raft.ServerAddress {
	// The local family keeps votes that are IPv4 addresses.
	return raft.ServerAddress(map[string]string{
		"local": "127.0.0.1:7001", "rocksdb": "127.0.0.1:7002", "sqlite": "127.0.0.1:7003",
	}[member])
}

func config(member string) *raft.Config {
	config := raft.DefaultConfig()
	config.LocalID = raft.ServerID(member)
	config.Logger = hclog.NewNullLogger()
	config.HeartbeatTimeout, config.ElectionTimeout = 300*time.Millisecond, 300*time.Millisecond
	config.LeaderLeaseTimeout = 200 * time.Millisecond
	config.TrailingLogs, config.SnapshotThreshold = 20, 1<<40
	return config
}

func startNode(t *testing.T, host *hosttest.Host, member string) *node {
	t.Helper()
	store := open(t, host, member)
	logs, err := raft.NewLogCache(64, store)
	must(t, err)
	_, transport := raft.NewInmemTransport(address(member))
	fsm := &raft.MockFSM{}
	running, err := raft.NewRaft(config(member), fsm, logs, store, store.Snapshots(), transport)
	must(t, err)
	n := &node{running, store, transport, fsm}
	t.Cleanup(n.stop)
	return n
}

func (n *node) stop() {
	_ = n.Shutdown().Error()
	_ = n.store.Close()
}

func connect(nodes ...*node) {
	for _, a := range nodes {
		for _, b := range nodes {
			a.transport.Connect(b.transport.LocalAddr(), b.transport)
		}
	}
}

func leaderOf(t *testing.T, nodes ...*node) *node {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		for _, n := range nodes {
			if n.State() == raft.Leader {
				return n
			}
		}
	}
	t.Fatal("no leader")
	return nil
}

// apply commits a command on whichever node leads, and may do so twice.
func apply(t *testing.T, command string, nodes ...*node) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if leaderOf(t, nodes...).Apply([]byte(command), patience).Error() == nil {
			return
		}
	}
	t.Fatalf("%s is not committed", command)
}

func requireApplied(t *testing.T, n *node, commands []string) {
	t.Helper()
	var missing string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		applied := map[string]bool{}
		for _, command := range n.fsm.Logs() {
			applied[string(command)] = true
		}
		missing = ""
		for _, command := range commands {
			if !applied[command] {
				missing = command
			}
		}
		if missing == "" {
			return
		}
	}
	t.Fatalf("%s was acknowledged and is not there", missing)
}

func TestClusterOfThreeFamiliesThroughKillsSnapshotsAndRecovery(t *testing.T) {
	t.Parallel()
	host := hosttest.Start(t, hosttest.Families...)
	a, b := startNode(t, host, "local"), startNode(t, host, "rocksdb")
	connect(a, b)
	must(t, a.BootstrapCluster(raft.Configuration{Servers: []raft.Server{
		{ID: "local", Address: address("local")}, {ID: "rocksdb", Address: address("rocksdb")},
	}}).Error())
	var commands []string
	for i := range 60 {
		commands = append(commands, fmt.Sprintf("command %d", i))
		apply(t, commands[i], a, b)
		if i == 30 {
			host.End(syscall.SIGKILL)
			host.Run()
		}
	}
	for _, n := range []*node{a, b} {
		must(t, n.Snapshot().Error())
	}

	// One that joins now needs the snapshot, and then what follows it.
	c := startNode(t, host, "sqlite")
	connect(a, b, c)
	must(t, leaderOf(t, a, b).AddVoter("sqlite", address("sqlite"), 0, patience).Error())
	commands = append(commands, "after the snapshot")
	apply(t, "after the snapshot", a, b)
	for _, n := range []*node{a, b, c} {
		requireApplied(t, n, commands)
	}
	if first, err := c.store.FirstIndex(); err != nil || first < 50 {
		t.Fatalf("the log begins at %d, %v: the snapshot was not installed", first, err)
	}

	// A user's own snapshot is restored over everything.
	meta, source, err := a.store.Snapshots().Open(latestID(t, a.store))
	must(t, err)
	must(t, leaderOf(t, a, b, c).Restore(meta, source, patience))
	must(t, source.Close())
	apply(t, "after the restore", a, b, c)
	for _, n := range []*node{a, b, c} {
		requireApplied(t, n, []string{"after the restore"})
	}
	for _, n := range []*node{a, b, c} {
		n.stop()
	}

	// Two of three are lost: the library recovers the last one with a configuration of one.
	store := open(t, host, "sqlite")
	_, transport := raft.NewInmemTransport(address("sqlite"))
	alone := raft.Configuration{Servers: []raft.Server{{ID: "sqlite", Address: address("sqlite")}}}
	must(t, raft.RecoverCluster(config("sqlite"), &raft.MockFSM{}, store, store, store.Snapshots(), transport, alone))
	must(t, store.Close())
	last := startNode(t, host, "sqlite")
	apply(t, "after the recovery", last)
	requireApplied(t, last, []string{"command 0", "after the restore", "after the recovery"})
}

func latestID(t *testing.T, store *raftstore.Store) string {
	t.Helper()
	list, err := store.Snapshots().List()
	must(t, err)
	if len(list) != 1 {
		t.Fatalf("%d snapshots", len(list))
	}
	return list[0].ID
}
