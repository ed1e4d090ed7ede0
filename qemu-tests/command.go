package qemutests

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

// AtMostOne is an error if more than one of these flags was given: each would leave
// nothing for the others to do.
func AtMostOne(flags *flag.FlagSet, names ...string) error {
	var given []string
	flags.Visit(func(f *flag.Flag) {
		if slices.Contains(names, f.Name) {
			given = append(given, "--"+f.Name)
		}
	})
	if len(given) > 1 {
		return fmt.Errorf("%s: give only one of them", strings.Join(given, ", "))
	}
	return nil
}

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
