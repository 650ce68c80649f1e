package raftstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"quorumshift.dev/integrations/go/hostpb"
)

const (
	protocolMajor = 1
	// From this minor on a session can be resumed, and no other process's.
	protocolMinor = 1

	firstPause = 20 * time.Millisecond
	// Short enough that a node goes on at once when its host is back; an attempt costs little.
	longestPause = 200 * time.Millisecond
	// A line for each attempt would bury the log of a node whose host stays away.
	linesEvery = 10 * time.Second
)

// session keeps one session with the host alive: it opens, sends what the queue holds, and opens
// again when the stream breaks. One goroutine runs it.
type session struct {
	client  hostpb.StorageHostClient
	replica *hostpb.ReplicaName
	name    string
	// says is for the host's log; opener tells this life of the store from any other.
	says, opener string
	log          hclog.Logger
	queue        *writeQueue

	mu sync.Mutex
	// opened is what the host last answered; epoch 0: never. ready is closed while a stream is up.
	opened *hostpb.OpenResponse
	limits *hostpb.DescribeResponse
	ready  chan struct{}
	// restart breaks the present stream.
	restart context.CancelFunc

	pause      time.Duration
	lastLineAt time.Time
}

func newSession(options Options, client hostpb.StorageHostClient) *session {
	return &session{
		client:  client,
		replica: &hostpb.ReplicaName{Cluster: options.Cluster, Member: options.Member},
		name:    options.Cluster + "/" + options.Member,
		says:    options.Client,
		opener:  newOpener(),
		log:     options.Logger,
		queue:   newWriteQueue(),
		ready:   make(chan struct{}),
	}
}

// run sends until the context ends, or the session cannot go on; it has opened once.
func (s *session) run(ctx context.Context) {
	for {
		err := s.serve(ctx)
		if err == nil {
			err = s.open(ctx)
		}
		if err != nil {
			if ctx.Err() != nil {
				err = ErrClosed
			} else {
				s.log.Error("the store has failed", "error", err)
			}
			s.queue.fail(err)
			s.setReady(true)
			return
		}
	}
}

// open begins or resumes the session; it tries until the host answers.
// What it returns ends the session.
func (s *session) open(ctx context.Context) error {
	for {
		meaning, err := s.openOnce(ctx)
		if err == nil {
			return nil
		}
		if meaning == refused {
			return err
		}
		s.line("waiting for the storage host", err)
		if waited := s.backOff(ctx); waited != nil {
			return fmt.Errorf("%w: the last attempt failed: %w", waited, err)
		}
	}
}

func (s *session) openOnce(ctx context.Context) (disposition, error) {
	var trailer metadata.MD
	limits, err := s.client.Describe(ctx, &hostpb.DescribeRequest{}, grpc.Trailer(&trailer))
	if err != nil {
		return fromHost(err, trailer)
	}
	if limits.ProtocolMajor != protocolMajor || limits.ProtocolMinor < protocolMinor {
		return refused, &Error{Message: fmt.Sprintf(
			"Cannot open %s: the host must speak protocol %d.%d or a later %d.x: it speaks %d.%d",
			s.name, protocolMajor, protocolMinor, protocolMajor, limits.ProtocolMajor, limits.ProtocolMinor),
		}
	}
	resumes := s.epoch()
	opened, err := s.client.Open(ctx, &hostpb.OpenRequest{
		Replica: s.replica, Client: s.says, ProtocolMajor: protocolMajor,
		Opener: s.opener, Resumes: resumes,
	}, grpc.Trailer(&trailer))
	if err != nil {
		return s.notOpened(err, trailer)
	}
	if err := s.queue.resume(opened.GetState(), limits.GetWindowBytes()); err != nil {
		return refused, err
	}
	s.mu.Lock()
	s.opened, s.limits = opened, limits
	s.mu.Unlock()
	s.log.Info("session open", "epoch", opened.Epoch, "resumes", resumes)
	return refused, nil
}

func (s *session) notOpened(err error, trailer metadata.MD) (disposition, error) {
	meaning, failed := fromHost(err, trailer)
	switch {
	case codeOf(failed) == codeFenced:
		return refused, fmt.Errorf("%w (%w)", ErrFenced, failed)
	case meaning == faulted:
		return interrupted, failed
	}
	return meaning, failed
}

// backOff waits a little longer each time, until a write is answered.
func (s *session) backOff(ctx context.Context) error {
	pause := s.pause
	s.pause = min(max(2*pause, firstPause), longestPause)
	select {
	case <-time.After(pause):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *session) line(message string, err error) {
	if time.Since(s.lastLineAt) < linesEvery {
		return
	}
	s.lastLineAt = time.Now()
	s.log.Warn(message+"; trying again", "error", err)
}

func (s *session) epoch() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened.GetEpoch()
}

func (s *session) maxWriteBytes() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limits.GetMaxWriteBytes()
}

func (s *session) setReady(ready bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !ready {
		s.ready = make(chan struct{})
		return
	}
	select {
	case <-s.ready:
	default:
		close(s.ready)
	}
}

// await waits until a stream is up, and gives its epoch.
func (s *session) await() (uint64, error) {
	s.mu.Lock()
	ready := s.ready
	s.mu.Unlock()
	<-ready
	if _, _, err := s.queue.bounds(); err != nil {
		return 0, err
	}
	return s.epoch(), nil
}

// reopen opens the session anew: whatever was given to the earlier one has then been finished.
func (s *session) reopen() (*hostpb.ReplicaState, error) {
	before := s.epoch()
	s.mu.Lock()
	s.restart()
	s.mu.Unlock()
	for {
		epoch, err := s.await()
		if err != nil {
			return nil, err
		}
		if epoch > before {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.opened.GetState(), nil
		}
		time.Sleep(time.Millisecond)
	}
}

// retry calls until it succeeds, is refused, or the store has failed.
func (s *session) retry(ctx context.Context, call func(context.Context) (disposition, error)) error {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		meaning, err := call(ctx)
		if err == nil || meaning != interrupted {
			return err
		}
		if _, _, failure := s.queue.bounds(); failure != nil {
			return failure
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return errors.Join(ErrClosed, err)
		}
	}
}
