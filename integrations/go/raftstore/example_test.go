package raftstore_test

import (
	"context"
	"log"
	"os"
	"time"

	"github.com/hashicorp/raft"

	"quorumshift.dev/integrations/go/raftstore"
)

// A node whose state is in the storage host of its machine.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	store, err := raftstore.Open(ctx, raftstore.Options{
		Socket: "/run/quorumshift/host.sock", Cluster: "kv", Member: "n1",
	})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	// The leader reads each entry again for its followers: from memory, then.
	logs, err := raft.NewLogCache(512, store)
	if err != nil {
		log.Fatal(err)
	}
	transport, err := raft.NewTCPTransport("127.0.0.1:8101", nil, 3, 10*time.Second, os.Stderr)
	if err != nil {
		log.Fatal(err)
	}
	config := raft.DefaultConfig()
	config.LocalID = "n1"
	var fsm raft.FSM // yours
	node, err := raft.NewRaft(config, fsm, logs, store, store.Snapshots(), transport)
	if err != nil {
		log.Fatal(err)
	}

	// Once another process has opened the replica this one must not go on.
	<-store.Done()
	node.Shutdown()
	log.Fatal(store.Err())
}
