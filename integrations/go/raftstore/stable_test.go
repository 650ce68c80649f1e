package raftstore_test

import (
	"math/rand"
	"testing"

	"quorumshift.dev/integrations/go/internal/hosttest"
	"quorumshift.dev/integrations/go/raftstore"
)

func TestStableKeys(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T, host *hosttest.Host, member string) {
		store := open(t, host, member)
		if _, err := store.Get([]byte("absent")); err == nil || err.Error() != "not found" {
			t.Fatalf("an absent key answers %v", err)
		}
		if value, err := store.GetUint64([]byte("absent")); value != 0 || err != raftstore.ErrKeyNotFound {
			t.Fatalf("an absent number answers %d, %v", value, err)
		}
		const seed = 7
		random := rand.New(rand.NewSource(seed))
		want := map[string]string{
			"": "the empty key", "empty": "", "text": "value", "hex:00": "looks encoded",
			"\xff\xfe": "no text", "\x00": "a text of one zero", "__proto__": "a name of JavaScript",
			"ключ": "value", "�": "the replacement character",
		}
		for range 20 {
			key, value := make([]byte, 1+random.Intn(9)), make([]byte, random.Intn(99))
			random.Read(key)
			random.Read(value)
			want[string(key)] = string(value)
		}
		for key, value := range want {
			must(t, store.Set([]byte(key), []byte(value)))
		}
		must(t, store.SetUint64([]byte("number"), 1<<63))
		for range 2 {
			for key, value := range want {
				got, err := store.Get([]byte(key))
				if err != nil || got == nil || string(got) != value {
					t.Fatalf("seed %d: key %q is %q, %v; want %q", seed, key, got, err, value)
				}
			}
			if number, err := store.GetUint64([]byte("number")); number != 1<<63 || err != nil {
				t.Fatalf("the number is %d, %v", number, err)
			}
			must(t, store.Close())
			store = open(t, host, member)
		}
		_, err := store.GetUint64([]byte("text"))
		requireError(t, err, "it must have 8 bytes")
	})
}

func TestVoteKeysFollowTheLibrarysOrder(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T, host *hosttest.Host, member string) {
		store := open(t, host, member)
		term, voteTerm, candidate := []byte("CurrentTerm"), []byte("LastVoteTerm"), []byte("LastVoteCand")
		for _, vote := range []struct {
			term uint64
			cand string
		}{{1, "127.0.0.1:7001"}, {2, "127.0.0.1:7002"}, {5, "127.0.0.1:7001"}} {
			must(t, store.SetUint64(term, vote.term))
			must(t, store.SetUint64(voteTerm, vote.term))
			must(t, store.Set(candidate, []byte(vote.cand)))
		}
		requireCode(t, store.SetUint64(term, 4), "meta.term-falls")
		must(t, store.Close())
		store = open(t, host, member)
		got, err := store.Get(candidate)
		must(t, err)
		number, err := store.GetUint64(term)
		must(t, err)
		if string(got) != "127.0.0.1:7001" || number != 5 {
			t.Fatalf("term %d, vote for %q", number, got)
		}
	})
}
