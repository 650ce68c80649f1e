package raftstore

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/go-hclog"
)

// Options names the replica, and the host that keeps it.
type Options struct {
	// Socket is the path of the host's unix socket. Required.
	Socket string
	// Cluster and Member name the replica in the host's configuration. Required.
	Cluster, Member string
	// Client says in the host's log and status who opened it. Default: the program's name and pid.
	Client string
	// Logger gets a line for each session that opens or breaks. Default: hclog.Default().
	Logger hclog.Logger
}

func (o Options) withDefaults() (Options, error) {
	required := []struct{ name, value string }{
		{"Socket", o.Socket}, {"Cluster", o.Cluster}, {"Member", o.Member},
	}
	for _, option := range required {
		if option.value == "" {
			return o, &Error{Message: "Cannot open a store: Options." + option.name + " must be set"}
		}
	}
	if o.Client == "" {
		o.Client = fmt.Sprintf("%s (pid %d)", filepath.Base(os.Args[0]), os.Getpid())
	}
	if o.Logger == nil {
		o.Logger = hclog.Default()
	}
	o.Logger = o.Logger.Named("raftstore").With("replica", o.Cluster+"/"+o.Member)
	return o, nil
}

// newOpener names one life of a store, so that the host tells its session from another process's.
func newOpener() string {
	var random [16]byte
	rand.Read(random[:]) //nolint:errcheck // it never fails (crypto/rand)
	return hex.EncodeToString(random[:])
}
