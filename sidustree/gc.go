package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sidusboot/sidusboot/command"
	"github.com/sidusboot/sidusboot/exports"
	"github.com/sidusboot/sidusboot/versions"
)

func gcCommand() *cobra.Command {
	var o versions.GCOptions
	var ignore []string
	var assumeUnused bool
	cmd := &cobra.Command{
		Use:   "gc BASE --keep N",
		Short: "Remove old versions that no node runs",
		Long: `Remove versions, but not the newest N, not the current one, and none that a node
runs.

If the kernel's NFS server serves the nodes by NFSv3, it knows which node mounted
which version (/var/lib/nfs/rmtab). It does not forget what a node mounted before a
restart, and these versions count as in use, too. With --newest-mount a version does
not count for a client that has mounted another one since, after a later publication:
use it if every address is one node, and no node mounts two versions at the same time.

An NFSv4 client counts for each version that has all the files that it has open. A
client that has no file open counts for every version, and then nothing is removed:
if it runs no version of this base, give its address with --ignore-client. If the
server has no list of clients (nfs-ganesha has none), use --assume-unused, but only
when you know that no node runs an old version.`,
		Example: `  sidustree gc /srv/nfsroot/sidus --keep 3 --dry-run
  sidustree gc /srv/nfsroot/sidus --keep 3 --newest-mount --ignore-client 10.0.0.5`,
		Args: command.Arguments(1, "BASE"), ValidArgsFunction: directory,
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.Keep < 1 {
				return command.Usagef("--keep %d: give a number from 1", o.Keep)
			}
			if assumeUnused {
				if err := command.Ignored(cmd, "--assume-unused does not ask the NFS server", "ignore-client", "newest-mount"); err != nil {
					return err
				}
			}
			return withBase(args[0], func(b *versions.Base) error {
				var err error
				if !assumeUnused {
					if o.Usage, err = versions.ReadUsage(b.Path(), serverSources(ignore)); err != nil {
						return fmt.Errorf("it is not known which nodes run which version: %w: use --assume-unused if no node runs an old version", err)
					}
				}
				result, err := b.GC(o)
				if unknown := (*versions.UnknownUsageError)(nil); errors.As(err, &unknown) {
					return fmt.Errorf("%w with --ignore-client", err)
				}
				if err != nil {
					return err
				}
				return command.Print(cmd, result, func(w io.Writer) {
					verb := "removed"
					if o.DryRun {
						verb = "would be removed"
					}
					for _, id := range result.Removed {
						fmt.Fprintf(w, "%s %s\n", id, verb)
					}
					fmt.Fprintf(w, "%d %s, %d kept\n", len(result.Removed), verb, len(result.Kept))
				})
			})
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.Keep, "keep", 3, "how many of the newest versions are kept: `N`, at least 1")
	f.BoolVar(&o.NewestMount, "newest-mount", false, "a client runs only the version that it mounted last: every address is one node, and no node mounts two versions at the same time")
	f.BoolVar(&o.DryRun, "dry-run", false, "remove nothing, print what would be removed")
	f.StringArrayVar(&ignore, "ignore-client", nil, "the `ADDRESS` of an NFS client that runs no version of this base; may be repeated")
	f.BoolVar(&assumeUnused, "assume-unused", false, "do not ask the NFS server: no node runs a version other than the newest ones and the current one")
	return cmd
}

func serverSources(ignore []string) versions.UsageSources {
	return versions.UsageSources{Rmtab: "/var/lib/nfs/rmtab", Exports: exports.Default(), Clients: "/proc/fs/nfsd/clients", Ignore: ignore}
}
