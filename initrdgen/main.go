// Command initrdgen packs one initrd for a room of diskless nodes: the static
// /init of sidusboot with the kernel modules of a root tree.
//
// It reads only the tree given with --root, never the running host, and needs
// neither root nor chroot. The image is the same, bit for bit, whoever builds
// it from the same tree.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"unicode"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitFailure = 1
	exitUsage   = 2
)

// A usageError is a mistake in the command line, not in the world.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

func main() {
	os.Exit(run())
}

func run() int {
	// An interrupted build must remove its temporary file, so the signal ends
	// the build and not the program.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()

	cmd, err := rootCommand().ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "initrdgen: %s\n", printable(err.Error()))
	if usage := (usageError{}); errors.As(err, &usage) {
		fmt.Fprintf(os.Stderr, "Try '%s --help'.\n", cmd.CommandPath())
		return exitUsage
	}
	return exitFailure
}

// printable writes out what would mean something to a terminal, or end the line:
// files of a tree may have any names.
func printable(text string) string {
	var b strings.Builder
	for _, r := range text {
		if unicode.IsGraphic(r) && !unicode.Is(unicode.Bidi_Control, r) {
			b.WriteRune(r)
		} else {
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "initrdgen",
		Short: "Pack one initrd for a room of diskless nodes",
		Long: `initrdgen packs the static /init of sidusboot with the kernel modules of a
root tree into one initrd that boots every node of a site over the network.

It reads only the tree, never the running host, and needs neither root nor
chroot. The same tree gives the same image, bit for bit.`,
		Example: `  initrdgen build --root /srv/nfs/bookworm --output /srv/tftp/initrd.img
  initrdgen list /srv/tftp/initrd.img
  initrdgen check /srv/tftp/initrd.img --modalias node.modalias --root /srv/nfs/bookworm
  initrdgen secrets --key site.key --nodes 10.0.0.1-10.0.0.20`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       builtFrom(),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q", args[0])
			}
			return usagef("no command given")
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(buildCommand(), listCommand(), catCommand(), extractCommand(), diffCommand(), checkCommand(),
		secretsCommand(), versionCommand())
	return root
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version of initrdgen",
		Long:    "Print the version that initrdgen was built from, and the Go release that built it.",
		Example: "  initrdgen version",
		Args:    noArguments,
		Run: func(cmd *cobra.Command, _ []string) {
			fmt.Fprintln(cmd.OutOrStdout(), builtFrom())
		},
	}
}

func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("unexpected argument %q", args[0])
	}
	return nil
}
