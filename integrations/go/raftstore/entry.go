package raftstore

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/hashicorp/raft"
)

// A log entry is kept as a canonical DATA entry (docs/image-format.md) whose payload is, big-endian
// (docs/go-integration.md):
//
//	 0  u8   version of this form, 1
//	 1  u8   native LogType
//	 2  u8   flags: 1 AppendedAt is set, 2 Extensions is not nil, 4 Data is not nil
//	 3  u8   zero
//	 4  u32  length of Extensions
//	 8  i64  AppendedAt: seconds since 1970 UTC
//	16  u32  AppendedAt: nanoseconds
//	20       Extensions, then Data
const (
	canonicalHeaderBytes = 24
	canonicalData        = 2
	payloadVersion       = 1
	payloadHeaderBytes   = 20

	flagAppendedAt = 1
	flagExtensions = 2
	flagData       = 4
)

func canonicalBytes(log *raft.Log) int {
	return canonicalHeaderBytes + payloadHeaderBytes + len(log.Extensions) + len(log.Data)
}

func appendCanonical(to []byte, log *raft.Log) []byte {
	to = binary.BigEndian.AppendUint64(to, log.Term)
	to = append(to, canonicalData, 0, 0, 0)
	to = binary.BigEndian.AppendUint32(to, uint32(canonicalBytes(log)-canonicalHeaderBytes))
	to = binary.BigEndian.AppendUint64(to, log.Index)
	return appendPayload(to, log)
}

func appendPayload(to []byte, log *raft.Log) []byte {
	var flags byte
	var seconds uint64
	var nanoseconds uint32
	if !log.AppendedAt.IsZero() {
		flags |= flagAppendedAt
		seconds = uint64(log.AppendedAt.Unix())
		nanoseconds = uint32(log.AppendedAt.Nanosecond())
	}
	if log.Extensions != nil {
		flags |= flagExtensions
	}
	if log.Data != nil {
		flags |= flagData
	}
	to = append(to, payloadVersion, byte(log.Type), flags, 0)
	to = binary.BigEndian.AppendUint32(to, uint32(len(log.Extensions)))
	to = binary.BigEndian.AppendUint64(to, seconds)
	to = binary.BigEndian.AppendUint32(to, nanoseconds)
	to = append(to, log.Extensions...)
	return append(to, log.Data...)
}

// decodeCanonical reads the entry at the front of run into log, without sharing its bytes, and
// gives what follows it.
func decodeCanonical(run []byte, log *raft.Log) (rest []byte, err error) {
	if len(run) < canonicalHeaderBytes {
		return nil, corrupt("a header is cut short")
	}
	size := int(binary.BigEndian.Uint32(run[12:]))
	if len(run) < canonicalHeaderBytes+size {
		return nil, corrupt("a payload is cut short")
	}
	index := binary.BigEndian.Uint64(run[16:])
	if run[8] != canonicalData {
		return nil, corrupt(fmt.Sprintf("entry %d has type %d: another library wrote it", index, run[8]))
	}
	end := canonicalHeaderBytes + size
	*log = raft.Log{Index: index, Term: binary.BigEndian.Uint64(run)}
	return run[end:], decodePayload(run[canonicalHeaderBytes:end], log)
}

func decodePayload(payload []byte, log *raft.Log) error {
	if len(payload) < payloadHeaderBytes || payload[0] != payloadVersion {
		return corrupt(fmt.Sprintf("the payload of entry %d is not of version %d", log.Index, payloadVersion))
	}
	flags := payload[2]
	extensions := uint64(binary.BigEndian.Uint32(payload[4:]))
	if uint64(len(payload)-payloadHeaderBytes) < extensions {
		return corrupt(fmt.Sprintf("the extensions of entry %d are cut short", log.Index))
	}
	log.Type = raft.LogType(payload[1])
	if flags&flagAppendedAt != 0 {
		seconds := int64(binary.BigEndian.Uint64(payload[8:]))
		log.AppendedAt = time.Unix(seconds, int64(binary.BigEndian.Uint32(payload[16:]))).UTC()
	}
	body := payload[payloadHeaderBytes:]
	if flags&flagExtensions != 0 {
		log.Extensions = append([]byte{}, body[:extensions]...)
	}
	if flags&flagData != 0 {
		log.Data = append([]byte{}, body[extensions:]...)
	}
	return nil
}

func corrupt(reason string) error {
	return &Error{Code: "data.corrupt", Message: "Cannot read the log: " + reason}
}

// checkRun says what is wrong with entries given together; nil when they follow one another.
func checkRun(logs []*raft.Log, maxBytes uint64) error {
	for i, log := range logs {
		if log.Index == 0 || log.Index > math.MaxInt64-1 || log.Term > math.MaxInt64 {
			return invalidBatch("index %d and term %d must be within 1..%d", log.Index, log.Term, math.MaxInt64-1)
		}
		if want := logs[0].Index + uint64(i); log.Index != want {
			return invalidBatch("index %d must be %d: entries given together follow one another", log.Index, want)
		}
		if size := canonicalBytes(log); uint64(size) > maxBytes {
			return &Error{Code: "limit.exceeded", Message: fmt.Sprintf(
				"Cannot append entry %d: the host takes at most %d bytes: it has %d (split what is applied)",
				log.Index, maxBytes, size)}
		}
	}
	return nil
}

func invalidBatch(format string, values ...any) error {
	return &Error{Code: "log.invalid-batch", Message: "Cannot append: " + fmt.Sprintf(format, values...)}
}
