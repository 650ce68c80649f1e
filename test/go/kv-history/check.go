package main

import (
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// verdict is what the history shows.
type verdict struct {
	Operations int `json:"operations"`
	Unknown    int `json:"unknown"`
	Keys       int `json:"keys"`
	// NotLinearizable are keys whose operations have no order that explains them.
	NotLinearizable []string `json:"notLinearizable"`
	// Undecided are keys that took too long.
	Undecided []string `json:"undecided"`
	// Lost are acknowledged writes of keys that are written once, and not there at the end.
	Lost []string `json:"lost"`
}

func (v verdict) OK() bool {
	return len(v.NotLinearizable)+len(v.Undecided)+len(v.Lost) == 0
}

// key is the state of one key in the model: absent until it is written.
type key struct {
	there bool
	value string
}

func stateOf(value *string) key {
	if value == nil {
		return key{}
	}
	return key{there: true, value: *value}
}

// model is one key: keys are independent of each other, so each is checked alone.
var model = porcupine.Model{
	Init: func() any { return key{} },
	Step: func(state, input, output any) (bool, any) {
		before, o := state.(key), input.(operation)
		swaps := o.Kind != compareAndSwap || before == stateOf(o.Expect)
		after := key{there: true, value: o.Value}
		if o.Kind == read || !swaps {
			after = before
		}
		if o.Outcome == unknown {
			return true, after
		}
		return before == stateOf(o.Found) && swaps == (o.Outcome == done), after
	},
}

// check decides key by key, with what is there at the end as a last read of each.
func check(operations []operation, final map[string]string, limit time.Duration) verdict {
	v := verdict{NotLinearizable: []string{}, Undecided: []string{}, Lost: []string{}}
	byKey := map[string][]operation{}
	for _, o := range operations {
		v.Operations++
		if o.Outcome == unknown {
			v.Unknown++
		}
		byKey[o.Key] = append(byKey[o.Key], o)
		isOnce := strings.HasPrefix(o.Key, oncePrefix) && o.Kind == write
		if isOnce && o.Outcome == done && final[o.Key] != o.Value {
			v.Lost = append(v.Lost, o.Key)
		}
	}
	// A key that nobody wrote must not be there either.
	for k := range final {
		byKey[k] = append(byKey[k], []operation{}...)
	}
	v.Keys = len(byKey)
	for _, k := range slices.Sorted(maps.Keys(byKey)) {
		switch porcupine.CheckOperationsTimeout(model, historyOf(k, byKey[k], final), limit) {
		case porcupine.Ok:
		case porcupine.Illegal:
			v.NotLinearizable = append(v.NotLinearizable, k)
		case porcupine.Unknown:
			v.Undecided = append(v.Undecided, k)
		}
	}
	return v
}

// historyOf is what porcupine decides. Of operations with an unknown outcome it keeps those whose
// value somebody saw: the others can always be thought of as done at the end, or never.
func historyOf(name string, operations []operation, final map[string]string) []porcupine.Operation {
	seen := map[string]bool{}
	saw := func(value *string) {
		if value != nil {
			seen[*value] = true
		}
	}
	last := operation{Kind: read, Key: name, Outcome: done, Call: math.MaxInt64 - 1}
	if value, ok := final[name]; ok {
		last.Found = &value
	}
	for _, o := range append(operations, last) {
		saw(o.Expect)
		saw(o.Found)
	}
	var history []porcupine.Operation
	for _, o := range append(operations, last) {
		returned := o.Return
		switch {
		case o.Outcome == refused, o.Outcome == unknown && !seen[o.Value]:
			continue
		case o.Outcome == unknown, o.Call == last.Call:
			returned = math.MaxInt64
		}
		history = append(history, porcupine.Operation{
			ClientId: o.Client, Input: o, Call: o.Call, Return: returned,
		})
	}
	return history
}
