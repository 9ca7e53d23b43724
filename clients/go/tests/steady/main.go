// Steady calls at a steady rate until standard input ends, and prints what came of it, as clients/scenarios.md says.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
	"sync"
	"time"

	lockservice "lockservice.dev/clients/go"
)

// steady counts calls, in the words that are printed.
type steady struct {
	mutex     sync.Mutex
	Client    string   `json:"client"`
	Calls     int      `json:"calls"`
	Failed    int      `json:"failed"`
	Errors    []string `json:"errors"`
	SlowestMs float64  `json:"slowest_ms"`
}

// pair takes a lock and gives it back.
func (s *steady) pair(client *lockservice.Client, resource string) {
	ctx := context.Background()
	began := time.Now()
	lease, err := client.Acquire(ctx, resource, lockservice.TTL(30*time.Second))
	s.called(began, err)
	if err != nil {
		return
	}
	began = time.Now()
	s.called(began, lease.Done(ctx))
}

func (s *steady) called(began time.Time, err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if err != nil {
		s.Failed++
		s.Errors = append(s.Errors, err.Error())
		return
	}
	s.Calls++
	s.SlowestMs = max(s.SlowestMs, float64(time.Since(began).Microseconds())/1e3)
}

func main() {
	rate, err := strconv.ParseFloat(os.Getenv("LOCKSERVICE_CALLS_S"), 64)
	if err != nil {
		rate = 125
	}
	client, err := lockservice.New()
	if err != nil {
		log.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	said := &steady{Client: "go", Errors: []string{}}
	ticks := time.NewTicker(time.Duration(2 / rate * float64(time.Second)))
	var open sync.WaitGroup
	for number := 0; ; number++ {
		select {
		case <-ended:
			open.Wait()
			client.Close()
			_ = json.NewEncoder(os.Stdout).Encode(said)
			return
		case <-ticks.C:
			open.Add(1)
			go func() {
				defer open.Done()
				said.pair(client, fmt.Sprintf("steady-go:%d:%d", os.Getpid(), number))
			}()
		}
	}
}
