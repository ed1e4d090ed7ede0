// Package command is what initrdgen and sidustree have in common as programs: how
// arguments are checked, how results and errors are printed, which exit status
// tells what.
package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit statuses.
const (
	Success = 0
	Failure = 1
	Usage   = 2
)

// A UsageError is a mistake in the command line.
type UsageError struct{ Err error }

func (e UsageError) Error() string { return e.Err.Error() }
func (e UsageError) Unwrap() error { return e.Err }

// Usagef makes a UsageError.
func Usagef(format string, args ...any) error {
	return UsageError{fmt.Errorf(format, args...)}
}

// Run runs the program whose commands are those of root, and returns its exit
// status.
func Run(root *cobra.Command, args []string, stdout, stderr io.Writer) int {
	// A command that is interrupted removes what it has made so far.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return UsageError{err} })
	root.Args = func(_ *cobra.Command, args []string) error {
		if len(args) > 0 {
			return Usagef("unknown command %q", args[0])
		}
		return Usagef("no command given")
	}
	// cobra checks Args only of what can run.
	root.RunE = func(*cobra.Command, []string) error { return nil }
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return Success
	}
	fmt.Fprintf(stderr, "%s: %s\n", root.Name(), Printable(err.Error()))
	if usage := (UsageError{}); errors.As(err, &usage) {
		fmt.Fprintf(stderr, "Try '%s --help'.\n", cmd.CommandPath())
		return Usage
	}
	return Failure
}

// Arguments accepts the arguments with these names, of which only the first least
// must be there.
func Arguments(least int, names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return Usagef("%s is missing", names[len(args)])
		case len(args) > len(names):
			return Usagef("unexpected argument %q", args[len(names)])
		}
		return nil
	}
}

// AddJSON adds the flag --json, which Print obeys, to cmd and its subcommands.
func AddJSON(cmd *cobra.Command) {
	cmd.PersistentFlags().Bool("json", false, "print the result as JSON")
}

// Print writes a result to the standard output: as JSON where --json asks for that,
// else by text.
func Print(cmd *cobra.Command, result any, text func(io.Writer)) error {
	if !JSON(cmd) {
		text(cmd.OutOrStdout())
		return nil
	}
	e := json.NewEncoder(cmd.OutOrStdout())
	e.SetIndent("", "  ")
	return e.Encode(result)
}

// JSON tells whether the result is printed as JSON.
func JSON(cmd *cobra.Command) bool {
	is, err := cmd.Flags().GetBool("json")
	return err == nil && is
}
