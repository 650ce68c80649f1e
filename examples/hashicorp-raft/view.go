package main

import (
	"strconv"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// view is what Quorumshift asks of a member before it touches one (docs/cluster-adapters.md).
// Indexes and terms are decimal strings: JSON numbers lose digits beyond 2^53.
type view struct {
	Role         string       `json:"role"`
	Term         string       `json:"term"`
	Leader       *string      `json:"leader"`
	CommitIndex  string       `json:"commitIndex"`
	AppliedIndex string       `json:"appliedIndex"`
	LastIndex    string       `json:"lastIndex"`
	Members      []viewMember `json:"members"`
	// ConfigurationIndex is the latest configuration's, where the log still holds it; else 0.
	ConfigurationIndex string `json:"configurationIndex"`
	// ChangePending: that configuration is not known to be committed.
	ChangePending bool `json:"changePending"`
}

type viewMember struct {
	RaftID string `json:"raftId"`
	Voter  bool   `json:"voter"`
}

// view reads the configuration before what could have committed it: a change that comes meanwhile
// is told as pending, never as done.
func (a *api) view() view {
	servers := a.node.GetConfiguration().Configuration().Servers
	configurationIndex := a.configurations.latest.Load()
	commitIndex := a.node.CommitIndex()
	v := view{
		Role:               a.role(servers),
		Term:               decimal(a.node.CurrentTerm()),
		CommitIndex:        decimal(commitIndex),
		AppliedIndex:       decimal(a.node.AppliedIndex()),
		LastIndex:          decimal(a.node.LastIndex()),
		Members:            []viewMember{},
		ConfigurationIndex: decimal(configurationIndex),
		ChangePending:      configurationIndex > commitIndex,
	}
	if _, id := a.node.LeaderWithID(); id != "" {
		leader := string(id)
		v.Leader = &leader
	}
	for _, server := range servers {
		voter := server.Suffrage == raft.Voter
		v.Members = append(v.Members, viewMember{RaftID: string(server.ID), Voter: voter})
	}
	return v
}

// role of a node that its own configuration does not name is unknown: it waits to be added.
func (a *api) role(servers []raft.Server) string {
	switch a.node.State() {
	case raft.Leader:
		return "leader"
	case raft.Candidate:
		return "candidate"
	case raft.Follower:
		for _, server := range servers {
			if server.ID != raft.ServerID(a.id) {
				continue
			}
			if server.Suffrage == raft.Voter {
				return "follower"
			}
			return "learner"
		}
	}
	return "unknown"
}

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }

// configurationLog notes where the log's latest configuration is: the library does not tell. At its
// start the library reads every entry that is not in a snapshot, so those of before are noted too.
type configurationLog struct {
	*raft.LogCache
	// latest is 0 where the log holds none: what a snapshot holds is committed.
	latest atomic.Uint64
}

func (c *configurationLog) GetLog(index uint64, log *raft.Log) error {
	if err := c.LogCache.GetLog(index, log); err != nil {
		return err
	}
	c.note(log)
	return nil
}

func (c *configurationLog) StoreLog(log *raft.Log) error {
	return c.StoreLogs([]*raft.Log{log})
}

func (c *configurationLog) StoreLogs(logs []*raft.Log) error {
	if err := c.LogCache.StoreLogs(logs); err != nil {
		return err
	}
	for _, log := range logs {
		c.note(log)
	}
	return nil
}

// DeleteRange of a suffix takes back what was not committed, of a prefix what a snapshot holds.
func (c *configurationLog) DeleteRange(lowest, highest uint64) error {
	if err := c.LogCache.DeleteRange(lowest, highest); err != nil {
		return err
	}
	if latest := c.latest.Load(); lowest <= latest && latest <= highest {
		c.latest.CompareAndSwap(latest, 0)
	}
	return nil
}

func (c *configurationLog) note(log *raft.Log) {
	if log.Type != raft.LogConfiguration {
		return
	}
	for {
		latest := c.latest.Load()
		if log.Index <= latest || c.latest.CompareAndSwap(latest, log.Index) {
			return
		}
	}
}
