package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// sharedKeys that clients work on at the same time.
	sharedKeys = 5
	// operationsOfKey until another key takes its place: the search of the checker grows with the
	// unknown outcomes of a key.
	operationsOfKey = 150
	// oncePrefix begins keys that are written once: what was acknowledged there must stay.
	oncePrefix = "once-"
	// requestWait is longer than an election; beyond it the outcome is unknown.
	requestWait = 4 * time.Second
	// progressEvery is how often the counts are printed.
	progressEvery = 250 * time.Millisecond
	// retryPause follows an operation that was not done.
	retryPause = 25 * time.Millisecond
)

type loadOptions struct {
	nodes   []string
	history string
	clients int
	seed    int64
	pause   time.Duration
}

// load runs the clients until ctx ends; each ends the operation that it is in.
func load(ctx context.Context, o loadOptions) error {
	recorder, err := newRecorder(o.history)
	if err != nil {
		return err
	}
	keys := &keyPicker{}
	began := time.Now()
	var clients sync.WaitGroup
	failed := make(chan error, o.clients)
	for id := range o.clients {
		c := &client{
			id: id, nodes: o.nodes, keys: keys, began: began, recorder: recorder,
			random: rand.New(rand.NewPCG(uint64(o.seed), uint64(id))),
			seen:   map[string]*string{}, http: &http.Client{Timeout: requestWait},
		}
		clients.Go(func() {
			if err := c.run(ctx, o.pause); err != nil {
				failed <- err
			}
		})
	}
	ended := make(chan struct{})
	go func() {
		clients.Wait()
		close(ended)
	}()
	ticks := time.NewTicker(progressEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
		case err := <-failed:
			return err
		case <-ended:
			return errors.Join(printProgress(recorder), recorder.close())
		}
		if err := printProgress(recorder); err != nil {
			return err
		}
	}
}

func printProgress(recorder *recorder) error {
	text, err := recorder.progress()
	if err != nil {
		return err
	}
	_, err = fmt.Println(text)
	return err
}

// keyPicker gives shared keys, each for some operations only.
type keyPicker struct {
	picked [sharedKeys]atomic.Int64
}

func (k *keyPicker) pick(random *rand.Rand) string {
	slot := random.IntN(sharedKeys)
	return fmt.Sprintf("shared-%d-%d", slot, k.picked[slot].Add(1)/operationsOfKey)
}

// client does one operation after the other.
type client struct {
	id       int
	nodes    []string
	keys     *keyPicker
	random   *rand.Rand
	recorder *recorder
	began    time.Time
	http     *http.Client
	// seen is what this client last saw of a key: what a compare-and-swap expects.
	seen  map[string]*string
	count int
}

func (c *client) run(ctx context.Context, pause time.Duration) error {
	for ctx.Err() == nil {
		o := c.next()
		o.Call = int64(time.Since(c.began))
		c.do(&o)
		if o.Outcome == refused || o.Outcome == unknown {
			time.Sleep(retryPause)
		} else {
			o.Return = int64(time.Since(c.began))
		}
		if err := c.recorder.record(o); err != nil {
			return err
		}
		time.Sleep(pause)
	}
	return nil
}

// next chooses an operation; every value is written once in a history.
func (c *client) next() operation {
	c.count++
	value := fmt.Sprintf("%d.%d", c.id, c.count)
	o := operation{Client: c.id, Kind: write, Key: c.keys.pick(c.random), Value: value}
	switch kind := c.random.IntN(10); {
	case kind < 4:
		o.Kind, o.Value = read, ""
	case kind < 7:
		o.Kind, o.Expect = compareAndSwap, c.seen[o.Key]
	case kind < 8:
		o.Key = oncePrefix + value
	}
	return o
}

// do sends it to some node and notes its outcome.
func (c *client) do(o *operation) {
	request, err := c.request(*o)
	if err != nil {
		panic(err) // Of a malformed address.
	}
	response, err := c.http.Do(request)
	if err != nil {
		o.Outcome = unknown
		// Nothing was sent; the node that redirected here has done nothing.
		var dial *net.OpError
		if errors.As(err, &dial) && dial.Op == "dial" {
			o.Outcome = refused
		}
		return
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		o.Outcome = unknown
		return
	}
	c.note(o, response.StatusCode, body)
}

func (c *client) note(o *operation, status int, body []byte) {
	var answer struct {
		Found *string `json:"found"`
	}
	switch {
	case status == http.StatusServiceUnavailable:
		o.Outcome = refused
		return
	case o.Kind == read && status == http.StatusOK:
		text := string(body)
		answer.Found = &text
	case o.Kind == read && status == http.StatusNotFound:
	case o.Kind == read || (status != http.StatusOK && status != http.StatusConflict):
		o.Outcome = unknown
		return
	case json.Unmarshal(body, &answer) != nil:
		o.Outcome = unknown
		return
	}
	o.Outcome, o.Found = done, answer.Found
	if status == http.StatusConflict {
		o.Outcome = mismatch
	}
	c.seen[o.Key] = o.Found
	if o.Kind != read && o.Outcome == done {
		c.seen[o.Key] = &o.Value
	}
}

func (c *client) request(o operation) (*http.Request, error) {
	address := c.nodes[c.random.IntN(len(c.nodes))] + "/kv/" + o.Key
	switch o.Kind {
	case read:
		return http.NewRequest(http.MethodGet, address, nil)
	case write:
		return http.NewRequest(http.MethodPut, address, strings.NewReader(o.Value))
	default:
		body, err := json.Marshal(map[string]*string{"expect": o.Expect, "value": &o.Value})
		if err != nil {
			return nil, err
		}
		return http.NewRequest(http.MethodPost, address+"/cas", strings.NewReader(string(body)))
	}
}
