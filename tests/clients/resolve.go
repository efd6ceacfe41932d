// Resolves NAME COUNT times with Go's own resolver, one look-up every
// INTERVAL_MS, and prints what it measured as one JSON object. Built with
// CGO_ENABLED=0, as Go images are: A and AAAA then go out on two sockets.
package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

type report struct {
	Seconds []float64 `json:"seconds"`
	Failed  int       `json:"failed"`
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintf(os.Stderr, "usage: %s NAME COUNT INTERVAL_MS\n", os.Args[0])
		os.Exit(2)
	}
	count, _ := strconv.Atoi(os.Args[2])
	interval, _ := strconv.Atoi(os.Args[3])
	result := report{Seconds: []float64{}}
	for i := 0; i < count; i++ {
		start := time.Now()
		if _, err := net.LookupHost(os.Args[1]); err != nil {
			result.Failed++
		}
		result.Seconds = append(result.Seconds, time.Since(start).Seconds())
		if i+1 < count {
			time.Sleep(time.Duration(interval) * time.Millisecond)
		}
	}
	json.NewEncoder(os.Stdout).Encode(result)
}
