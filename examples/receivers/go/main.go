// A receiver in Go without packages: verifies, drops repeats, answers before it works.
//
//	RUNWATCH_WEBHOOK_SECRET=whsec_... go run main.go
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

const maxAge = 5 * time.Minute

type event struct {
	ID   string `json:"id"`
	Type string `json:"type"`
	Data struct {
		RunID string `json:"run_id"`
	} `json:"data"`
}

var (
	secrets = strings.Fields(os.Getenv("RUNWATCH_WEBHOOK_SECRET"))
	work    = make(chan event, 10_000)
)

// isAuthentic verifies a request. Source: Standard Webhooks, "Verifying webhook authenticity".
func isAuthentic(header http.Header, body []byte) bool {
	id, timestamp := header.Get("webhook-id"), header.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || time.Since(time.Unix(seconds, 0)).Abs() > maxAge {
		return false
	}
	for _, secret := range secrets {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
		if err != nil {
			continue
		}
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "%s.%s.", id, timestamp)
		mac.Write(body)
		expected := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
		for _, given := range strings.Fields(header.Get("webhook-signature")) {
			if hmac.Equal([]byte(given), []byte(expected)) {
				return true
			}
		}
	}
	return false
}

func receive(response http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(response, request.Body, 1<<20))
	if err != nil {
		http.Error(response, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	if !isAuthentic(request.Header, body) {
		response.WriteHeader(http.StatusUnauthorized)
		return
	}
	var received event
	if err := json.Unmarshal(body, &received); err != nil {
		http.Error(response, err.Error(), http.StatusBadRequest)
		return
	}
	select {
	case work <- received:
		response.WriteHeader(http.StatusNoContent)
	default:
		// runwatch tries again.
		response.WriteHeader(http.StatusServiceUnavailable)
	}
}

// handle works on events one after another. Keep the ids where they survive a restart if a repeat would
// do harm.
func handle() {
	handled := make(map[string]bool)
	var order []string
	for received := range work {
		if handled[received.ID] {
			continue
		}
		handled[received.ID] = true
		if order = append(order, received.ID); len(order) > 10_000 {
			delete(handled, order[0])
			order = order[1:]
		}
		fmt.Println(received.Type, received.Data.RunID)
	}
}

func main() {
	port := os.Getenv("PORT")
	if port == "" {
		port = "8788"
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		log.Fatal(err)
	}
	go handle()
	fmt.Printf("http://%s/\n", listener.Addr())
	log.Fatal(http.Serve(listener, http.HandlerFunc(receive)))
}
