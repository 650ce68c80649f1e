package main

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"time"

	"github.com/hashicorp/raft"
)

// applyWait bounds how long a request waits for its turn and its commit.
const applyWait = 10 * time.Second

// maxValueBytes is far below what one entry may have.
const maxValueBytes = 1 << 20

// api is the node's HTTP interface. Calls that need the leader are redirected to it (307).
//
//	200 done · 307 ask the leader · 404 no such key · 409 compare-and-swap did not match
//	503 not done: no leader, or it has no time · 504 unknown: it may be done, now or later
type api struct {
	node           *raft.Raft
	state          *keyValues
	configurations *configurationLog
	id             string
}

func (a *api) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /kv/{key}", a.read)
	mux.HandleFunc("PUT /kv/{key}", a.write)
	mux.HandleFunc("POST /kv/{key}/cas", a.compareAndSwap)
	mux.HandleFunc("GET /local", a.local)
	mux.HandleFunc("GET /status", a.status)
	mux.HandleFunc("POST /leader-transfer", a.transferLeader)
	mux.HandleFunc("POST /snapshot", a.snapshot)
	mux.HandleFunc("POST /members", a.addMember)
	mux.HandleFunc("DELETE /members/{id}", a.removeMember)
	return mux
}

// httpAddress is the port after Raft's: so a node knows its leader's too.
func httpAddress(raftAddress string) (string, error) {
	address, err := netip.ParseAddrPort(raftAddress)
	if err != nil {
		return "", err
	}
	return netip.AddrPortFrom(address.Addr(), address.Port()+1).String(), nil
}

// read is linearizable: a barrier shows that this node still leads, and has applied all before.
func (a *api) read(w http.ResponseWriter, r *http.Request) {
	if err := a.node.Barrier(applyWait).Error(); err != nil {
		a.failed(w, r, err)
		return
	}
	value, ok := a.state.get(r.PathValue("key"))
	if !ok {
		http.Error(w, "no such key", http.StatusNotFound)
		return
	}
	_, _ = io.WriteString(w, value)
}

func (a *api) write(w http.ResponseWriter, r *http.Request) {
	value, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxValueBytes))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a.apply(w, r, command{Key: r.PathValue("key"), Value: string(value)})
}

// compareAndSwap takes {"expect": "old" or null, "value": "new"}.
func (a *api) compareAndSwap(w http.ResponseWriter, r *http.Request) {
	c := command{Compare: true}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxValueBytes)).Decode(&c); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.Key, c.Compare = r.PathValue("key"), true
	a.apply(w, r, c)
}

func (a *api) apply(w http.ResponseWriter, r *http.Request, c command) {
	data, err := json.Marshal(c)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	future := a.node.Apply(data, applyWait)
	if err := future.Error(); err != nil {
		a.failed(w, r, err)
		return
	}
	done, ok := future.Response().(outcome)
	switch {
	case !ok:
		http.Error(w, "the command could not be applied", http.StatusInternalServerError)
	case !done.Done:
		answer(w, http.StatusConflict, done)
	default:
		answer(w, http.StatusOK, done)
	}
}

// local is this node's own state, which may lag behind.
func (a *api) local(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, a.state.all())
}

func (a *api) status(w http.ResponseWriter, _ *http.Request) {
	_, leader := a.node.LeaderWithID()
	answer(w, http.StatusOK, map[string]any{
		"id": a.id, "state": a.node.State().String(), "leader": leader,
		"term": a.node.CurrentTerm(), "commitIndex": a.node.CommitIndex(),
		"appliedIndex": a.node.AppliedIndex(), "lastIndex": a.node.LastIndex(),
		"members": a.node.GetConfiguration().Configuration().Servers,
		"raft":    a.view(),
	})
}

// transferLeader goes to ?to=<id>, or to whoever is furthest.
func (a *api) transferLeader(w http.ResponseWriter, r *http.Request) {
	to := raft.ServerID(r.URL.Query().Get("to"))
	if to == "" {
		a.done(w, r, a.node.LeadershipTransfer())
		return
	}
	for _, server := range a.node.GetConfiguration().Configuration().Servers {
		if server.ID == to {
			a.done(w, r, a.node.LeadershipTransferToServer(server.ID, server.Address))
			return
		}
	}
	http.Error(w, "no such member", http.StatusNotFound)
}

// snapshot is of this node alone.
func (a *api) snapshot(w http.ResponseWriter, r *http.Request) {
	a.done(w, r, a.node.Snapshot())
}

// addMember takes {"id": "n4", "address": "127.0.0.1:8107"}, of a node that runs already. With
// "voter": false it only learns.
func (a *api) addMember(w http.ResponseWriter, r *http.Request) {
	var member struct {
		ID      raft.ServerID      `json:"id"`
		Address raft.ServerAddress `json:"address"`
		Voter   *bool              `json:"voter"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxValueBytes)).Decode(&member); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if member.Voter != nil && !*member.Voter {
		a.done(w, r, a.node.AddNonvoter(member.ID, member.Address, 0, applyWait))
		return
	}
	a.done(w, r, a.node.AddVoter(member.ID, member.Address, 0, applyWait))
}

func (a *api) removeMember(w http.ResponseWriter, r *http.Request) {
	a.done(w, r, a.node.RemoveServer(raft.ServerID(r.PathValue("id")), 0, applyWait))
}

func (a *api) done(w http.ResponseWriter, r *http.Request, future raft.Future) {
	if err := future.Error(); err != nil {
		a.failed(w, r, err)
		return
	}
	answer(w, http.StatusOK, map[string]bool{"done": true})
}

func (a *api) failed(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, raft.ErrNotLeader):
		a.redirect(w, r)
	case errors.Is(err, raft.ErrEnqueueTimeout), errors.Is(err, raft.ErrLeadershipTransferInProgress),
		errors.Is(err, raft.ErrNothingNewToSnapshot):
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	default:
		http.Error(w, err.Error(), http.StatusGatewayTimeout)
	}
}

func (a *api) redirect(w http.ResponseWriter, r *http.Request) {
	address, id := a.node.LeaderWithID()
	leader, err := httpAddress(string(address))
	if err != nil || id == raft.ServerID(a.id) {
		http.Error(w, "no leader is known", http.StatusServiceUnavailable)
		return
	}
	target := *r.URL
	target.Scheme, target.Host = "http", leader
	http.Redirect(w, r, target.String(), http.StatusTemporaryRedirect)
}

func answer(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
}
