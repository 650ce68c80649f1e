package raftstore

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"quorumshift.dev/integrations/go/hostpb"
)

// maxMessageBytes is above what the host sends: its largest write, and an overhead.
const maxMessageBytes = 128 << 20

// Store is one replica's durable state. It may be used by many goroutines.
type Store struct {
	connection *grpc.ClientConn
	session    *session
	readAhead  readAhead

	life  context.Context
	end   context.CancelFunc
	ended chan struct{}
	close sync.Once
}

var (
	_ raft.LogStore          = (*Store)(nil)
	_ raft.StableStore       = (*Store)(nil)
	_ raft.MonotonicLogStore = (*Store)(nil)
)

// Open begins a session of the replica, and fences every earlier one. It waits for a host that does
// not answer yet; ctx bounds that wait, and nothing after it.
func Open(ctx context.Context, options Options) (*Store, error) {
	options, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	connection, err := grpc.NewClient("unix:"+options.Socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			// The session waits between attempts; the connection need not wait besides.
			Backoff:           backoff.Config{BaseDelay: firstPause, Multiplier: 1.5, MaxDelay: longestPause},
			MinConnectTimeout: 5 * time.Second,
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes)),
	)
	if err != nil {
		return nil, fmt.Errorf("raftstore: %w", err)
	}
	s := &Store{connection: connection, ended: make(chan struct{})}
	s.session = newSession(options, hostpb.NewStorageHostClient(connection))
	if err := s.session.open(ctx); err != nil {
		connection.Close()
		return nil, err
	}
	s.life, s.end = context.WithCancel(context.Background())
	go func() {
		defer close(s.ended)
		s.session.run(s.life)
	}()
	return s, nil
}

// Done is closed when the store has failed for good, or is closed: the node cannot go on then, and
// should end. [Store.Err] says why.
func (s *Store) Done() <-chan struct{} { return s.ended }

// Err is nil while the store works, then why it does not: [ErrFenced], a refusal, [ErrClosed].
func (s *Store) Err() error {
	_, _, err := s.session.queue.bounds()
	return err
}

// Close ends the session. Calls that wait fail with [ErrClosed]; whether what they gave is durable
// is then unknown. Shut the library down before.
func (s *Store) Close() error {
	s.close.Do(func() {
		s.end()
		<-s.ended
		s.connection.Close()
	})
	return nil
}
