// Package tests has the promises of clients/scenarios.md, on services of the stand that can be broken.
package tests

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	lockservice "lockservice.dev/clients/go"
)

var (
	standURL string
	shared   service
	count    atomic.Int64
)

func TestMain(m *testing.M) {
	standURL = os.Getenv("LOCKSERVICE_STAND")
	end := func() {}
	if standURL == "" {
		end = startStand()
	}
	code := m.Run()
	end()
	if code == 0 {
		http.DefaultClient.CloseIdleConnections()
		// S32: the clients of all tests have come and gone.
		if err := goleak.Find(); err != nil {
			fmt.Println("goroutines were left behind:", err)
			code = 1
		}
	}
	os.Exit(code)
}

func startStand() func() {
	python := os.Getenv("LOCKSERVICE_PYTHON")
	if python == "" {
		python = "../../../.venv/bin/python"
	}
	command := exec.Command(python, "-m", "lockservice_stand", "serve")
	in, _ := command.StdinPipe()
	out, _ := command.StdoutPipe()
	if err := command.Start(); err != nil {
		panic(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	standURL = strings.TrimSpace(strings.TrimPrefix(line, "stand "))
	return func() {
		_ = in.Close()
		_ = command.Wait()
	}
}

func ask(t *testing.T, method, path string, body, answer any) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	request, _ := http.NewRequest(method, standURL+path, bytes.NewReader(text))
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	said, _ := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s", method, path, said)
	}
	if answer != nil {
		if err := json.Unmarshal(said, answer); err != nil {
			t.Fatal(err)
		}
	}
}

type service struct {
	ID        string   `json:"id"`
	Addresses []string `json:"addresses"`
	Target    string   `json:"target"`
	CA        string   `json:"ca"`
	OtherCA   string   `json:"other_ca"`
	Cert      string   `json:"cert"`
	Key       string   `json:"key"`

	// By tenant.
	Tokens map[string]string `json:"tokens"`
}

func (s service) address() string { return s.Addresses[0] }

func (s service) act(t *testing.T, replica int, action string) {
	t.Helper()
	ask(t, "POST", fmt.Sprintf("/services/%s/%d/%s", s.ID, replica, action), struct{}{}, nil)
}

func start(t *testing.T, replicas int, tls string, tenants ...string) service {
	t.Helper()
	var made service
	ask(t, "POST", "/services", map[string]any{"replicas": replicas, "tls": tls, "tenants": append([]string{}, tenants...)}, &made)
	t.Cleanup(func() { ask(t, "DELETE", "/services/"+made.ID, struct{}{}, nil) })
	return made
}

var once sync.Once

// common is a service that all tests share which break nothing.
func common(t *testing.T) service {
	t.Helper()
	once.Do(func() { ask(t, "POST", "/services", map[string]any{}, &shared) })
	return shared
}

type call struct {
	Method  string `json:"method"`
	Request string `json:"request"`
	Unary   bool   `json:"unary"`
}

type proxy struct {
	ID      string `json:"id"`
	Address string `json:"address"`
}

type seen struct {
	Streams     int    `json:"streams"`
	OpenStreams int    `json:"open_streams"`
	Frames      int    `json:"frames"`
	Calls       []call `json:"calls"`
}

func between(t *testing.T, address string) proxy {
	t.Helper()
	var made proxy
	ask(t, "POST", "/proxies", map[string]string{"address": address}, &made)
	t.Cleanup(func() { ask(t, "DELETE", "/proxies/"+made.ID, struct{}{}, nil) })
	return made
}

func (p proxy) fault(t *testing.T, fault, method string, times int) {
	t.Helper()
	ask(t, "POST", "/proxies/"+p.ID+"/faults", map[string]any{"fault": fault, "method": method, "times": times}, nil)
}

func (p proxy) letGo(t *testing.T) {
	t.Helper()
	ask(t, "POST", "/proxies/"+p.ID+"/let_go", struct{}{}, nil)
}

func (p proxy) seen(t *testing.T) seen {
	t.Helper()
	var answer seen
	ask(t, "GET", "/proxies/"+p.ID, struct{}{}, &answer)
	return answer
}

func (p proxy) calls(t *testing.T, method string) []call {
	t.Helper()
	var found []call
	for _, each := range p.seen(t).Calls {
		if each.Method == method {
			found = append(found, each)
		}
	}
	return found
}

func (c call) bytes() []byte {
	decoded, _ := base64.StdEncoding.DecodeString(c.Request)
	return decoded
}

func stranger(t *testing.T, kind string) string {
	t.Helper()
	var made struct{ Address string }
	ask(t, "POST", "/strangers", map[string]string{"kind": kind}, &made)
	return made.Address
}

// connect makes a client that is closed at the test's end.
func connect(t *testing.T, options ...lockservice.Option) *lockservice.Client {
	t.Helper()
	client, err := lockservice.New(options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// fresh returns a name that no other test uses.
func fresh() string { return fmt.Sprintf("order:go-%d-%d", os.Getpid(), count.Add(1)) }

// until returns once a condition is true; the test fails when it is not in time.
func until(t *testing.T, what string, within time.Duration, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

func must[T any](value T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}
