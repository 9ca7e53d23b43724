// Waiting has ten workers want the same stock; each waits for its turn, and no decrement is lost.
package main

import (
	"context"
	"fmt"
	"log"
	"sync"
	"time"

	lockservice "lockservice.dev/clients/go"
)

func main() {
	client, err := lockservice.New()
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	stock := 10
	sell := func(_ context.Context, lease *lockservice.Lease) error {
		left := stock
		time.Sleep(10 * time.Millisecond)
		if err := lease.Check(); err != nil {
			return err
		}
		stock = left - 1
		return nil
	}
	var all sync.WaitGroup
	for range 10 {
		all.Add(1)
		go func() {
			defer all.Done()
			if err := client.Do(context.Background(), "stock:sku-7-go", sell, lockservice.Wait(30*time.Second)); err != nil {
				log.Fatal(err)
			}
		}()
	}
	all.Wait()
	fmt.Println("left", stock)
}
