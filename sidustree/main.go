// Command sidustree keeps the versions of the nodes' root tree on the server: the
// administrator works in staging, publishes it as a version that never changes
// any more, and goes back to an older one when that is needed.
//
// It needs root, for the owners of the files. It reads and writes the base that
// it is given, and reads /var/lib/nfs/rmtab and /proc/fs/nfsd/clients to learn
// which nodes run which version.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sidusboot/sidusboot/versions"
)

// version is set by the Makefile.
var version = "unknown"

// Exit codes.
const (
	exitFailure = 1
	exitUsage   = 2
)

// A usageError is a mistake in the command line.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	// An interrupted publish removes what it has made so far.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "sidustree: %v\n", err)
	if usage := (usageError{}); errors.As(err, &usage) {
		fmt.Fprintf(stderr, "Try '%s --help'.\n", cmd.CommandPath())
		return exitUsage
	}
	return exitFailure
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "sidustree",
		Short: "Keep the versions of a root tree that nodes boot from",
		Long: `sidustree keeps the versions of a root tree on the server.

A base is a directory with these in it:

  staging/       the tree that you work in: chroot, apt, an editor
  versions/ID/   what was published; it never changes any more
  current        a relative link to the version that nodes boot next

Publish a version, reboot the nodes when it suits, and go back to the version
before if the new one is not right. Running nodes keep the version that they
have booted, so nothing that they use changes or disappears.

A command that is killed, or a machine that stops, leaves current on a complete
version, whenever that happens. The next command removes what was left.

touch is for a tree that is changed in place, without versions, and check is for
both.

"sidustree completion bash > /etc/bash_completion.d/sidustree" completes commands,
options, directories and versions in bash; zsh, fish and PowerShell have the like.`,
		Example: `  sidustree init /srv/nfsroot/sidus --from /srv/nfsroot/old
  chroot /srv/nfsroot/sidus/staging apt-get upgrade
  sidustree publish /srv/nfsroot/sidus
  sidustree list /srv/nfsroot/sidus
  sidustree rollback /srv/nfsroot/sidus
  sidustree gc /srv/nfsroot/sidus --keep 3`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q", args[0])
			}
			return usagef("no command given")
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	root.SetVersionTemplate("sidustree {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.PersistentFlags().Bool("json", false, "print the result as JSON")
	root.AddCommand(initCommand(), publishCommand(), listCommand(), diffCommand(), rollbackCommand(), gcCommand(), checkCommand(), touchCommand())
	return root
}

// arguments wants these, by name.
func arguments(least int, names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < least {
			return usagef("%s is missing", names[len(args)])
		}
		if len(args) > len(names) {
			return usagef("unexpected argument %q", args[len(names)])
		}
		return nil
	}
}

// print writes a result, as JSON where that is asked for.
func print(cmd *cobra.Command, result any, text func(w io.Writer)) error {
	if asJSON, err := cmd.Flags().GetBool("json"); err != nil || !asJSON {
		text(cmd.OutOrStdout())
		return err
	}
	e := json.NewEncoder(cmd.OutOrStdout())
	e.SetIndent("", "  ")
	return e.Encode(result)
}

// withBase opens a base for a command.
func withBase(path string, f func(*versions.Base) error) error {
	b, err := versions.Open(path)
	if err != nil {
		return err
	}
	defer b.Close()
	return f(b)
}
