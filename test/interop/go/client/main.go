// A client that oapi-codegen generated: it registers, waits and lists.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"interop/runwatch"
)

var (
	ctx    = context.Background()
	runID  = os.Getenv("RUN_ID")
	failed = false
)

func check(title string, play func() error) {
	if err := play(); err != nil {
		failed = true
		fmt.Printf("not ok - %s # %s\n", title, strings.ReplaceAll(err.Error(), "\n", " "))
		return
	}
	fmt.Printf("ok - %s\n", title)
}

func authorize(_ context.Context, request *http.Request) error {
	request.Header.Set("Authorization", "Bearer "+os.Getenv("API_TOKEN"))
	return nil
}

func register(client *runwatch.ClientWithResponses) error {
	timeout := "2h"
	answer, err := client.RegisterWatchWithResponse(ctx, nil, runwatch.WatchRequest{
		RunId:     runID,
		Endpoints: &[]string{"ops"},
		Metadata:  &map[string]string{"order": "4711"},
		Timeout:   &timeout,
	})
	if err != nil {
		return err
	}
	if answer.JSON201 == nil {
		return fmt.Errorf("%s: %s", answer.Status(), answer.Body)
	}
	watch, err := answer.JSON201.AsRegisteredWatch()
	if err != nil || len(watch.Subscriptions) != 1 {
		return fmt.Errorf("%v: %s", err, answer.Body)
	}
	endpoint, err := watch.Subscriptions[0].AsEndpointSubscription()
	if err != nil {
		return err
	}
	if endpoint.Endpoint != "ops" {
		return fmt.Errorf("subscribed %v", endpoint)
	}
	return nil
}

func wait(client *runwatch.ClientWithResponses) error {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		answer, err := client.GetWatchWithResponse(ctx, runID, nil)
		if err != nil {
			return err
		}
		watch := answer.JSON200
		if watch != nil && watch.State == runwatch.WatchStateFinished {
			var progress int64 = *watch.Run.Progress
			if watch.Run.Status != "failed" || progress != 40 {
				return fmt.Errorf("ended %s at %d", watch.Run.Status, progress)
			}
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not finished: %s", answer.Body)
		}
	}
}

func listWatches(client *runwatch.ClientWithResponses) error {
	states := []runwatch.WatchState{runwatch.WatchStateFinished, runwatch.WatchStateActive}
	var limit int64 = 200
	params := &runwatch.ListWatchesParams{State: &states, Limit: &limit}
	answer, err := client.ListWatchesWithResponse(ctx, params)
	if err != nil {
		return err
	}
	if answer.JSON200 == nil {
		return fmt.Errorf("%s: %s", answer.Status(), answer.Body)
	}
	for _, watch := range answer.JSON200.Data {
		if watch.RunId == runID {
			return nil
		}
	}
	return fmt.Errorf("%s is not listed", runID)
}

func listEvents(client *runwatch.ClientWithResponses) error {
	answer, err := client.ListEventsWithResponse(ctx, &runwatch.ListEventsParams{RunId: &runID})
	if err != nil {
		return err
	}
	if answer.JSON200 == nil {
		return fmt.Errorf("%s: %s", answer.Status(), answer.Body)
	}
	for _, item := range answer.JSON200.Data {
		event, err := item.AsEvent()
		if err != nil {
			return err
		}
		value, err := event.ValueByDiscriminator()
		if err != nil {
			return err
		}
		if end, ok := value.(runwatch.RunFailedEvent); ok {
			// A whole number of 64 bits: as a float it would be rounded.
			var delay *int64 = end.Data.DetectionDelayMs
			if delay == nil || end.Data.RunId != runID {
				return fmt.Errorf("told %s", answer.Body)
			}
			return nil
		}
	}
	return fmt.Errorf("no run.failed: %s", answer.Body)
}

func refuse(client *runwatch.ClientWithResponses) error {
	answer, err := client.UnwatchWithResponse(ctx, "never-watched", nil)
	if err != nil {
		return err
	}
	if answer.ApplicationproblemJSON404 == nil {
		return fmt.Errorf("%s: %s", answer.Status(), answer.Body)
	}
	return nil
}

func main() {
	client, err := runwatch.NewClientWithResponses(
		os.Getenv("API_URL"), runwatch.WithRequestEditorFn(authorize))
	if err != nil {
		panic(err)
	}
	cases := []struct {
		title string
		play  func(*runwatch.ClientWithResponses) error
	}{
		{"registers a run", register},
		{"waits for its end", wait},
		{"lists watches by two states", listWatches},
		{"lists events as what they are", listEvents},
		{"reads refusals as problems", refuse},
	}
	for _, one := range cases {
		check(one.title, func() error { return one.play(client) })
	}
	if failed {
		os.Exit(1)
	}
}
