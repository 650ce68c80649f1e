package raftstore

import (
	"context"
	"fmt"
	"io"

	"github.com/hashicorp/raft"

	"quorumshift.dev/integrations/go/hostpb"
)

// snapshotReader gives a snapshot's bytes as they come, and checks that all come.
type snapshotReader struct {
	meta   *raft.SnapshotMeta
	stream hostpb.StorageHost_ReadSnapshotClient
	cancel context.CancelFunc
	// rest is what came and is not read yet; left, what is still to be read.
	rest []byte
	left int64
	err  error
}

// readHead takes what stands before the bytes; nil when there is no snapshot.
func readHead(
	stream hostpb.StorageHost_ReadSnapshotClient,
	cancel context.CancelFunc,
) (*snapshotReader, error) {
	head, err := stream.Recv()
	if err == io.EOF {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	file, err := stream.Recv()
	if err != nil && err != io.EOF {
		return nil, err
	}
	if file.GetFile().GetPath() != snapshotFile {
		return nil, foreignSnapshot("it holds no " + snapshotFile)
	}
	meta, err := metaOf(head.GetMetadata(), file.GetFile().GetBytes())
	if err != nil {
		return nil, err
	}
	return &snapshotReader{meta: meta, stream: stream, cancel: cancel, left: meta.Size}, nil
}

func (r *snapshotReader) Read(to []byte) (int, error) {
	for len(r.rest) == 0 && r.left > 0 && r.err == nil {
		part, err := r.stream.Recv()
		if err != nil {
			r.err = r.ended(err)
		}
		r.rest = part.GetBytes()
	}
	if r.err != nil {
		return 0, r.err
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	n := copy(to, r.rest[:min(int64(len(r.rest)), r.left)])
	r.rest = r.rest[n:]
	r.left -= int64(n)
	return n, nil
}

func (r *snapshotReader) ended(err error) error {
	if err == io.EOF {
		return fmt.Errorf("raftstore: snapshot %s ends %d bytes early: %w",
			r.meta.ID, r.left, io.ErrUnexpectedEOF)
	}
	_, failed := fromHost(err, r.stream.Trailer())
	return failed
}

// Close lets go of the snapshot.
func (r *snapshotReader) Close() error {
	r.cancel()
	return nil
}
