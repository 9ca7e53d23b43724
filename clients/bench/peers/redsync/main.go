// Redsync, measured as the other peers are: `redsync pairs|hot SOCKET COUNT SECONDS` prints one line of JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"sort"
	"strconv"
	"sync"
	"time"

	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"
)

const ttl = 10 * time.Second

func main() {
	count, _ := strconv.Atoi(os.Args[3])
	seconds, _ := strconv.ParseFloat(os.Args[4], 64)
	client := redis.NewClient(&redis.Options{
		PoolSize: count + 1,
		Dialer: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", os.Args[2])
		},
	})
	rs := redsync.New(goredis.NewPool(client))
	length := time.Duration(seconds * float64(time.Second))
	measure := map[string]func(*redsync.Redsync, int, time.Duration) map[string]float64{"pairs": pairs, "hot": hot}[os.Args[1]]
	line, err := json.Marshal(measure(rs, count, length))
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}

func pairs(rs *redsync.Redsync, callers int, length time.Duration) map[string]float64 {
	began := time.Now()
	latencies := make([][]float64, callers)
	run(callers, func(number int) {
		for time.Since(began) < length {
			mutex := rs.NewMutex(fmt.Sprintf("bench:%d", number), redsync.WithExpiry(ttl))
			asked := time.Now()
			if err := mutex.Lock(); err != nil {
				panic(err)
			}
			latencies[number] = append(latencies[number], ms(time.Since(asked)))
			if _, err := mutex.Unlock(); err != nil {
				panic(err)
			}
		}
	})
	var all []float64
	for _, own := range latencies {
		all = append(all, own...)
	}
	return map[string]float64{"operations_s": 2 * float64(len(all)) / time.Since(began).Seconds(), "p50_ms": quantile(all, 0.5)}
}

func hot(rs *redsync.Redsync, workers int, length time.Duration) map[string]float64 {
	ctx, cancel := context.WithTimeout(context.Background(), length)
	defer cancel()
	// What a run before left behind must not hold this one up.
	name := fmt.Sprintf("bench:hot:%d", os.Getpid())
	began := time.Now()
	var guard sync.Mutex
	var handoffs, waits []float64
	var released time.Time
	grants := make([]float64, workers)
	run(workers, func(number int) {
		for ctx.Err() == nil {
			// As many tries as the run takes: by default it gives up after 32.
			mutex := rs.NewMutex(name, redsync.WithExpiry(ttl), redsync.WithTries(1_000_000))
			asked := time.Now()
			err := mutex.LockContext(ctx)
			now := time.Now()
			guard.Lock()
			waits = append(waits, ms(now.Sub(asked)))
			if err != nil {
				guard.Unlock()
				return
			}
			grants[number]++
			if !released.IsZero() {
				handoffs = append(handoffs, ms(now.Sub(released)))
			}
			released = time.Now()
			guard.Unlock()
			if _, err := mutex.Unlock(); err != nil {
				panic(err)
			}
		}
	})
	sort.Float64s(grants)
	total := 0.0
	for _, own := range grants {
		total += own
	}
	return map[string]float64{
		"handoffs_s":      total / time.Since(began).Seconds(),
		"p50_ms":          quantile(handoffs, 0.5),
		"p99_ms":          quantile(handoffs, 0.99),
		"share":           grants[0] / max(1, grants[workers-1]),
		"longest_wait_ms": quantile(waits, 1),
	}
}

func run(count int, work func(int)) {
	var all sync.WaitGroup
	for number := range count {
		all.Go(func() { work(number) })
	}
	all.Wait()
}

func ms(length time.Duration) float64 {
	return float64(length.Microseconds()) / 1000
}

func quantile(values []float64, part float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sort.Float64s(values)
	return values[min(len(values)-1, int(float64(len(values))*part))]
}
