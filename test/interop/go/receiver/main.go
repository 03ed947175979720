// A receiver that verifies by the official library: 204, or 401. `?secret=` says by which secret.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

func receive(response http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(response, request.Body, 1<<20))
	if err != nil {
		http.Error(response, err.Error(), http.StatusBadRequest)
		return
	}
	webhook, err := standardwebhooks.NewWebhook(request.URL.Query().Get("secret"))
	if err != nil {
		http.Error(response, err.Error(), http.StatusBadRequest)
		return
	}
	if err := webhook.Verify(body, request.Header); err != nil {
		http.Error(response, err.Error(), http.StatusUnauthorized)
		return
	}
	response.WriteHeader(http.StatusNoContent)
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("http://%s/\n", listener.Addr())
	log.Fatal(http.Serve(listener, http.HandlerFunc(receive)))
}
