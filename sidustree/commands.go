package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sidusboot/sidusboot/treecheck"
	"github.com/sidusboot/sidusboot/versions"
	"github.com/sidusboot/sidusboot/versions/layout"
)

func initCommand() *cobra.Command {
	var from string
	cmd := &cobra.Command{
		Use:   "init BASE",
		Short: "Make a base",
		Long: `Make a base in the directory BASE, which must be empty or not exist.

--from copies a tree into its staging; without it staging is empty, and you put
a tree there yourself, by mmdebstrap for example. Nothing may be mounted inside
the tree that is copied.`,
		Example: `  sidustree init /srv/nfsroot/sidus
  mmdebstrap --include=linux-image-amd64 bookworm /srv/nfsroot/sidus/staging

  sidustree init /srv/nfsroot/sidus --from /srv/nfsroot/old`,
		Args: arguments(1, "BASE"), ValidArgsFunction: directory,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := versions.Init(cmd.Context(), args[0], from, nil); err != nil {
				return err
			}
			return print(cmd, map[string]string{"base": args[0]}, func(w io.Writer) {
				fmt.Fprintf(w, "%s is a base. Work in %s/%s, then: sidustree publish %s\n", args[0], args[0], layout.Staging, args[0])
			})
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "the `TREE` to copy into staging")
	return cmd
}

func publishCommand() *cobra.Command {
	var id string
	cmd := &cobra.Command{
		Use:   "publish BASE",
		Short: "Make staging a version, and the one that nodes boot next",
		Long: `Make a version of staging, and make it current.

Files that did not change since the current version become hard links to it: the
content of files of the same size and time is compared. The others are clones of
those in staging where the file system can do that (btrfs, XFS), else copies.
Staging stays as it is.

The version is on the disk before current leads to it. No package manager may
work in staging meanwhile: a change that is noticed is an error, and nothing is
published then.

Staging is checked first, as sidustree check does: what no node could boot is
refused, warnings are printed.`,
		Example: `  sidustree publish /srv/nfsroot/sidus
  sidustree publish /srv/nfsroot/sidus --id 2026-11-kernel`,
		Args: arguments(1, "BASE"), ValidArgsFunction: directory,
		RunE: func(cmd *cobra.Command, args []string) error {
			return withBase(args[0], func(b *versions.Base) error {
				// Where it is not known, nothing is written down about it.
				usage, _ := versions.ReadUsage(b.Path(), serverSources(nil))
				note, err := b.Publish(cmd.Context(), versions.PublishOptions{ID: id, Now: time.Now(), Mounts: usage.Mounts, Check: func(tree string) error {
					findings, err := treecheck.Check(cmd.Context(), tree, treecheck.Options{})
					if err != nil {
						return err
					}
					printFindings(cmd.ErrOrStderr(), findings, treecheck.Warning)
					return treecheck.Refusal(findings)
				}})
				if err != nil {
					return err
				}
				return print(cmd, note, func(w io.Writer) {
					s := note.Stats
					fmt.Fprintf(w, "version %s is current: %d files, %d linked, %d cloned, %d copied (%s)\n",
						note.ID, s.Files, s.Linked, s.Cloned, s.Copied, bytesText(s.Bytes))
				})
			})
		},
	}
	cmd.Flags().StringVar(&id, "id", "", "the version's `ID` (default: date and time)")
	return cmd
}

func checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check TREE",
		Short: "Say what will go wrong on nodes that boot a tree",
		Long: `Look at the tree TREE and say what will go wrong on nodes that boot it, with a
remedy for each: no program to start, no modules for a kernel, an image older
than its kernel, file capabilities that NFS loses, whiteouts, what all nodes
would share though each should have its own (ssh host keys, random seed), lines
of fstab about disks, files that everybody may write, and how the kernel's NFS
server exports it.

The exit code is 1 where no node could boot the tree.`,
		Example: `  sidustree check /srv/nfsroot/sidus/staging
  sidustree check --json /srv/nfsroot/sidus/current/`,
		Args: arguments(1, "TREE"), ValidArgsFunction: directory,
		RunE: func(cmd *cobra.Command, args []string) error {
			// A link to the tree, such as current, is meant too.
			dir, err := filepath.EvalSymlinks(args[0])
			if err != nil {
				return err
			}
			findings, err := treecheck.Check(cmd.Context(), dir, treecheck.Options{Exports: "/var/lib/nfs/etab"})
			if err != nil {
				return err
			}
			if findings == nil {
				findings = []treecheck.Finding{}
			}
			err = print(cmd, findings, func(w io.Writer) {
				printFindings(w, findings, treecheck.Note)
				fmt.Fprintf(w, "%d findings\n", len(findings))
			})
			return errors.Join(err, treecheck.Refusal(findings))
		},
	}
}

// printFindings writes those that are at least as bad as least.
func printFindings(w io.Writer, findings []treecheck.Finding, least treecheck.Severity) {
	for _, f := range findings {
		if f.Severity == treecheck.Note && least != treecheck.Note {
			continue
		}
		fmt.Fprintf(w, "%s: %s: %s\n", f.Severity, f.Problem, f.Remedy)
		for _, path := range f.Paths {
			fmt.Fprintf(w, "  %s\n", printable(path))
		}
		if more := f.Count - len(f.Paths); more > 0 {
			fmt.Fprintf(w, "  and %d more\n", more)
		}
	}
}

func listCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list BASE",
		Short: "List the versions, and which nodes run them",
		Long: `List the versions, newest first: when each was published, the kernels that it has
modules of, what would be free on the disk without it, and how many nodes run
it. The current one has a star.

Nodes are known where the kernel's NFS server serves them by NFSv3; a question
mark says that there are clients of which it is not known what they run.`,
		Example: `  sidustree list /srv/nfsroot/sidus
  sidustree list /srv/nfsroot/sidus --json`,
		Args: arguments(1, "BASE"), ValidArgsFunction: directory,
		RunE: func(cmd *cobra.Command, args []string) error {
			return withBase(args[0], func(b *versions.Base) error {
				all, err := b.List()
				if err != nil {
					return err
				}
				usage, err := versions.ReadUsage(b.Path(), serverSources(nil))
				known := !errors.Is(err, versions.ErrNoSource)
				if err != nil && known {
					return err
				}
				type row struct {
					versions.Version
					Nodes []string `json:"nodes"`
				}
				rows := make([]row, len(all))
				for i, v := range all {
					rows[i] = row{v, notNil(usage.Clients[v.ID])}
				}
				return print(cmd, map[string]any{"versions": rows, "unknown_nodes": notNil(usage.Unknown), "nodes_known": known}, func(w io.Writer) {
					t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
					fmt.Fprintln(t, "VERSION\tPUBLISHED\tKERNEL\tOWN\tNODES")
					for _, r := range rows {
						mark := ""
						if r.Current {
							mark = " *"
						}
						nodes := fmt.Sprint(len(r.Nodes))
						if !known || len(usage.Unknown) > 0 {
							nodes += " ?"
						}
						fmt.Fprintf(t, "%s%s\t%s\t%s\t%s\t%s\n", r.ID, mark, r.Published.Local().Format("2006-01-02 15:04"),
							printable(strings.Join(r.Kernels, " ")), bytesText(r.Own), nodes)
					}
					_ = t.Flush()
				})
			})
		},
	}
}

// notNil is a list that JSON has as [], not as null.
func notNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func diffCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "diff BASE FROM TO",
		Short: "Say what an update from one version to another does",
		Long: `Compare two versions: packages, kernels, files below /etc and all other files.
"+" was added, "-" was removed, "~" has changed.`,
		Example: `  sidustree diff /srv/nfsroot/sidus 20261101-090000 20261126-101500`,
		Args:    arguments(3, "BASE", "FROM", "TO"), ValidArgsFunction: baseAndIDs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withBase(args[0], func(b *versions.Base) error {
				d, err := b.Diff(cmd.Context(), args[1], args[2])
				if err != nil {
					return err
				}
				return print(cmd, d, func(w io.Writer) {
					for _, part := range []struct {
						name    string
						changes []versions.Change
					}{{"packages", d.Packages}, {"kernels", d.Kernels}, {"/etc", d.Etc}, {"other files", d.Files}} {
						fmt.Fprintf(w, "%s: %d\n", part.name, len(part.changes))
						for _, c := range part.changes {
							fmt.Fprintln(w, "  "+changeText(c))
						}
					}
				})
			})
		},
	}
}

func changeText(c versions.Change) string {
	switch {
	case c.From == "":
		return strings.TrimSpace("+ " + printable(c.Name) + " " + versionOnly(c.To))
	case c.To == "":
		return strings.TrimSpace("- " + printable(c.Name) + " " + versionOnly(c.From))
	case c.From == c.To:
		return "~ " + printable(c.Name) + " " + printable(c.To)
	}
	return "~ " + printable(c.Name) + " " + printable(c.From) + " -> " + printable(c.To)
}

// versionOnly leaves out what says only that something is there.
func versionOnly(s string) string {
	if s == "content" || s == "there" {
		return ""
	}
	return printable(s)
}

// printable is a name as a terminal may have it: what is not plain is quoted.
func printable(name string) string {
	if quoted := fmt.Sprintf("%q", name); quoted != `"`+name+`"` {
		return quoted
	}
	return name
}

func rollbackCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rollback BASE [ID]",
		Short: "Make another version the one that nodes boot next",
		Long: `Make the version ID current; without ID, the one that was current before the
present one was published. Running nodes keep what they have booted.`,
		Example: `  sidustree rollback /srv/nfsroot/sidus
  sidustree rollback /srv/nfsroot/sidus 20261101-090000`,
		Args: arguments(1, "BASE", "ID"), ValidArgsFunction: baseAndIDs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id := ""
			if len(args) == 2 {
				id = args[1]
			}
			return withBase(args[0], func(b *versions.Base) error {
				from, to, err := b.Rollback(id)
				if err != nil {
					return err
				}
				return print(cmd, map[string]string{"from": from, "to": to}, func(w io.Writer) {
					if from == to {
						fmt.Fprintf(w, "version %s is current already\n", to)
						return
					}
					fmt.Fprintf(w, "version %s is current, it was %s\n", to, from)
				})
			})
		},
	}
}

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

A client of which it is not known what it runs, as one of NFSv4, counts for every
version, and then nothing is removed: name those that run no version of this
base with --ignore-client. Where the server keeps no list of clients at all, as
nfs-ganesha does not, say --assume-unused when you know that no node runs an old
version.`,
		Example: `  sidustree gc /srv/nfsroot/sidus --keep 3 --dry-run
  sidustree gc /srv/nfsroot/sidus --keep 3 --newest-mount --ignore-client 10.0.0.5`,
		Args: arguments(1, "BASE"), ValidArgsFunction: directory,
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.Keep < 1 {
				return usagef("--keep %d: want a number from 1", o.Keep)
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
				return print(cmd, result, func(w io.Writer) {
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
	return versions.UsageSources{Rmtab: "/var/lib/nfs/rmtab", Clients: "/proc/fs/nfsd/clients", Ignore: ignore}
}

func bytesText(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.0f kB", float64(n)/1e3)
}
