package lockservice_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
)

// TestMain has the examples run on a service of the stand. Without a stand they are compiled, not run; the tests need none.
func TestMain(m *testing.M) {
	stand := os.Getenv("LOCKSERVICE_STAND")
	if stand == "" {
		fmt.Println("no LOCKSERVICE_STAND: the examples are not run")
		_ = flag.Set("test.skip", "^Example")
		os.Exit(m.Run())
	}
	response, err := http.Post(stand+"/services", "application/json", strings.NewReader("{}"))
	if err != nil {
		panic(err)
	}
	var service struct {
		ID        string
		Addresses []string
	}
	if err := json.NewDecoder(response.Body).Decode(&service); err != nil {
		panic(err)
	}
	_ = response.Body.Close()
	_ = os.Setenv("LOCKSERVICE_ADDR", service.Addresses[0])
	code := m.Run()
	ending, _ := http.NewRequest(http.MethodDelete, stand+"/services/"+service.ID, nil)
	if _, err := http.DefaultClient.Do(ending); err != nil {
		panic(err)
	}
	os.Exit(code)
}
