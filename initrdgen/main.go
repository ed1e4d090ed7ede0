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
	root.AddCommand(buildCommand(), listCommand(), secretsCommand(), versionCommand())
	return root
}

func buildCommand() *cobra.Command {
	var opts options
	cmd := &cobra.Command{
		Use:   "build --root TREE --output FILE",
		Short: "Build an initrd from a root tree",
		Long: `Build an initrd from the root tree TREE, the one that the nodes mount over NFS.

The image holds /init, the NFS client, overlay (and aufs where the kernel has
it) and the drivers of the profiles, with everything that these need:

` + profileHelp() + `
Profiles add up: --profile virtual,disk, or --profile virtual --profile disk.
Where none of them has network drivers, generic comes along. Other file systems
than ext4 are modules: --module xfs, --module btrfs.

Drivers that DKMS or a vendor installed (updates/, extra/, weak-updates/) take
the place of the kernel's own: generic has every one that makes wired network
interfaces, and the report names them. A driver that the tree's modprobe.d
blacklists is packed, but nodes do not pick it, unless --module names it.

Firmware that the drivers name goes in as far as TREE/lib/firmware has it. A
bare Debian tree has none: install its firmware packages for what your NICs
need. Drivers of whose firmware the tree has nothing are told as a warning.

--secrets packs a file of users and passwords for the nodes' iSCSI volumes, a
line for each node; values with blanks stand in quotes, # begins a comment:

  MATCH USER PASSWORD [USER_IN PASSWORD_IN]

MATCH is an initiator name (iqn., eui. or naa.), a MAC, an IPv4 address or the
word default; where several fit a node, the first kind of these wins. USER_IN
and PASSWORD_IN are what the target must prove. The file must have mode 0600,
and the image gets it as well: everybody who can fetch the image can read them.
initrdgen secrets makes such a file out of one key.

TREE is only read. FILE appears whole or not at all: a build that fails or is
interrupted leaves the old one as it was. The new one has the owner, the mode and
the access list of the one that it replaces, so that a boot server keeps what it
was given; only root may give a file to another user. With --secrets a mode that
let everybody read becomes 0600. Links on the way to FILE are followed if they are
root's or yours: another user's could lead the image to any place.

What the image has no use for may be broken, that is a warning; what it needs is
an error that names the file. Folders that a removed kernel left behind are no
kernels. What went in, and what it weighs, is printed at the end.`,
		Example: `  # The kernel of a Debian tree, for any node with a wired network
  initrdgen build --root /srv/nfs/bookworm --output /srv/tftp/initrd.img

  # Small, for virtual machines, with parameters for the kernel command line in it
  initrdgen build --root /srv/nfs/bookworm --output initrd.img \
      --profile virtual --config sidusboot.conf

  # With the passwords of the nodes' iSCSI volumes
  initrdgen build --root /srv/nfs/bookworm --output /srv/tftp/initrd.img \
      --profile iscsi --secrets room.secrets

  # One of several kernels, one more module at every boot, packed for an old kernel
  initrdgen build --root /srv/nfs/bookworm --output initrd.img \
      --kernel 6.1.0-56-amd64 --module macvlan --compress gzip`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.Root == "" {
				return usagef("--root is missing: name the tree that the nodes mount")
			}
			if opts.Output == "" {
				return usagef("--output is missing: name the initrd to write")
			}
			rep, err := build(cmd.Context(), opts)
			if err != nil {
				return err
			}
			for _, w := range rep.Warnings {
				fmt.Fprintf(cmd.ErrOrStderr(), "initrdgen: warning: %s\n", printable(w))
			}
			rep.print(cmd.OutOrStdout(), opts.Verbose)
			return nil
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&opts.Root, "root", "", "the root `TREE` that the nodes mount (required)")
	f.StringVar(&opts.Output, "output", "", "the initrd `FILE` to write (required)")
	f.StringVar(&opts.Kernel, "kernel", "", "kernel `RELEASE` in TREE/lib/modules, or all; needed where there are several")
	f.StringSliceVar(&opts.Profiles, "profile", []string{standardProfile}, "which drivers go in: `PROFILE`s are "+strings.Join(profileNames(), ", ")+"; may be repeated")
	f.StringArrayVar(&opts.Modules, "module", nil, "one more module, by `NAME`, loaded at every boot, whatever devices there are; may be repeated")
	f.StringVar(&opts.Config, "config", "", "`FILE` of kernel command line parameters, checked and packed as /etc/sidusboot.conf")
	f.StringVar(&opts.Secrets, "secrets", "", "`FILE` of users and passwords by node, mode 0600, checked and packed as /etc/sidusboot.secrets")
	f.StringVar(&opts.Rescue, "rescue", "", "static program `FILE` (busybox of busybox-static, say), packed as /rescue, for sidus.onerror=shell")
	f.StringVar(&opts.Init, "init", "", "the `FILE` that becomes /init (default: init beside initrdgen)")
	f.StringVar(&opts.Compress, "compress", "zstd", "how to pack: `NAME` is "+strings.Join(compressorNames(), ", "))
	f.StringVar(&opts.Report, "report", "", "write what went in to `FILE` as JSON")
	f.BoolVar(&opts.Verbose, "verbose", false, "list the firmware that the tree lacks, by driver")
	return cmd
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
