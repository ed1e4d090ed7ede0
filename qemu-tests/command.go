package qemutests

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// RunCommand is the main function of a command that opens labs: it calls run with
// a context that ends by Ctrl-C, SIGTERM or a closed terminal, so that labs are
// closed, prints the error and ends with status 1 if there is one.
func RunCommand(name string, run func(context.Context) error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}
