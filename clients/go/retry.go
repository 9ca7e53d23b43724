package lockservice

import (
	_ "embed"
	"encoding/json"
	"math/rand/v2"
	"time"
)

//go:embed service_config.json
var serviceConfig string

// retries is how calls are repeated: by the retry policy of the service config that all clients share. gRPC's own
// repetition is turned off: it neither waits for as long as the service says, nor cuts the wait of a repeated call to what is
// left of it.
var retries = readPolicy(serviceConfig)

type policy struct {
	first, max time.Duration
	multiplier float64
}

func readPolicy(config string) policy {
	var read struct {
		MethodConfig []struct {
			RetryPolicy struct {
				InitialBackoff, MaxBackoff string
				BackoffMultiplier          float64
			}
		}
	}
	if err := json.Unmarshal([]byte(config), &read); err != nil {
		panic(err)
	}
	said := read.MethodConfig[0].RetryPolicy
	made := policy{multiplier: said.BackoffMultiplier}
	for text, into := range map[string]*time.Duration{said.InitialBackoff: &made.first, said.MaxBackoff: &made.max} {
		span, err := time.ParseDuration(text)
		if err != nil {
			panic(err)
		}
		*into = span
	}
	return made
}

// pauses returns what gives the pause before each repetition, with a jitter of a half.
func (p policy) pauses() func() time.Duration {
	pause := p.first
	return func() time.Duration {
		// Jitter keeps the clients of a service that comes back from arriving all at once.
		jittered := time.Duration(float64(pause) * (0.5 + rand.Float64()))
		pause = min(time.Duration(float64(pause)*p.multiplier), p.max)
		return jittered
	}
}
