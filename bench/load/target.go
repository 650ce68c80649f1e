package main

import (
	"context"
	"flag"
	"fmt"
	"path/filepath"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	wal "github.com/hashicorp/raft-wal"

	"quorumshift.dev/integrations/go/raftstore"
)

// target is a log store, and how to append to it without waiting.
type target struct {
	raft.LogStore
	append func([]*raft.Log) raft.Future
}

func open() (*target, error) {
	kind := flag.String("store", "", "host, wal or boltdb")
	socket := flag.String("socket", "", "of the host")
	member := flag.String("member", "", "of the cluster \"bench\"")
	directory := flag.String("directory", "", "of raft-wal or raft-boltdb")
	flag.Parse()
	switch *kind {
	case "host":
		store, err := raftstore.Open(context.Background(), raftstore.Options{
			Socket: *socket, Cluster: "bench", Member: *member, Logger: hclog.NewNullLogger(),
		})
		if err != nil {
			return nil, err
		}
		return &target{LogStore: store, append: store.Append}, nil
	case "wal":
		store, err := wal.Open(*directory)
		return waiting(store), err
	case "boltdb":
		store, err := raftboltdb.NewBoltStore(filepath.Join(*directory, "raft.db"))
		return waiting(store), err
	}
	return nil, fmt.Errorf("--store must be host, wal or boltdb: it is %q", *kind)
}

// waiting makes a target of a store whose appends wait until they are durable.
func waiting(store raft.LogStore) *target {
	return &target{LogStore: store, append: func(logs []*raft.Log) raft.Future {
		return done{store.StoreLogs(logs)}
	}}
}

type done struct{ err error }

func (d done) Error() error { return d.err }

// next is the index that an append begins with.
func (t *target) next() (uint64, error) {
	last, err := t.LastIndex()
	return last + 1, err
}

// keep drops all but the newest entries, as a node does after a snapshot.
func (t *target) keep(newest uint64) error {
	first, err := t.FirstIndex()
	if err != nil || first == 0 {
		return err
	}
	last, err := t.LastIndex()
	if err != nil || last < first+newest {
		return err
	}
	return t.DeleteRange(first, last-newest)
}
