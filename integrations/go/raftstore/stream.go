package raftstore

import (
	"context"
	"fmt"

	"google.golang.org/grpc/metadata"

	"quorumshift.dev/integrations/go/hostpb"
)

// serve runs one stream to its end; nil: open again.
func (s *session) serve(ctx context.Context) error {
	streamContext, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	s.restart = cancel
	s.mu.Unlock()
	stream, err := s.client.Write(streamContext)
	if err != nil {
		return s.broken(ctx, err, nil)
	}
	s.setReady(true)
	defer s.setReady(false)
	ended := make(chan error, 1)
	go func() { ended <- s.receive(stream) }()
	err = s.send(streamContext, stream, ended)
	return s.broken(ctx, err, stream.Trailer())
}

// send sends what the queue gives until the stream has ended, and gives its end.
func (s *session) send(
	ctx context.Context,
	stream hostpb.StorageHost_WriteClient,
	ended <-chan error,
) error {
	epoch := s.epoch()
	for {
		w := s.queue.next()
		if w == nil {
			select {
			case <-s.queue.wake:
			case err := <-ended:
				return err
			}
			continue
		}
		request := &hostpb.WriteRequest{
			Replica: s.replica, Epoch: epoch, Sequence: w.sequence, Mutation: w.planned.mutation,
		}
		if stream.Send(request) != nil {
			// The receiver has, or will have, the reason.
			return <-ended
		}
	}
}

func (s *session) receive(stream hostpb.StorageHost_WriteClient) error {
	for {
		response, err := stream.Recv()
		if err != nil {
			return err
		}
		if !s.queue.answer(response.Sequence) {
			return &Error{Message: fmt.Sprintf("the host answered %d out of turn", response.Sequence)}
		}
		s.pause = 0
	}
}

// broken acts on the end of a stream; nil: open again.
func (s *session) broken(ctx context.Context, err error, trailer metadata.MD) error {
	if ctx.Err() != nil {
		return ErrClosed
	}
	meaning, failed := fromHost(err, trailer)
	isRefusal := meaning == refused || (meaning == faulted && s.queue.firstIsOfLog())
	if isRefusal && s.queue.refuse(failed) {
		s.log.Warn("write refused", "error", failed)
		return nil
	}
	s.line("session broken", failed)
	return s.backOff(ctx)
}
