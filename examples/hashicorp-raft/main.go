// Command hashicorp-raft is one node of a replicated key-value store: hashicorp/raft, with its
// durable state in a Quorumshift storage host. Start a cluster of them with run.mjs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"quorumshift.dev/integrations/go/raftstore"
)

// cachedEntries covers what followers lag behind ordinarily, without a read from the host.
const cachedEntries = 512

// shutdownWait is for a host that answers; with it gone the node ends all the same.
const shutdownWait = 5 * time.Second

type options struct {
	id, address, socket, cluster string
	// bootstrap is the first configuration, id=address,…; empty for a node that is added later.
	bootstrap string
	// trailingLogs stay after a snapshot; a follower further behind gets the snapshot. 0: raft's own.
	trailingLogs uint64
	// electionTimeout of a follower that hears no leader; 0: raft's own.
	electionTimeout time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.id, "id", "", "the node's name, and its member name at the storage host")
	flag.StringVar(&o.address, "address", "", "IPv4:port of Raft; HTTP listens on the next port")
	flag.StringVar(&o.socket, "socket", "", "the storage host's socket")
	flag.StringVar(&o.cluster, "cluster", "kv", "the cluster's name at the storage host")
	flag.StringVar(&o.bootstrap, "bootstrap", "", "the first members: id=address,id=address,…")
	flag.Uint64Var(&o.trailingLogs, "trailing-logs", 0, "entries kept after a snapshot; 0: raft's own")
	flag.DurationVar(&o.electionTimeout, "election-timeout", 0, "without a leader's heartbeat, such as 3s; 0: raft's own")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "hashicorp-raft:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	logger := hclog.New(&hclog.LoggerOptions{Name: o.id, Level: hclog.Info})
	store, err := raftstore.Open(ctx, raftstore.Options{
		Socket: o.socket, Cluster: o.cluster, Member: o.id, Logger: logger,
	})
	if err != nil {
		return err
	}
	defer store.Close()
	state := newKeyValues()
	cache, err := raft.NewLogCache(cachedEntries, store)
	if err != nil {
		return err
	}
	logs := &configurationLog{LogCache: cache}
	node, err := startRaft(o, stores{logs, store}, state, logger)
	if err != nil {
		return err
	}
	handler := &api{node: node, state: state, configurations: logs, id: o.id}
	server, failed, err := serve(o.address, handler)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
	case <-store.Done():
		return store.Err()
	case err := <-failed:
		return err
	}
	server.Close()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		_ = node.Shutdown().Error()
	}()
	select {
	case <-stopped:
	case <-time.After(shutdownWait):
	}
	return nil
}

type stores struct {
	logs   *configurationLog
	stable *raftstore.Store
}

func startRaft(
	o options,
	s stores,
	state *keyValues,
	logger hclog.Logger,
) (*raft.Raft, error) {
	logs, store := s.logs, s.stable
	transport, err := raft.NewTCPTransport(o.address, nil, 3, 10*time.Second, os.Stderr)
	if err != nil {
		return nil, err
	}
	config := raft.DefaultConfig()
	config.LocalID = raft.ServerID(o.id)
	config.Logger = logger
	if o.trailingLogs > 0 {
		config.TrailingLogs = o.trailingLogs
	}
	if o.electionTimeout > 0 {
		config.HeartbeatTimeout, config.ElectionTimeout = o.electionTimeout, o.electionTimeout
		config.LeaderLeaseTimeout = o.electionTimeout / 2
	}
	snapshots := store.Snapshots()
	known, err := raft.HasExistingState(logs, store, snapshots)
	if err != nil {
		return nil, err
	}
	if !known && o.bootstrap != "" {
		members, err := parseMembers(o.bootstrap)
		if err != nil {
			return nil, err
		}
		if err := raft.BootstrapCluster(config, logs, store, snapshots, transport, members); err != nil {
			return nil, err
		}
	}
	return raft.NewRaft(config, state, logs, store, snapshots, transport)
}

func parseMembers(text string) (raft.Configuration, error) {
	var members raft.Configuration
	for _, member := range strings.Split(text, ",") {
		id, address, ok := strings.Cut(member, "=")
		if !ok {
			return members, fmt.Errorf("cannot bootstrap with %q: it must be id=address,…", text)
		}
		members.Servers = append(members.Servers, raft.Server{
			ID: raft.ServerID(id), Address: raft.ServerAddress(address),
		})
	}
	return members, nil
}

func serve(raftAddress string, handler *api) (*http.Server, <-chan error, error) {
	address, err := httpAddress(raftAddress)
	if err != nil {
		return nil, nil, err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, nil, err
	}
	server := &http.Server{Handler: handler.routes(), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			failed <- err
		}
	}()
	return server, failed, nil
}
