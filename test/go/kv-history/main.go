// Command kv-history loads the key-value cluster of examples/hashicorp-raft with concurrent clients
// and records what they saw, then checks that it is linearizable:
//
//	kv-history load -nodes http://127.0.0.1:8102,… -history history.jsonl -seed 1
//	kv-history check -history history.jsonl -final final.json
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "kv-history:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("the first argument must be load or check")
	}
	flags := flag.NewFlagSet(args[0], flag.ExitOnError)
	history := flags.String("history", "history.jsonl", "one operation a line")
	switch args[0] {
	case "load":
		o := loadOptions{history: *history}
		nodes := flags.String("nodes", "", "HTTP addresses, with commas between")
		flags.IntVar(&o.clients, "clients", 6, "how many work at the same time")
		flags.Int64Var(&o.seed, "seed", 1, "of what they do; not of how it meets")
		flags.DurationVar(&o.pause, "pause", 10*time.Millisecond, "between two operations of a client")
		_ = flags.Parse(args[1:])
		o.history, o.nodes = *history, strings.Split(*nodes, ",")
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		return load(ctx, o)
	case "check":
		final := flags.String("final", "", "every key with its value at the end, as one JSON object")
		limit := flags.Duration("limit", time.Minute, "how long one key may take")
		_ = flags.Parse(args[1:])
		return checkFiles(*history, *final, *limit)
	default:
		return fmt.Errorf("%q is neither load nor check", args[0])
	}
}

func checkFiles(historyFile, finalFile string, limit time.Duration) error {
	operations, err := readHistory(historyFile)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(finalFile)
	if err != nil {
		return err
	}
	var final map[string]string
	if err := json.Unmarshal(text, &final); err != nil {
		return fmt.Errorf("%s: %w", finalFile, err)
	}
	verdict := check(operations, final, limit)
	if err := json.NewEncoder(os.Stdout).Encode(verdict); err != nil {
		return err
	}
	if !verdict.OK() {
		return fmt.Errorf("the history breaks what was promised, or was not decided")
	}
	return nil
}
