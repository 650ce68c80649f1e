// Package hosttest runs the real storage host for tests.
package hosttest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Families that a replica's state may be kept in.
var Families = []string{"local", "rocksdb", "sqlite"}

// Cluster is the one that every host here serves.
const Cluster = "kv"

// A Host is one storage host with its directory, through any number of restarts.
type Host struct {
	Socket    string
	Directory string

	t       testing.TB
	config  string
	mu      sync.Mutex
	process *exec.Cmd
	ended   chan struct{}
	lines   []string
}

// Start runs a host that serves these members, each in the family that its name begins with
// ("local", "rocksdb-2"). It skips the test where the host cannot run, which is an error where
// QUORUMSHIFT_REQUIRE_TOOLCHAINS is 1.
func Start(t testing.TB, members ...string) *Host {
	t.Helper()
	requireToolchain(t)
	// A unix socket's path has at most 107 bytes: t.TempDir() may be longer.
	directory, err := os.MkdirTemp("", "quorumshift-go-")
	if err != nil {
		t.Fatal(err)
	}
	h := &Host{
		Socket: filepath.Join(directory, "host.sock"), Directory: directory,
		t: t, config: filepath.Join(directory, "host.json"),
	}
	if err := h.configure(members); err != nil {
		t.Fatal(err)
	}
	h.Run()
	t.Cleanup(func() {
		h.End(syscall.SIGTERM)
		os.RemoveAll(directory)
	})
	return h
}

func (h *Host) configure(members []string) error {
	replicas := []map[string]any{}
	for _, member := range members {
		family, _, _ := strings.Cut(member, "-")
		replicas = append(replicas, map[string]any{
			"cluster": Cluster, "member": member, "create": true,
			"uri": fmt.Sprintf("%s://%s/%s", family, h.Directory, member),
		})
	}
	config, err := json.Marshal(map[string]any{
		"stateDir": filepath.Join(h.Directory, "state"), "socket": h.Socket, "replicas": replicas,
	})
	if err != nil {
		return err
	}
	return os.WriteFile(h.config, config, 0o600)
}

// Run starts the process, and waits until it serves.
func (h *Host) Run() {
	h.t.Helper()
	process := exec.Command("node", program(), "host", "--config", h.config)
	output, err := process.StderrPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		h.t.Fatal(err)
	}
	ready, ended := make(chan struct{}), make(chan struct{})
	h.mu.Lock()
	h.process, h.ended = process, ended
	h.mu.Unlock()
	go func() {
		defer close(ended)
		for scanner := bufio.NewScanner(output); scanner.Scan(); {
			h.mu.Lock()
			h.lines = append(h.lines, scanner.Text())
			h.mu.Unlock()
			if strings.Contains(scanner.Text(), "is ready") {
				close(ready)
			}
		}
		_ = process.Wait()
	}()
	select {
	case <-ready:
	case <-ended:
		h.t.Fatalf("the host ended:\n%s", h.Lines())
	case <-time.After(30 * time.Second):
		h.t.Fatalf("the host is not ready:\n%s", h.Lines())
	}
}

// End sends the signal, and waits for the end.
func (h *Host) End(signal syscall.Signal) {
	h.mu.Lock()
	process, ended := h.process, h.ended
	h.mu.Unlock()
	_ = process.Process.Signal(signal)
	<-ended
}

// Lines is what the host has said.
func (h *Host) Lines() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.lines, "\n")
}

func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..", "..")
}

func program() string { return filepath.Join(root(), "bin", "quorumshift.mjs") }

func requireToolchain(t testing.TB) {
	t.Helper()
	_, noNode := exec.LookPath("node")
	_, noBuild := os.Stat(filepath.Join(root(), "dist", "cli", "main.js"))
	missing := errors.Join(noNode, noBuild)
	if missing == nil {
		return
	}
	if os.Getenv("QUORUMSHIFT_REQUIRE_TOOLCHAINS") == "1" {
		t.Fatalf("this test needs the storage host (node, and npm run build): %v", missing)
	}
	t.Skipf("skipped: it needs the storage host (node, and npm run build): %v", missing)
}
