package raftstore

import (
	"encoding/hex"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// The bytes of docs/go-integration.md: another program reads them, and a later version must.
func TestEntryHasItsDocumentedBytes(t *testing.T) {
	log := raft.Log{
		Index: 7, Term: 3, Type: raft.LogConfiguration, Data: []byte("data"), Extensions: []byte("ext"),
		AppendedAt: time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("elsewhere", 3600)),
	}
	const want = "0000000000000003" + "02" + "000000" + "0000001b" + "0000000000000007" +
		"01" + "05" + "07" + "00" + "00000003" + "0000000069572795" + "00000006" + "657874" + "64617461"
	got := appendCanonical(nil, &log)
	if hex.EncodeToString(got) != want {
		t.Fatalf("got  %x\nwant %s", got, want)
	}
}

func TestPayloadThatIsNotOursIsRefused(t *testing.T) {
	whole := appendCanonical(nil, &raft.Log{Index: 1, Term: 1, Extensions: []byte("ext")})
	damaged := map[string]func(entry []byte) []byte{
		"a header cut short":  func(entry []byte) []byte { return entry[:20] },
		"a payload cut short": func(entry []byte) []byte { return entry[:30] },
		"another type":        func(entry []byte) []byte { entry[8] = 3; return entry },
		"another version":     func(entry []byte) []byte { entry[24] = 2; return entry },
		"extensions too long": func(entry []byte) []byte { entry[31] = 9; return entry },
	}
	for name, damage := range damaged {
		_, err := decodeCanonical(damage(append([]byte{}, whole...)), new(raft.Log))
		if codeOf(err) != "data.corrupt" {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
