package raftstore

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf8"

	"quorumshift.dev/integrations/go/hostpb"
)

// Keys are text at the host. One that is not, or that begins like this, is kept in hexadecimal after
// it: each key has one text, and each text one key.
const hexKeyPrefix = "hex:"

// currentTermKey is the library's: eight bytes, big-endian, so that terms compare as bytes.
const currentTermKey = "CurrentTerm"

func keyText(key []byte) string {
	if utf8.Valid(key) && !strings.HasPrefix(string(key), hexKeyPrefix) {
		return string(key)
	}
	return hexKeyPrefix + hex.EncodeToString(key)
}

// stableValues are the keys that the host holds.
func stableValues(state *hostpb.ReplicaState) map[string][]byte {
	values := make(map[string][]byte)
	for text, value := range state.GetMetadata().GetAuxiliary() {
		values[text] = value
	}
	return values
}

// Set saves a value; nil means durable. The library's own CurrentTerm, LastVoteTerm and LastVoteCand
// are kept under their names, and the host derives term and vote from them.
func (s *Store) Set(key, value []byte) error {
	text := keyText(key)
	kept := append([]byte{}, value...)
	queue := s.session.queue
	w := metadataWrite(&hostpb.MetadataUpdate{SetAuxiliary: map[string][]byte{text: kept}}, func() {
		queue.stable[text] = kept
	})
	queue.give(w)
	return w.Error()
}

// Get gives a saved value, which may be empty; [ErrKeyNotFound] itself when there is none. No I/O.
func (s *Store) Get(key []byte) ([]byte, error) {
	queue := s.session.queue
	queue.mu.Lock()
	defer queue.mu.Unlock()
	if queue.failure != nil {
		return nil, queue.failure
	}
	value, ok := queue.stable[keyText(key)]
	if !ok {
		return nil, ErrKeyNotFound
	}
	return append([]byte{}, value...), nil
}

// SetUint64 is [Store.Set] of eight bytes, big-endian.
func (s *Store) SetUint64(key []byte, value uint64) error {
	return s.Set(key, binary.BigEndian.AppendUint64(nil, value))
}

// GetUint64 gives what [Store.SetUint64] saved; 0 and [ErrKeyNotFound] itself when there is none.
func (s *Store) GetUint64(key []byte) (uint64, error) {
	value, err := s.Get(key)
	if err != nil {
		return 0, err
	}
	if len(value) != 8 {
		return 0, &Error{Message: fmt.Sprintf(
			"Cannot read stable key %q as a number: it must have 8 bytes: it has %d", key, len(value))}
	}
	return binary.BigEndian.Uint64(value), nil
}
