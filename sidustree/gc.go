package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sidusboot/sidusboot/command"
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

Which nodes run which version is known where the kernel's NFS server serves them
by NFSv3 (/var/lib/nfs/rmtab). What a node mounted before it was restarted stays
there and counts as in use. --newest-mount leaves out what a client has mounted
before the last publication after which it has mounted another version: say it
where every address is one node and nobody mounts a second version there.

A client of NFSv4 counts for each version that has all the files that it has open.
One of which it is not known what it runs, since it has none open, counts for every
version, and then nothing is removed: name those that run no version of this
base with --ignore-client. Where the server keeps no list of clients at all, as
nfs-ganesha does not, say --assume-unused when you know that no node runs an old
version.`,
		Example: `  sidustree gc /srv/nfsroot/sidus --keep 3 --dry-run
  sidustree gc /srv/nfsroot/sidus --keep 3 --newest-mount --ignore-client 10.0.0.5`,
		Args: command.Arguments(1, "BASE"), ValidArgsFunction: directory,
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.Keep < 1 {
				return command.Usagef("--keep %d: want a number from 1", o.Keep)
			}
			return withBase(args[0], func(b *versions.Base) error {
				var err error
				if !assumeUnused {
					if o.Usage, err = versions.ReadUsage(b.Path(), serverSources(ignore)); err != nil {
						return fmt.Errorf("which nodes run which version is not known: %w: say --assume-unused if none runs an old one", err)
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
	f.IntVar(&o.Keep, "keep", 3, "how many of the newest versions stay: `N`, at least 1")
	f.BoolVar(&o.NewestMount, "newest-mount", false, "believe that a client runs only the version that it has mounted last: every address is one node, and nobody mounts a second version there")
	f.BoolVar(&o.DryRun, "dry-run", false, "remove nothing, say what would be removed")
	f.StringArrayVar(&ignore, "ignore-client", nil, "the `ADDRESS` of an NFS client that runs no version of this base; may be repeated")
	f.BoolVar(&assumeUnused, "assume-unused", false, "do not ask the NFS server: no node runs a version but the newest and the current ones")
	return cmd
}

func serverSources(ignore []string) versions.UsageSources {
	return versions.UsageSources{Rmtab: "/var/lib/nfs/rmtab", Etab: "/var/lib/nfs/etab", Clients: "/proc/fs/nfsd/clients", Ignore: ignore}
}
