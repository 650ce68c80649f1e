package main

import (
	"testing"
	"time"
)

func text(value string) *string { return &value }

func TestCheck(t *testing.T) {
	wrote := operation{Kind: write, Key: "k", Value: "a", Call: 1, Return: 2, Outcome: done}
	over := operation{
		Kind: write, Key: "k", Value: "b", Call: 3, Return: 4, Outcome: done, Found: text("a"),
	}
	lostReturn := operation{Kind: write, Key: "k", Value: "b", Call: 3, Outcome: unknown}
	readAt := func(call int64, found *string) operation {
		return operation{
			Kind: read, Key: "k", Call: call, Return: call + 1, Outcome: done, Found: found,
		}
	}
	once := operation{Kind: write, Key: "once-1", Value: "a", Call: 1, Return: 2, Outcome: done}
	onceSeen := operation{
		Kind: write, Key: "once-1", Value: "a", Call: 1, Return: 2, Outcome: refused,
	}
	swapped := operation{
		Kind: compareAndSwap, Key: "k", Value: "c", Expect: text("a"), Call: 5, Return: 6,
		Outcome: done, Found: text("a"),
	}
	missed := operation{
		Kind: compareAndSwap, Key: "k", Value: "c", Expect: text("a"), Call: 5, Return: 6,
		Outcome: mismatch, Found: text("b"),
	}
	for _, c := range []struct {
		situation  string
		operations []operation
		final      map[string]string
		ok         bool
	}{
		{"writes in order", []operation{wrote, over, readAt(5, text("b"))}, end("b"), true},
		{"a stale read", []operation{wrote, over, readAt(5, text("a"))}, end("b"), false},
		{"a read while a write returns", []operation{wrote, over, readAt(4, text("a"))}, end("b"), true},
		{"an acknowledged write is gone at the end", []operation{wrote, over}, end("a"), false},
		{"a write that nobody asked for", []operation{wrote}, end("x"), false},
		{"a key that nobody wrote", nil, end("x"), false},
		{"an unknown write that was done", []operation{wrote, lostReturn}, end("b"), true},
		{"an unknown write that was not", []operation{wrote, lostReturn}, end("a"), true},
		{
			"an unknown write that was seen and is undone",
			[]operation{wrote, lostReturn, readAt(5, text("b")), readAt(7, text("a"))}, end("a"), false,
		},
		{
			"an unknown write before its call",
			[]operation{wrote, readAt(3, text("b")), {
				Kind: write, Key: "k", Value: "b", Call: 9, Outcome: unknown,
			}}, end("b"), false,
		},
		{"a swap of what was there", []operation{wrote, swapped}, end("c"), true},
		{"a swap of what was overwritten", []operation{wrote, over, swapped}, end("c"), false},
		{"a swap that missed", []operation{wrote, over, missed}, end("b"), true},
		{"a swap that should not have missed", []operation{wrote, missed}, end("a"), false},
		{"a key written once", []operation{once}, map[string]string{"once-1": "a"}, true},
		{"a key written once is gone", []operation{once}, map[string]string{}, false},
		{"a refused write was done", []operation{onceSeen}, map[string]string{"once-1": "a"}, false},
	} {
		t.Run(c.situation, func(t *testing.T) {
			verdict := check(c.operations, c.final, time.Minute)
			if verdict.OK() != c.ok {
				t.Errorf("got %+v", verdict)
			}
		})
	}
}

func end(value string) map[string]string { return map[string]string{"k": value} }
