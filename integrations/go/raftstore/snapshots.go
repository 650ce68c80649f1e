package raftstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/hashicorp/raft"

	"quorumshift.dev/integrations/go/hostpb"
)

// snapshotFile is the one file of a snapshot's tree: what the FSM wrote. The name is that of
// raft.FileSnapshotStore.
const snapshotFile = "state.bin"

// snapshotVersion is what every release since 2016 writes; 0 is of servers without IDs.
const snapshotVersion = 1

// Auxiliary of a snapshot: texts and decimal numbers, but for the configuration. The size is that of
// the file.
const (
	auxID                 = "ID"
	auxVersion            = "Version"
	auxConfiguration      = "Configuration"
	auxConfigurationIndex = "ConfigurationIndex"
)

// Snapshots gives the replica's snapshots. The host keeps the latest; one that is being read stays
// until its reader is closed.
func (s *Store) Snapshots() raft.SnapshotStore { return snapshots{s} }

type snapshots struct{ store *Store }

// Create begins a snapshot, which nobody sees before its sink is closed. One is written at a time: a
// later Create ends an earlier sink, whose calls then fail. Peers, which servers of before 2016 read,
// is not kept.
func (s snapshots) Create(
	version raft.SnapshotVersion,
	index, term uint64,
	configuration raft.Configuration,
	configurationIndex uint64,
	_ raft.Transport,
) (raft.SnapshotSink, error) {
	if version != snapshotVersion {
		return nil, &Error{Message: fmt.Sprintf(
			"Cannot create a snapshot: its version must be %d: it is %d", snapshotVersion, version)}
	}
	id := fmt.Sprintf("%d-%d-%d", term, index, time.Now().UnixNano())
	return newSink(s.store, id, &hostpb.SnapshotMetadata{
		LastIncludedIndex: int64(index),
		LastIncludedTerm:  int64(term),
		Auxiliary: map[string][]byte{
			auxID:                 []byte(id),
			auxVersion:            strconv.AppendInt(nil, int64(version), 10),
			auxConfiguration:      raft.EncodeConfiguration(configuration),
			auxConfigurationIndex: strconv.AppendUint(nil, configurationIndex, 10),
		},
	})
}

// List gives the latest snapshot, or nothing when there is none.
func (s snapshots) List() ([]*raft.SnapshotMeta, error) {
	reader, err := s.latest()
	if err != nil || reader == nil {
		return nil, err
	}
	return []*raft.SnapshotMeta{reader.meta}, reader.Close()
}

// Open reads the snapshot of this ID; an error once a later one has replaced it. Reading fails when
// the host restarts: open it again.
func (s snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	reader, err := s.latest()
	if err != nil {
		return nil, nil, err
	}
	if reader == nil {
		return nil, nil, &Error{Message: fmt.Sprintf("Cannot open snapshot %s: there is none", id)}
	}
	if reader.meta.ID != id {
		reader.Close()
		return nil, nil, &Error{Message: fmt.Sprintf(
			"Cannot open snapshot %s: it must be the latest: that is %s", id, reader.meta.ID)}
	}
	return reader.meta, reader, nil
}

// latest opens the latest snapshot at the front of its bytes; nil when there is none. It waits while
// the host is away.
func (s snapshots) latest() (*snapshotReader, error) {
	var reader *snapshotReader
	err := s.store.session.retry(s.store.life, func(life context.Context) (meaning disposition, err error) {
		ctx, cancel := context.WithCancel(life)
		reader, meaning, err = s.readHead(ctx, cancel)
		if reader == nil {
			cancel()
		}
		return meaning, err
	})
	return reader, err
}

func (s snapshots) readHead(
	ctx context.Context,
	cancel context.CancelFunc,
) (*snapshotReader, disposition, error) {
	stream, err := s.store.session.client.ReadSnapshot(ctx, &hostpb.ReadSnapshotRequest{
		Replica: s.store.session.replica,
	})
	if err != nil {
		meaning, failed := fromHost(err, nil)
		return nil, meaning, failed
	}
	reader, err := readHead(stream, cancel)
	if err == nil || errors.As(err, new(*Error)) {
		return reader, refused, err
	}
	meaning, failed := fromHost(err, stream.Trailer())
	return nil, meaning, failed
}

func metaOf(given *hostpb.SnapshotMetadata, size uint64) (meta *raft.SnapshotMeta, err error) {
	defer func() {
		// DecodeConfiguration panics on what it does not know.
		if cause := recover(); cause != nil {
			err = foreignSnapshot(fmt.Sprint(cause))
		}
	}()
	aux := given.GetAuxiliary()
	version, err := strconv.Atoi(string(aux[auxVersion]))
	if err != nil {
		return nil, foreignSnapshot("it has no version")
	}
	configurationIndex, err := strconv.ParseUint(string(aux[auxConfigurationIndex]), 10, 64)
	if err != nil {
		return nil, foreignSnapshot("it has no configuration index")
	}
	return &raft.SnapshotMeta{
		Version:            raft.SnapshotVersion(version),
		ID:                 string(aux[auxID]),
		Index:              uint64(given.GetLastIncludedIndex()),
		Term:               uint64(given.GetLastIncludedTerm()),
		Configuration:      raft.DecodeConfiguration(aux[auxConfiguration]),
		ConfigurationIndex: configurationIndex,
		Size:               int64(size),
	}, nil
}

func foreignSnapshot(reason string) error {
	return &Error{Code: "data.corrupt", Message: "Cannot read the latest snapshot: hashicorp/raft must" +
		" have written it: " + reason}
}
