// Command load appends to a Raft log store as fast as it can and says how long each append took.
//
//	load --store host --socket <path> --member <name>      hashicorp/raft's store over a storage host
//	load --store wal --directory <path>                    raft-wal, in this process
//	load --store boltdb --directory <path>                 raft-boltdb, in this process
//
// It is told what to do by lines on its standard input, and answers each by a line of JSON:
//
//	start <in flight> <entries of an append> <bytes of an entry>    begins to append
//	take                                                            answers a report since the last
//	stop                                                            ends, answers a report
//	clear                                                           empties the log
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"os"
)

func main() {
	log.SetFlags(0)
	store, err := open()
	if err != nil {
		log.Fatalf("load: %v", err)
	}
	answers := json.NewEncoder(os.Stdout)
	var load *appending
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		answer, err := obey(lines.Text(), store, &load)
		if err == nil {
			err = answers.Encode(answer)
		}
		if err != nil {
			log.Fatalf("load: %s: %v", lines.Text(), err)
		}
	}
}

func obey(line string, store *target, load **appending) (any, error) {
	var how shape
	switch _, err := fmt.Sscanf(line, "start %d %d %d", &how.inFlight, &how.entries, &how.bytes); {
	case err == nil:
		begun, err := begin(store, how)
		*load = begun
		return struct{}{}, err
	case line == "take" && *load != nil:
		return (*load).take(), (*load).err()
	case line == "stop" && *load != nil:
		stopped := *load
		*load = nil
		return stopped.stop()
	case line == "clear":
		return struct{}{}, store.keep(0)
	}
	var newest uint64
	if _, err := fmt.Sscanf(line, "keep %d", &newest); err == nil {
		return struct{}{}, store.keep(newest)
	}
	return nil, fmt.Errorf("what is asked is not known, or not now")
}
