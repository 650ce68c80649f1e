package raftstore

import (
	"context"
	"io"
	"sync"

	"quorumshift.dev/integrations/go/hostpb"
)

// partBytes bounds one message: the host takes 64 of them in advance.
const partBytes = 256 << 10

// sink streams one snapshot to the host.
type sink struct {
	store    *Store
	id       string
	metadata *hostpb.SnapshotMetadata
	stream   hostpb.StorageHost_WriteSnapshotClient
	cancel   context.CancelFunc

	mu sync.Mutex
	// done: closed, cancelled, or failed with err.
	done bool
	err  error
}

func newSink(store *Store, id string, metadata *hostpb.SnapshotMetadata) (*sink, error) {
	epoch, err := store.session.await()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(store.life)
	stream, err := store.session.client.WriteSnapshot(ctx)
	if err != nil {
		cancel()
		_, failed := fromHost(err, nil)
		return nil, failed
	}
	s := &sink{store: store, id: id, metadata: metadata, stream: stream, cancel: cancel}
	s.send(&hostpb.WriteSnapshotRequest{Part: &hostpb.WriteSnapshotRequest_Begin{
		Begin: &hostpb.SnapshotBegin{Replica: store.session.replica, Epoch: epoch, Metadata: metadata},
	}})
	s.send(&hostpb.WriteSnapshotRequest{Part: &hostpb.WriteSnapshotRequest_File{
		File: &hostpb.SnapshotFile{Path: snapshotFile},
	}})
	return s, s.err
}

// ID names the snapshot for [raft.SnapshotStore.Open].
func (s *sink) ID() string { return s.id }

// Write sends bytes; they are not durable before Close.
func (s *sink) Write(bytes []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return 0, s.ended()
	}
	for sent := 0; sent < len(bytes); sent += partBytes {
		part := bytes[sent:min(sent+partBytes, len(bytes))]
		s.send(&hostpb.WriteSnapshotRequest{Part: &hostpb.WriteSnapshotRequest_Bytes{Bytes: part}})
		if s.err != nil {
			return sent, s.err
		}
	}
	return len(bytes), nil
}

// Close publishes the snapshot: whole and durable when it returns nil, and otherwise not there. When
// the host went away while it published, Close waits for it and looks.
func (s *sink) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return s.err
	}
	s.done = true
	defer s.cancel()
	// Of a send that fails the answer says why.
	_ = s.stream.Send(&hostpb.WriteSnapshotRequest{Part: &hostpb.WriteSnapshotRequest_End{
		End: &hostpb.SnapshotEnd{Sequence: 1},
	}})
	if _, err := s.stream.CloseAndRecv(); err != nil {
		s.err = s.settle(err)
	}
	if s.err == nil {
		s.store.session.queue.published(uint64(s.metadata.LastIncludedIndex))
	}
	return s.err
}

// settle finds out what became of a publication whose answer is an error.
func (s *sink) settle(err error) error {
	meaning, failed := fromHost(err, s.stream.Trailer())
	if meaning == refused || notBegun[codeOf(failed)] {
		return failed
	}
	state, err := s.store.session.reopen()
	if err != nil {
		return err
	}
	if string(state.GetSnapshot().GetAuxiliary()[auxID]) == s.id {
		return nil
	}
	return failed
}

// Cancel leaves nothing of the snapshot; it does nothing after Close.
func (s *sink) Cancel() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return nil
	}
	s.done = true
	s.err = &Error{Message: "Cannot go on with snapshot " + s.id + ": it is cancelled"}
	s.cancel()
	return nil
}

// send sends one part; s.err says why it could not.
func (s *sink) send(request *hostpb.WriteSnapshotRequest) {
	if s.err != nil || s.stream.Send(request) == nil {
		return
	}
	// The reason is in the answer.
	_, err := s.stream.CloseAndRecv()
	_, s.err = fromHost(err, s.stream.Trailer())
	s.done = true
	s.cancel()
}

func (s *sink) ended() error {
	if s.err != nil {
		return s.err
	}
	return &Error{Message: "Cannot write to snapshot " + s.id + ": it is closed", Cause: io.ErrClosedPipe}
}
